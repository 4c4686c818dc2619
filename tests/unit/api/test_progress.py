"""Waiting and streaming where the store is slow, away or about to go; the good days are shown in tests/e2e."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from attributor.api.dependencies import Deps, Limits
from attributor.api.progress import event_stream, wait_until_ended
from attributor.errors import StoreUnavailable
from attributor.jobs.job import JobKind, JobRecord, JobSpec, Progress
from attributor.jobs.result import AttributionResult, JobResult
from attributor.jobs.state import JobState
from attributor.ports import Sent

SPEC = JobSpec(JobKind.ATTRIBUTION, "m", "1", "d", (), ({},), "", tenant="t")
RECORD = JobRecord("j", JobKind.ATTRIBUTION, JobState.QUEUED, "t", "m", "1", "d", 1, 1, 0, 0.0)
RUNNING = replace(RECORD, state=JobState.RUNNING, revision=2, progress=Progress(8, 0.5, 0))
RESULT = AttributionResult(())
DONE = replace(RECORD, state=JobState.SUCCEEDED, revision=3, finished_at=1.0, progress=Progress(8, 0.5, 0))


@dataclass
class Script:
    """A store, and its events, that say one thing after another; an exception is raised, the last one stays."""

    says: list[JobRecord | Exception | None]
    waits: int = 0
    looks: int = 0
    answer: Sent | None = None
    on_wait: dict[int, asyncio.Event] = field(default_factory=dict)

    async def record(self, job_id: str, *, tenant: str) -> JobRecord | None:
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return said

    async def answered(self, job_id: str, *, tenant: str) -> tuple[JobRecord, JobResult | None] | None:
        self.looks += 1
        record = await self.record(job_id, tenant=tenant)
        return record and (record, RESULT if record.state is JobState.SUCCEEDED else None)

    async def position(self, job_id: str) -> int:
        return 4

    @asynccontextmanager
    async def subscribe(self, job_id: str, *, ends_only: bool = False):
        yield self

    def sent(self) -> Sent | None:
        return self.answer

    async def wait(self, timeout_s: float) -> bool:
        self.waits += 1
        if event := self.on_wait.get(self.waits):
            event.set()
        await asyncio.sleep(min(timeout_s, 0.01))
        return True


def deps(script: Script) -> Deps:
    return Deps(None, script, None, script, None, None, Limits(1, 1, 1.0, 1.0), keys=None)


async def told(script: Script, made: Deps | None = None) -> list[str]:
    chunks = [chunk.decode() async for chunk in event_stream(made or deps(script), "j", "t")]
    return [chunk.splitlines()[0] for chunk in chunks]


async def test_a_stream_says_each_thing_once_and_ends():
    assert await told(Script([RECORD, RECORD, RUNNING, RUNNING, DONE])) == [
        "event: state",
        "event: state",
        "event: progress",
        "event: end",
    ]


@dataclass
class Running:
    """A store of a job that runs for a while; `evaluations` grow with every look, if `busy`, and every look is due at
    once."""

    for_s: float
    busy: bool
    began: float = field(default_factory=time.monotonic)
    looks: int = 0

    async def record(self, job_id: str, *, tenant: str) -> JobRecord:
        self.looks += 1
        if time.monotonic() - self.began > self.for_s:
            return DONE
        progress = Progress(self.looks if self.busy else 8, 0.5, 0)
        return replace(RUNNING, revision=self.looks, started_at=time.time() - 3.0, progress=progress)

    @asynccontextmanager
    async def subscribe(self, job_id: str, *, ends_only: bool = False):
        yield self

    async def wait(self, timeout_s: float) -> bool:
        await asyncio.sleep(min(timeout_s, 0.005) if self.busy else timeout_s)
        return self.busy


async def progress_of(store: Running) -> list[tuple[float, dict]]:
    """When progress was told, and what."""
    found = []
    async for chunk in event_stream(
        Deps(None, store, None, store, None, None, Limits(1, 1, 1.0, 1.0), keys=None), "j", "t"
    ):
        lines = chunk.decode().splitlines()
        if lines[0] == "event: progress":
            (data,) = (line.removeprefix("data: ") for line in lines if line.startswith("data: "))
            found.append((time.monotonic(), json.loads(data)))
    return found


async def test_progress_is_told_again_every_second_with_the_time_that_went_by():
    told = await progress_of(Running(2.0, busy=False))
    times = [at for at, _ in told]
    assert len(told) == 3
    assert all(later - sooner <= 1.0 for sooner, later in pairwise(times))
    assert {data["evaluations"] for _, data in told} == {8}
    elapsed = [data["elapsed_s"] for _, data in told]
    assert all(3.0 <= each < 3.2 for each in elapsed), "of the job, not of the stream"


async def test_progress_is_told_ten_times_a_second_at_most_and_then_the_newest():
    told = await progress_of(store := Running(0.55, busy=True))
    times = [at for at, _ in told]
    assert 4 <= len(told) <= 6
    assert all(later - sooner > 0.09 for sooner, later in pairwise(times))
    assert store.looks > 30
    evaluations = [data["evaluations"] for _, data in told]
    assert evaluations == sorted(set(evaluations))


async def test_a_running_job_of_which_nothing_is_known_has_done_nothing():
    silent = replace(RUNNING, progress=None)
    chunks = [chunk.decode() async for chunk in event_stream(deps(Script([silent, DONE])), "j", "t")]
    assert '"evaluations":0' in chunks[1]


async def test_a_job_that_went_back_to_the_queue_has_no_progress():
    back = replace(RUNNING, state=JobState.QUEUED, revision=3)
    assert await told(Script([RUNNING, back, DONE])) == [
        "event: state",
        "event: progress",
        "event: state",
        "event: end",
    ]


async def test_the_stream_of_an_erased_job_ends():
    assert await told(Script([RUNNING, None])) == ["event: state", "event: progress", "event: end"]


async def test_a_stream_without_a_store_asks_to_come_back():
    assert await told(Script([RECORD, StoreUnavailable("away")])) == ["event: state", "retry: 1000"]


async def test_a_stream_at_shutdown_asks_to_come_back():
    script = Script([RECORD])
    made = deps(script)
    script.on_wait[2] = made.draining
    assert await told(script, made) == ["event: state", "retry: 1000"]


async def test_a_wait_ends_with_the_job_or_with_its_time():
    assert await wait_until_ended(deps(Script([RECORD, RUNNING, DONE])), "j", "t", 5) == (DONE, RESULT)
    assert await wait_until_ended(deps(Script([RUNNING])), "j", "t", 0.05) == (RUNNING, None)
    assert await wait_until_ended(deps(Script([RUNNING])), "j", "t", 0) == (RUNNING, None)
    assert await wait_until_ended(deps(Script([RUNNING, None])), "j", "t", 5) is None


async def test_a_wait_ends_at_shutdown():
    script = Script([RUNNING])
    made = deps(script)
    script.on_wait[2] = made.draining
    async with asyncio.timeout(5):
        assert await wait_until_ended(made, "j", "t", 60) == (RUNNING, None)


async def test_a_job_just_queued_is_looked_at_once_its_end_is_told():
    script = Script([DONE])
    assert await wait_until_ended(deps(script), "j", "t", 5, just_queued=SPEC) == (DONE, RESULT)
    assert (script.waits, script.looks) == (1, 1)


async def test_an_answer_that_was_sent_is_not_fetched():
    script = Script([RUNNING], answer=Sent(3, 1, 1.0, 2.0, 3.0, 4.0, RESULT))
    times = {"created_at": 1.0, "started_at": 2.0, "finished_at": 3.0, "expires_at": 4.0}
    record = replace(DONE, attempts=1, progress=None, **times)
    assert await wait_until_ended(deps(script), "j", "t", 5, just_queued=SPEC) == (record, RESULT)
    assert (script.waits, script.looks) == (1, 0)


async def test_a_job_just_queued_that_nobody_waits_for_is_looked_at_without_a_wait():
    script = Script([RECORD])
    assert await wait_until_ended(deps(script), "j", "t", 0, just_queued=SPEC) == (RECORD, None)
    assert (script.waits, script.looks) == (0, 1)


async def test_a_wait_without_a_store_says_so():
    with pytest.raises(StoreUnavailable):
        await wait_until_ended(deps(Script([RUNNING, StoreUnavailable("away")])), "j", "t", 5)
