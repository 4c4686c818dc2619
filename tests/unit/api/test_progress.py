"""Waiting and streaming where the store is slow, away or about to go; the good days are shown in tests/e2e."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from attributor.api.dependencies import Deps, Limits
from attributor.api.progress import event_stream, wait_until_ended
from attributor.errors import StoreUnavailable
from attributor.jobs.job import JobKind, JobRecord, Progress
from attributor.jobs.state import JobState

RECORD = JobRecord("j", JobKind.ATTRIBUTION, JobState.QUEUED, "t", "m", "1", "d", 1, 1, 0, 0.0)
RUNNING = replace(RECORD, state=JobState.RUNNING, revision=2, progress=Progress(8, 0.5, 0))
DONE = replace(RECORD, state=JobState.SUCCEEDED, revision=3, finished_at=1.0, progress=Progress(8, 0.5, 0))


@dataclass
class Script:
    """A store, and its events, that say one thing after another; an exception is raised, the last one stays."""

    says: list[JobRecord | Exception | None]
    waits: int = 0
    on_wait: dict[int, asyncio.Event] = field(default_factory=dict)

    async def record(self, job_id: str, *, tenant: str) -> JobRecord | None:
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return said

    async def position(self, job_id: str) -> int:
        return 4

    @asynccontextmanager
    async def subscribe(self, job_id: str):
        yield self

    async def wait(self, timeout_s: float) -> bool:
        self.waits += 1
        if event := self.on_wait.get(self.waits):
            event.set()
        await asyncio.sleep(min(timeout_s, 0.01))
        return True


def deps(script: Script) -> Deps:
    return Deps(None, script, script, None, None, Limits(1, 1, 1.0, 1.0))


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
    assert await wait_until_ended(deps(Script([RECORD, RUNNING, DONE])), "j", "t", 5) == DONE
    assert await wait_until_ended(deps(Script([RUNNING])), "j", "t", 0.05) == RUNNING
    assert await wait_until_ended(deps(Script([RUNNING])), "j", "t", 0) == RUNNING
    assert await wait_until_ended(deps(Script([RUNNING, None])), "j", "t", 5) is None


async def test_a_wait_ends_at_shutdown():
    script = Script([RUNNING])
    made = deps(script)
    script.on_wait[2] = made.draining
    async with asyncio.timeout(5):
        assert await wait_until_ended(made, "j", "t", 60) == RUNNING


async def test_a_wait_without_a_store_says_so():
    with pytest.raises(StoreUnavailable):
        await wait_until_ended(deps(Script([RUNNING, StoreUnavailable("away")])), "j", "t", 5)
