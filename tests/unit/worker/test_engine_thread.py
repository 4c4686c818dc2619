"""The engine's thread, within a worker at work: what is known of running jobs, and what becomes of its defects."""

import asyncio
import threading
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from attributor.engine.engine import Engine
from attributor.errors import StoreUnavailable
from attributor.worker import engine_thread, loop
from doubles import RecordingModel, fixed, job_spec
from unit.worker.memory_queue import MemoryQueue, until
from unit.worker.working import PROBLEM, HeldModel, working

#: More inputs than are computed side by side with passes of 64 points, so that some are done early.
N_INPUTS = 300
MANY = job_spec(PROBLEM, *[PROBLEM.example] * N_INPUTS, quadrature=fixed(20))


@dataclass
class SlowModel(RecordingModel):
    """Each pass takes some milliseconds."""

    pass_s: float = 0.003

    def evaluate(self, points):
        time.sleep(self.pass_s)
        return super().evaluate(points)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(loop, "STORE_RETRY_S", 0.01)
    monkeypatch.setattr(loop, "BELL_S", 0.02)


def numbers(queue: MemoryQueue, job_id: str) -> list[int]:
    """The inputs whose results were published, in that order."""
    return [result.input for each, partial in queue.published if each == job_id for result in partial.results]


async def test_progress_is_told_while_a_job_runs():
    queue = MemoryQueue()
    queue.put("a", spec=MANY)
    async with working(queue, SlowModel(PROBLEM)):
        await until(lambda: "a" in queue.outcomes)
    evaluations = [each.evaluations for each in queue.progress["a"]]
    assert len(set(evaluations)) > 5
    assert all(earlier <= later for earlier, later in pairwise(evaluations))


async def test_results_of_inputs_that_are_done_are_published_once_and_before_the_job_ends():
    queue = MemoryQueue()
    queue.put("a", spec=MANY)
    async with working(queue, SlowModel(PROBLEM)):
        await until(lambda: numbers(queue, "a"))
        assert "a" not in queue.outcomes
        await until(lambda: "a" in queue.outcomes)
    told = numbers(queue, "a")
    assert 1 <= len(told) == len(set(told))
    published = [result for _, partial in queue.published for result in partial.results]
    for result in published:
        final = queue.outcomes["a"].results[result.input]
        np.testing.assert_array_equal(result.attributions["x"], final.attributions["x"])


async def test_estimates_are_made_of_watched_jobs_only():
    queue = MemoryQueue()
    queue.watched = {"a"}
    queue.put("a", "b", spec=MANY)
    async with working(queue, SlowModel(PROBLEM)):
        await until(lambda: len(queue.outcomes) == 2)
    estimated = {job_id for job_id, partial in queue.published if partial.estimates}
    assert estimated == {"a"}


async def test_short_jobs_pay_for_nothing_of_it(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(Engine, "partial", lambda self, job_id, *, estimates: asked.append(job_id))
    queue = MemoryQueue()
    queue.put(*(f"job {i}" for i in range(20)))
    async with working(queue, beat_s=0.5):
        await until(lambda: len(queue.outcomes) == 20)
    assert (asked, queue.published) == ([], [])


async def test_what_cannot_be_published_harms_no_job(caplog):
    class Picky(MemoryQueue):
        async def publish(self, lease, partial):
            raise ValueError("nan cannot be stored")

    queue = Picky()
    queue.put("a", spec=MANY)
    async with working(queue, SlowModel(PROBLEM)):
        await until(lambda: "a" in queue.outcomes)
    assert len(queue.outcomes["a"].results) == N_INPUTS
    assert "nan cannot be stored" in caplog.text


async def test_what_was_not_published_is_published_later_and_in_order():
    lost = []

    class Flaky(MemoryQueue):
        async def publish(self, lease, partial):
            if partial.results and len(lost) < 2:
                lost.append(partial.results[0].input)
                raise StoreUnavailable("a moment away")
            await super().publish(lease, partial)

    queue = Flaky()
    queue.put("a", spec=MANY)
    async with working(queue, SlowModel(PROBLEM)):
        await until(lambda: "a" in queue.outcomes)
    published = numbers(queue, "a")
    assert lost == [published[0]] * 2
    assert len(set(published)) == len(published) > 2


async def test_a_defect_of_the_engine_ends_the_worker(monkeypatch):
    def defective(self):
        raise RuntimeError("a defect")

    monkeypatch.setattr(Engine, "step", defective)
    queue = MemoryQueue()
    queue.put("a")
    with pytest.raises(ExceptionGroup) as caught:
        async with working(queue) as running:
            await asyncio.wait([running.task], timeout=5)
    assert caught.group_contains(RuntimeError, match="a defect")


async def test_the_thread_ends_with_its_worker():
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    queue.put("a")
    async with working(queue, model):
        await until(lambda: "a" in queue.leases)
        assert engine_thread.THREAD in {thread.name for thread in threading.enumerate()}
        model.gate.set()
        await until(lambda: "a" in queue.outcomes)
    await until(lambda: engine_thread.THREAD not in {thread.name for thread in threading.enumerate()})


async def test_jobs_that_end_together_are_stored_by_one_call():
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    calls: list[int] = []
    plain = queue.finish_all

    async def counted(outcomes):
        calls.append(len(outcomes))
        return await plain(outcomes)

    queue.finish_all = counted
    queue.put(*(f"job {i}" for i in range(16)), spec=job_spec(PROBLEM, quadrature=fixed(3)))
    async with working(queue, model, max_active_jobs=16):
        await until(lambda: len(queue.leases) == 16)
        model.gate.set()
        await until(lambda: len(queue.outcomes) == 16)
    assert sum(calls) == 16
    assert max(calls) >= 8


async def test_an_answer_that_cannot_be_stored_does_not_hold_up_those_that_ended_with_it():
    queue = MemoryQueue(unstorable={"job 3"})
    queue.put(*(f"job {i}" for i in range(8)))
    async with working(queue, max_active_jobs=8):
        await until(lambda: len(queue.outcomes) == 8)
    failed = {job_id for job_id, outcome in queue.outcomes.items() if hasattr(outcome, "code")}
    assert failed == {"job 3"}


async def test_the_age_of_a_job_counts_from_its_creation(monkeypatch):
    ages: list[float] = []
    plain = Engine.admit

    def noting(self, job_id, spec, age_s=0.0, weight=1.0):
        ages.append(age_s)
        plain(self, job_id, spec, age_s, weight)

    monkeypatch.setattr(Engine, "admit", noting)
    queue = MemoryQueue(waited_s=7.0)
    queue.put("a")
    async with working(queue):
        await until(lambda: "a" in queue.outcomes)
    assert 7.0 <= ages[0] < 8.0
