"""Versions come, fail and go while the service runs; models share a memory that is too small for all of them."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bundles import LINEAR, write_bundle
from e2e.conftest import SLOW, UNSAFE
from e2e.live import Service, created, ended, eventually, explained, pair, problem, running, strange_tracebacks

pytestmark = pytest.mark.e2e

#: As LINEAR, with the first weight and a buffer of 0.8 MB to be filled in.
HEAVY = """
import torch
from torch import nn

class Heavy(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.tensor([[{weight}, -1.0], [0.0, 0.0]]))
        self.register_buffer("ballast", torch.zeros(200_000))

    def forward(self, x):
        return nn.functional.linear(x, self.weight)

def build():
    return Heavy()
"""
LOGIT = {"class": "no", "scale": "logit"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of models with `pear@1`."""
    folder = tmp_path / "models"
    write_bundle(folder, "pear", "1", code=weighted(2.0))
    return folder


@pytest.fixture
def lively(models: Path, launch) -> Iterator[Service]:
    """A service on that folder, in which nothing must break unseen."""
    service = launch(models=models)
    yield service
    assert service.stop() == 0
    assert not strange_tracebacks(service.log()), strange_tracebacks(service.log())[0]


def weighted(weight: float) -> str:
    return LINEAR.replace("2.0", str(weight))


def asked(model: str, **more) -> dict:
    return pair(model, target=LOGIT, **more)


def served(client: httpx.Client, model: str) -> tuple[str, float]:
    """The version that answers, and the attribution of `a`, which is its first weight."""
    job = explained(client, asked(model))
    assert job["state"] == "succeeded", job
    return job["model"]["version"], round(job["results"][0]["attributions"]["features"]["data"][0], 4)


def state(client: httpx.Client, ref: str) -> str:
    response = client.get(f"/v1/models/{ref}")
    return response.json()["readiness"]["state"] if response.status_code == 200 else response.json()["code"]


def test_a_new_version_serves_without_a_restart_and_aliases_follow_their_file(lively, models, tmp_path):
    complete = write_bundle(tmp_path / "elsewhere", "pear", "2", code=weighted(3.0))
    with httpx.Client(base_url=lively.url, timeout=20) as client:
        assert served(client, "pear") == ("1", 2.0)
        worker = lively.pid("worker")

        half = models / "pear" / "2"
        half.mkdir()
        shutil.copy(complete / "manifest.toml", half)
        unreadable = eventually(lambda: client.get("/v1/models").json()["unreadable"], 10)
        assert unreadable == {"pear@2": "model.py is missing."}
        assert served(client, "pear") == ("1", 2.0)
        shutil.copy(complete / "model.py", half)
        eventually(lambda: served(client, "pear") == ("2", 3.0), 10)
        assert served(client, "pear@1") == ("1", 2.0)
        assert client.get("/v1/models").json()["unreadable"] == {}

        (models / "pear" / "versions.toml").write_text('default = "1"\n[aliases]\nnext = "2"\nstable = "1"\n')
        eventually(lambda: served(client, "pear") == ("1", 2.0), 10)
        assert served(client, "pear@next") == ("2", 3.0)
        assert served(client, "pear@stable") == ("1", 2.0)
        listed = {model["version"]: model for model in client.get("/v1/models").json()["models"]}
        assert [(v, listed[v]["default"], listed[v]["aliases"]) for v in ("1", "2")] == [
            ("1", True, ["stable"]),
            ("2", False, ["next"]),
        ]
        assert "Aliases: next, stable" in problem(client.get("/v1/models/pear@best"), 404, "unknown_version")["detail"]
        assert lively.pid("worker") == worker


def test_a_failing_new_version_leaves_the_old_one_serving(lively, models):
    with httpx.Client(base_url=lively.url, timeout=20) as client:
        write_bundle(models, "pear", "2", code=UNSAFE)
        for _ in range(20):  # while it is found and proven, too
            assert served(client, "pear") == ("1", 2.0)
        eventually(lambda: state(client, "pear@2") == "failed", 10)
        assert served(client, "pear") == ("1", 2.0)
        assert (
            "influence each other"
            in problem(client.post("/v1/attributions", json=asked("pear@2")), 503, "model_not_ready")["detail"]
        )
        listed = {model["version"]: model["default"] for model in client.get("/v1/models").json()["models"]}
        assert listed == {"1": True, "2": False}

        (models / "pear" / "versions.toml").write_text('default = "2"\n')
        eventually(lambda: client.post("/v1/attributions", json=asked("pear")).status_code == 503, 10)


