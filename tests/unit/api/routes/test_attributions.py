"""Creating jobs over HTTP, where the queue and the store say what they are told to say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from attributor.api.app import create_app
from attributor.api.dependencies import Deps, Limits
from attributor.api.documents import JobDocument
from attributor.jobs.job import JobKind, JobRecord, JobSpec
from attributor.jobs.state import JobState
from attributor.jobs.terms import Terms
from attributor.ports import Enqueued
from unit.api.models import INPUTS, MODELS

DONE = JobRecord(
    "j", JobKind.ATTRIBUTION, JobState.SUCCEEDED, "default", "digits", "1", "d", 1, 3, 0, 0.0, finished_at=0.0,
    cached=True,
)  # fmt: skip


@dataclass
class Told:
    """The ports that creating a job asks; the job that it makes stands as `record` says. It has no results to read."""

    record_: JobRecord = DONE
    keys: list[str | None] = field(default_factory=list)
    desks: list[str | None] = field(default_factory=list)
    desk: str = "here"

    async def enqueue(
        self,
        spec: JobSpec,
        *,
        idempotency_key: str | None,
        content_key: str | None,
        answer_to: str | None,
        terms: Terms,
    ) -> Enqueued:
        self.keys.append(content_key)
        self.desks.append(answer_to)
        return Enqueued("j", replayed=False, waits=False)

    async def record(self, job_id: str, *, tenant: str) -> JobRecord:
        return self.record_

    async def position(self, job_id: str) -> int:
        return 4

    async def model_reports(self) -> dict[str, Any]:
        return {}

    def get(self, ref: str, ready: Any = None) -> Any:
        return MODELS[ref]


async def created(told: Told, *, shares_answers: bool = True, **headers: str) -> httpx.Response:
    limits = Limits(1_000_000, 9, 1.0, 1.0)
    app = create_app(Deps(told, told, told, told, told, told, limits, keys=None, shares_answers=shares_answers))
    body = {"model": "digits", "inputs": [INPUTS["digits"]]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/v1/attributions", json=body, headers=headers)


@pytest.mark.parametrize("accept", ["application/json", "application/x-npy", "image/png"])
@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED])
async def test_who_does_not_wait_gets_the_job_and_no_results(state, accept):
    response = await created(Told(replace(DONE, state=state)), Accept=accept)
    assert (response.status_code, response.headers["Content-Type"]) == (202, "application/json")
    JobDocument.model_validate_json(response.content, strict=True)
    job = response.json()
    assert (job["state"], job["cached"], job["results"], job["next"]) == (state, True, None, None)
    assert response.headers["Location"] == job["links"]["self"] == "/v1/attributions/j"
    assert ("Retry-After" in response.headers) == (state is not JobState.SUCCEEDED)
    assert job["position"] == (4 if state is JobState.QUEUED else None)


@dataclass
class Answering(Told):
    """Its events, too: nothing is sent, and the job has ended by the first look."""

    @asynccontextmanager
    async def subscribe(self, job_id: str, *, ends_only: bool = False) -> AsyncIterator[None]:
        yield None

    async def answered(self, job_id: str, *, tenant: str) -> tuple[JobRecord, None]:
        return replace(self.record_, state=JobState.CANCELLED), None


async def test_only_who_waits_has_the_answer_sent_to_a_desk():
    told = Answering()
    await created(told)
    await created(told, Prefer="wait=0")
    await created(told, Prefer="wait=5")
    assert told.desks == [None, None, "here"]


async def test_a_queue_that_keeps_no_answers_is_not_told_which_questions_are_equal():
    told = Told()
    await created(told)
    await created(told, shares_answers=False)
    assert [key is None for key in told.keys] == [False, True]
