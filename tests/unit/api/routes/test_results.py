"""Results of jobs in every state, over HTTP; the store says what it is told to say."""

from dataclasses import dataclass, replace

import httpx
import pytest
from attributor.api.app import create_app
from attributor.api.dependencies import Deps, Limits
from attributor.jobs.job import Failure, JobKind, JobRecord, JobSpec
from attributor.jobs.result import AttributionResult, Estimate, PartialResult
from attributor.jobs.state import JobState
from unit.api.models import spec
from unit.api.results import SHARES, result

QUEUED = JobRecord("j", JobKind.ATTRIBUTION, JobState.QUEUED, "default", "photo-and-record", "1", "d", 2, 1, 0, 1.0)
RUNNING = replace(QUEUED, state=JobState.RUNNING, started_at=1.5)
DONE = replace(RUNNING, state=JobState.SUCCEEDED, finished_at=2.0)
FAILED = replace(RUNNING, state=JobState.FAILED, failure=Failure("model_error", "it raised"))
SOME = PartialResult((result(input=1),), (Estimate(0, 4, 0.2, SHARES),))


@dataclass
class Told:
    """A store of one job; its records are told one after the other, the last one stays."""

    records: list[JobRecord]
    parts: PartialResult | None = None
    job: JobSpec | None = None

    async def record(self, job_id: str, *, tenant: str) -> JobRecord | None:
        if job_id != "j":
            return None
        return self.records.pop(0) if len(self.records) > 1 else self.records[0]

    async def partial(self, job_id: str) -> PartialResult | None:
        return self.parts

    async def spec(self, job_id: str) -> JobSpec | None:
        return self.job or spec("photo-and-record", 2)

    async def result(self, job_id: str) -> AttributionResult:
        return AttributionResult((result(input=0), result(input=1)))


async def got(store: Told, path: str = "/v1/attributions/j/results") -> httpx.Response:
    app = create_app(Deps(None, store, None, None, None, None, Limits(1_000, 9, 1.0, 1.0), keys=None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get(path)


async def test_a_queued_job_has_nothing_yet():
    response = await got(Told([QUEUED]))
    found = response.json()
    assert (found["state"], found["results"], found["estimates"], found["inputs_done"]) == ("queued", [], [], 0)
    assert response.headers["Retry-After"] == "1"


async def test_a_running_job_has_what_is_done_and_estimates_of_the_rest():
    response = await got(Told([RUNNING], SOME))
    found = response.json()
    assert ([r["input"] for r in found["results"]], [e["input"] for e in found["estimates"]]) == ([1], [0])
    assert (found["inputs"], found["inputs_done"]) == (2, 1)
    assert response.headers["Retry-After"] == "1"


async def test_a_job_that_ends_while_it_is_asked_for_is_answered_whole():
    response = await got(Told([RUNNING, DONE]))
    found = response.json()
    assert (found["state"], found["inputs_done"], found["estimates"]) == ("succeeded", 2, [])
    assert "Retry-After" not in response.headers


@pytest.mark.parametrize("parts", [None, PartialResult((), SOME.estimates)])
async def test_a_failed_job_that_had_nothing_has_no_result(parts):
    response = await got(Told([FAILED], parts))
    assert (response.status_code, response.json()["code"]) == (409, "no_result")


async def test_a_failed_job_shows_what_it_had():
    found = (await got(Told([FAILED], SOME))).json()
    assert ([r["input"] for r in found["results"]], found["estimates"]) == ([1], [])
    assert found["error"]["detail"] == "it raised"


async def test_further_pages_do_not_read_the_answer_again():
    store, reads = Told([DONE]), []

    async def read(job_id: str) -> AttributionResult:
        reads.append(job_id)
        return AttributionResult((result(input=0), result(input=1)))

    store.result = read
    app = create_app(Deps(None, store, None, None, None, None, Limits(1_000, 9, 1.0, 1.0), keys=None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        pages = [(await client.get(f"/v1/attributions/j/results?limit=1&offset={k}")).json() for k in (0, 1)]
    assert [page["results"][0]["input"] for page in pages] == [0, 1]
    assert reads == ["j"]


async def test_unknown_jobs_and_pages_without_end_are_refused():
    path = "/v1/attributions/{}/results{}"
    assert (await got(Told([DONE]), path.format("x", ""))).status_code == 404
    assert (await got(Told([DONE]), path.format("j", "?limit=1001"))).status_code == 422
    assert (await got(Told([DONE]), path.format("j", "?offset=-1"))).status_code == 422


async def test_a_job_of_thousands_holds_a_page_and_leads_to_the_next():
    many = Told([replace(DONE, n_inputs=1_001)], job=spec("photo-and-record", 1_001))

    async def result_of_all(job_id: str) -> AttributionResult:
        return AttributionResult(tuple(result(input=i) for i in range(1_001)))

    many.result = result_of_all
    job = (await got(many, "/v1/attributions/j")).json()
    assert (len(job["results"]), job["next"]) == (1_000, "/v1/attributions/j/results?offset=1000&limit=1000")
    assert [each["input"] for each in (await got(many, job["next"])).json()["results"]] == [1_000]