def test_a_version_that_was_changed_in_place_and_fails_says_so(lively, models):
    with httpx.Client(base_url=lively.url, timeout=20) as client:
        assert served(client, "pear") == ("1", 2.0)
        shutil.rmtree(models / "pear" / "1")
        write_bundle(models, "pear", "1", code=UNSAFE)
        eventually(lambda: state(client, "pear@1") == "failed", 10)
        detail = problem(client.post("/v1/attributions", json=asked("pear")), 503, "model_not_ready")["detail"]
        assert "versions are immutable" in detail


def test_a_removed_version_ends_its_jobs_and_takes_no_more(lively, models):
    write_bundle(models, "slow", code=SLOW)
    with httpx.Client(base_url=lively.url, timeout=20) as client:
        eventually(lambda: state(client, "slow") == "ready", 10)
        path = created(client, pair("slow", rule="right_riemann", n_steps=30 * 8))
        running(client, path)
        eventually(lambda: client.get(path).json()["progress"], 10)
        shutil.rmtree(models / "slow")
        eventually(lambda: state(client, "slow") == "unknown_model", 10)
        problem(client.post("/v1/attributions", json=pair("slow")), 404, "unknown_model")
        assert ended(client, path)["state"] == "succeeded"
        eventually(lambda: "model slow@1 was removed" in lively.log(), 10)
        assert "model slow@1: draining" in lively.log()
        assert served(client, "pear") == ("1", 2.0)


def test_models_take_turns_in_a_small_memory_and_answer_the_same(models, launch):
    for name, weight in (("apple", 4.0), ("plum", 5.0)):
        write_bundle(models, name, code=HEAVY.format(weight=weight))
    service = launch(models=models, ATTRIBUTOR_WORKER__MODEL_MEMORY_BYTES="1000000")

    def loaded() -> dict[str, bool]:
        return {model["name"]: model["readiness"]["loaded"] for model in client.get("/v1/models").json()["models"]}

    with httpx.Client(base_url=service.url, timeout=20) as client:
        assert {state(client, name) for name in ("apple", "pear", "plum")} == {"ready"}
        for name, weight in (("plum", 5.0), ("apple", 4.0), ("pear", 2.0), ("plum", 5.0), ("apple", 4.0)):
            assert served(client, name) == ("1", weight)
            other = {"plum": "apple", "apple": "plum"}.get(name)
            eventually(lambda name=name, other=other: loaded()[name] and not (other and loaded()[other]), 5)
        paths = [created(client, asked(name)) for name in ("apple", "plum", "pear") * 5]
        assert {ended(client, path)["state"] for path in paths} == {"succeeded"}
    assert "unloaded" in service.log()


def test_a_model_larger_than_the_whole_memory_fails_with_that_reason(models, launch):
    write_bundle(models, "apple", code=HEAVY.format(weight=4.0).replace("200_000", "2_000_000"))
    service = launch(models=models, ATTRIBUTOR_WORKER__MODEL_MEMORY_BYTES="1000000")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        readiness = client.get("/v1/models/apple").json()["readiness"]
        assert readiness["state"] == "failed"
        assert "8000016 bytes" in readiness["reason"]
        assert "worker.model_memory_bytes" in readiness["reason"]


def test_a_worker_that_is_stopped_in_the_middle_of_a_load_ends_as_it_should(models, launch):
    service = launch(models=models)
    # The API calls a model loading before a worker has seen it, so the code itself says when it is.
    begun = models.parent / "begun"
    wait = f"def build():\n    import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(600)"
    write_bundle(models, "apple", code=LINEAR.replace("def build():", wait))
    with httpx.Client(base_url=service.url, timeout=20) as client:
        eventually(begun.exists, 10)
        eventually(lambda: state(client, "apple") == "loading", 5)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 2
    assert "without waiting for its thread of models" in service.log()


def test_a_job_for_a_model_that_still_loads_waits_and_holds_up_no_other(models, launch):
    write_bundle(models, "apple", code=weighted(4.0))
    service = launch(models=models)
    slow_start = weighted(6.0).replace("def build():", "def build():\n    import time; time.sleep(4)")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        write_bundle(models, "zucchini", code=slow_start)
        eventually(lambda: state(client, "zucchini") == "loading", 10)
        path = created(client, asked("zucchini"))
        began = time.monotonic()
        assert served(client, "apple") == ("1", 4.0)
        assert time.monotonic() - began < 2
        assert client.delete(created(client, asked("zucchini"))).status_code in (200, 202)
        job = ended(client, path)
        assert (job["state"], job["attempts"]) == ("succeeded", 1)
        assert job["results"][0]["attributions"]["features"]["data"][0] == pytest.approx(6.0)
