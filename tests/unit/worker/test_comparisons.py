"""Comparators' jobs beside the engine's: the whole worker loop, a queue in memory, a comparator that can be held up."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import Failure, JobKind, JobSpec
from attributor.jobs.result import AttributionResult
from attributor.worker import loop
from attributor.worker.loop import WorkerLoop
from attributor.worker.policy import WorkerPolicy
from doubles import RecordingModel, job_spec, one_model
from problems import named
from unit.worker.memory_queue import AllThere, MemoryQueue, until

PROBLEM = named("product")
COMPARED = job_spec(PROBLEM, explanation=Explanation(method=Method.OCCLUSION))
ANSWER = AttributionResult(())


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(loop, "STORE_RETRY_S", 0.01)
    monkeypatch.setattr(loop, "BELL_S", 0.02)


@dataclass
class HeldComparator:
    """Answers once `gate` opens; takes `tidying_s` to end when it is cancelled."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    raises: Exception | None = None
    tidying_s: float = 0.05
    begun: int = 0
    ended_by_cancel: int = 0
    disturbed: int = 0

    async def explain(self, spec: JobSpec) -> AttributionResult | Failure:
        self.begun += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(self.tidying_s)
            except asyncio.CancelledError:
                self.disturbed += 1
                raise
            self.ended_by_cancel += 1
            raise
        if self.raises is not None:
            raise self.raises
        return ANSWER


@dataclass
class Working:
    comparator: HeldComparator
    stop: asyncio.Event
    task: asyncio.Task


@asynccontextmanager
async def working(queue: MemoryQueue, **changes: Any) -> AsyncIterator[Working]:
    comparator = HeldComparator()
    policy = WorkerPolicy(
        max_active_jobs=changes.get("max_active_jobs", 4),
        max_comparators=changes.get("max_comparators", 1),
        beat_s=0.01,
        step_timeout_s=30,
        drain_s=changes.get("drain_s", 5),
        rescan_s=5,
    )
    engine = Engine(one_model(RecordingModel(PROBLEM)), time.monotonic)
    worker = WorkerLoop("w", (queue, queue, comparator, AllThere()), engine, policy, time.monotonic, lambda: None)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield Working(comparator, stop, task)
    finally:
        comparator.gate.set()
        stop.set()
        async with asyncio.timeout(10):
            await task


def test_only_attributions_by_other_makers_methods_are_comparisons():
    assert COMPARED.is_comparison
    assert not replace(COMPARED, kind=JobKind.PREDICTION).is_comparison
    assert not job_spec(PROBLEM).is_comparison


async def test_the_engine_and_the_heartbeat_go_on_beside_a_comparison():
    queue = MemoryQueue()
    queue.put("long", spec=COMPARED)
    async with working(queue) as running:
        await until(lambda: running.comparator.begun == 1)
        queue.put("a", "b")
        await until(lambda: len(queue.outcomes) == 2)
        beats = queue.beats
        await until(lambda: queue.beats > beats + 3)
        assert "long" in queue.leases
        running.comparator.gate.set()
        await until(lambda: "long" in queue.outcomes)
    assert queue.outcomes["long"] is ANSWER
    assert queue.leases == {}


async def test_a_cancelled_comparison_is_told_once_and_ends_without_an_answer():
    queue = MemoryQueue()
    queue.put("long", spec=COMPARED)
    async with working(queue) as running:
        running.comparator.tidying_s = 0.1
        await until(lambda: running.comparator.begun == 1)
        queue.stop.add("long")
        await until(lambda: "long" in queue.outcomes)
        assert queue.outcomes == {"long": None}
        assert (running.comparator.ended_by_cancel, running.comparator.disturbed) == (1, 0)
        queue.put("a")
        await until(lambda: "a" in queue.outcomes)


async def test_comparisons_that_wait_their_turn_wait_in_the_queue_and_take_no_place_of_the_engine():
    queue = MemoryQueue()
    queue.put(*(f"job {i}" for i in range(7)), spec=COMPARED)
    async with working(queue, max_active_jobs=1, max_comparators=2) as running:
        await until(lambda: running.comparator.begun == 2)
        queue.put("a", "b", "c")
        await until(lambda: len(queue.outcomes) == 3)
        assert (running.comparator.begun, len(queue.leases), len(queue.waiting)) == (2, 2, 5)
        assert queue.most_held == 3
        running.comparator.gate.set()
        await until(lambda: len(queue.outcomes) == 10)


