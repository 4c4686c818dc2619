"""What a job would cost, over HTTP; the store, the workers and the catalogue say what they are told to say."""

from dataclasses import dataclass, field
from typing import Any

import httpx
from attributor.api.app import create_app
from attributor.api.dependencies import Deps, Limits
from attributor.api.documented_expected import ExpectedDocument
from attributor.errors import UnknownModel
from attributor.jobs.model import ModelReport, Readiness
from unit.api.models import INPUTS, LAYERS, MODELS

READY = ModelReport(
    "digits@1", MODELS["digits"].digest, Readiness.READY, None, LAYERS, {}, 0.0, seconds_per_evaluation=0.01
)


@dataclass
class Told:
    """The ports that an estimate asks, and nothing to queue with."""

    ahead: int = 0
    reports: dict[str, ModelReport] = field(default_factory=lambda: {"digits@1": READY})

    async def waiting(self, *, priority: int, comparison: bool) -> int:
        return self.ahead + 10 * priority + 100 * comparison

    async def model_reports(self) -> dict[str, ModelReport]:
        return self.reports

    def get(self, ref: str, ready: Any = None) -> Any:
        if ref not in MODELS:
            raise UnknownModel(f"no model '{ref}'", field="model")
        return MODELS[ref]


async def estimated(told: Told, n_inputs: int = 1, model: str = "digits", **fields: Any) -> httpx.Response:
    app = create_app(Deps(None, told, None, None, told, told, Limits(1_000_000, 9, 1.0, 1.0), keys=None))
    body = {"model": model, "inputs": [INPUTS.get(model, {})] * n_inputs, **fields}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/v1/attributions:estimate", json=body)


async def test_an_estimate_has_all_that_is_documented():
    response = await estimated(Told(), 3, priority="high", rule="midpoint", n_steps=20)
    ExpectedDocument.model_validate_json(response.content, strict=True)
    found = response.json()
    assert (found["model"]["name"], found["inputs"]) == ("digits", 3)
    assert found["per_input"]["evaluations"] == {"expected": 20, "at_most": 20}
    assert found["total"]["forwards"] == {"expected": 66, "at_most": 66}
    assert found["compute_s"]["expected"] == found["compute_s"]["at_most"]
    assert 0.6 < found["compute_s"]["expected"] < 0.66
    assert found["queue"] == {"jobs_ahead": 0, "wait_s": 0.0}
    assert found["memory_bytes"] == {
        "points": 3 * 2 * 64 * 8,
        "vectors": 3 * 20 * 64 * 4,
        "one_pass": None,
        "total": None,
    }


async def test_jobs_of_its_kind_and_priority_stand_before_it():
    assert (await estimated(Told(2))).json()["queue"] == {"jobs_ahead": 12, "wait_s": None}
    assert (await estimated(Told(2), method="lime", priority="low")).json()["queue"]["jobs_ahead"] == 122


async def test_what_is_not_measured_yet_has_a_reason():
    found = (await estimated(Told(reports={}))).json()
    assert found["compute_s"] is None
    assert "measured" in found["compute_reason"]


async def test_it_is_refused_as_the_job_would_be():
    assert (await estimated(Told(), 10)).json()["errors"][0]["field"] == "inputs"
    assert (await estimated(Told(), model="none")).json()["code"] == "unknown_model"
    assert (await estimated(Told(), n_steps=4)).json()["errors"][0]["field"] == "n_steps"