async def test_a_full_engine_takes_comparisons_and_turns_to_its_next_job_at_once(monkeypatch):
    monkeypatch.setattr(loop, "BELL_S", 0.2)
    queue = MemoryQueue()
    queue.put(*(f"job {i}" for i in range(12)))
    async with working(queue, max_active_jobs=1) as running:
        began = time.monotonic()
        await until(lambda: len(queue.outcomes) == 12)
        assert time.monotonic() - began < 6 * 0.2
        queue.put("long", spec=COMPARED)
        await until(lambda: running.comparator.begun == 1)


async def test_a_defect_of_the_comparator_fails_its_job_only(caplog):
    queue = MemoryQueue()
    queue.put("broken", spec=COMPARED)
    with caplog.at_level(logging.ERROR):
        async with working(queue) as running:
            running.comparator.raises = RuntimeError("an answer that nobody expected")
            running.comparator.gate.set()
            await until(lambda: "broken" in queue.outcomes)
            queue.put("a")
            await until(lambda: "a" in queue.outcomes)
    assert queue.outcomes["broken"].code == "internal_error"
    assert "an answer that nobody expected" in caplog.text


async def test_a_comparison_that_was_lost_and_claimed_again_starts_afresh():
    queue = MemoryQueue()
    queue.put("long", spec=COMPARED)
    async with working(queue) as running:
        await until(lambda: running.comparator.begun == 1)
        queue.leases.pop("long")
        queue.put("long", spec=COMPARED)
        await until(lambda: running.comparator.begun == 2)
        await until(lambda: running.comparator.ended_by_cancel == 1)
        assert queue.outcomes == {}
        running.comparator.gate.set()
        await until(lambda: "long" in queue.outcomes)
    assert queue.outcomes["long"] is ANSWER


@pytest.mark.parametrize(("waited_s", "begun"), [(0.0, 1), (9.95, 1), (10.0, 0)])
async def test_a_comparison_fails_when_its_deadline_passes(waited_s, begun):
    queue = MemoryQueue(waited_s=waited_s)
    queue.put("late", spec=replace(COMPARED, deadline_s=0.1 if waited_s == 0 else 10.0))
    async with working(queue) as running:
        await until(lambda: "late" in queue.outcomes)
        assert queue.outcomes["late"].code == "deadline_exceeded"
        assert (running.comparator.begun, running.comparator.ended_by_cancel) == (begun, begun)
        running.comparator.gate.set()
        queue.put("next", spec=replace(COMPARED, deadline_s=60.0))
        await until(lambda: "next" in queue.outcomes)
    assert queue.outcomes["next"] is ANSWER


async def test_a_comparison_that_tidies_up_after_its_deadline_is_not_disturbed():
    queue = MemoryQueue()
    queue.put("late", spec=replace(COMPARED, deadline_s=0.05))
    async with working(queue) as running:
        running.comparator.tidying_s = 0.2
        await until(lambda: running.comparator.begun == 1)
        await asyncio.sleep(0.1)
        queue.stop.add("late")
        await until(lambda: "late" in queue.outcomes)
        assert (running.comparator.ended_by_cancel, running.comparator.disturbed) == (1, 0)


async def test_at_the_end_comparisons_get_the_drain_time():
    queue = MemoryQueue()
    queue.put("long", spec=COMPARED)
    async with working(queue) as running:
        await until(lambda: running.comparator.begun == 1)
        running.stop.set()
        await asyncio.sleep(0.05)
        running.comparator.gate.set()
        await running.task
    assert queue.outcomes == {"long": ANSWER}


async def test_comparisons_that_outlast_it_are_ended_and_given_back():
    queue = MemoryQueue()
    queue.put("long", spec=COMPARED)
    async with working(queue, drain_s=0.1) as running:
        await until(lambda: running.comparator.begun == 1)
        running.stop.set()
        await running.task
        assert running.comparator.ended_by_cancel == 1
    assert (queue.outcomes, queue.released) == ({}, ["long"])
