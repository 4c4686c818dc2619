"""When a worker has had its time, and that nothing is lost when it goes."""

import asyncio

import pytest
from attributor.runtimes.memory import resident_bytes
from attributor.worker import recycling
from attributor.worker.collector import give_back_memory
from attributor.worker.recycling import Lifespan, RecyclingPolicy, Resting, recycle
from doubles import RecordingModel
from unit.worker.memory_queue import MemoryQueue, until
from unit.worker.test_loop import LONG, PROBLEM, HeldModel, impatient, working

__all__ = ["impatient"]

MB = 10**6


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(recycling, "LOOK_S", 0.01)


def _nothing():
    """What is free stays."""


async def test_a_worker_that_rests_gives_back_what_it_has_grown_by():
    memory, given = [50 * MB], []

    def give_back():
        given.append(memory[0])
        memory[0] -= 5 * MB

    async with working(MemoryQueue()) as running:
        policy = RecyclingPolicy(None, None)
        looking = asyncio.create_task(recycle(running.worker, policy, lambda: memory[0], give_back, running.stop))
        await until(lambda: given == [50 * MB])
        memory[0] = 55 * MB  # as much as small jobs take
        await asyncio.sleep(0.15)
        assert given == [50 * MB]
        memory[0] = 56 * MB
        await until(lambda: given == [50 * MB, 56 * MB])
        running.stop.set()
        assert not await looking


def test_one_that_ends_a_job_now_and_then_does_not_rest():
    given = []
    resting = Resting(lambda: given.append(1), lambda: 90 * MB)
    for jobs_ended in range(1, 20):
        for _ in range(5):
            resting.look(idle=True, jobs_ended=jobs_ended)
    assert not given
    resting.look(idle=True, jobs_ended=19)
    assert given


def test_growth_since_it_held_least_counts_and_what_is_not_known_does_not():
    memory, given = [600 * MB], []
    resting = Resting(lambda: given.append(memory[0]), lambda: memory[0])
    for held in (600 * MB, 100 * MB, None, 109 * MB, 111 * MB):
        memory[0] = held
        for _ in range(10):
            resting.look(idle=True, jobs_ended=0)
    assert given == [600 * MB, 111 * MB]


async def test_one_that_works_gives_nothing_back():
    queue, model, given = MemoryQueue(), HeldModel(PROBLEM), []
    queue.put("long", spec=LONG)
    async with working(queue, model) as running:
        await until(lambda: not running.worker.idle)
        policy = RecyclingPolicy(None, None)
        looking = asyncio.create_task(
            recycle(running.worker, policy, lambda: 90 * MB, lambda: given.append(1), running.stop)
        )
        await asyncio.sleep(0.15)
        assert not given
        model.gate.set()
        await until(lambda: given)
        running.stop.set()
        await looking


def test_free_memory_goes_back_to_the_system():
    parts = [b"." * n for n in [100_000] * 1000]
    held = resident_bytes()
    parts = parts[::10]  # which keep the heap as long as it is
    give_back_memory()
    assert resident_bytes() < held - 50 * MB
    assert len(parts) == 100


def test_growth_is_counted_from_when_the_models_were_loaded():
    lifespan = Lifespan(RecyclingPolicy(100 * MB, None))
    assert lifespan.over(0, None) is None
    assert lifespan.over(0, 900 * MB) is None
    assert lifespan.over(5, 1000 * MB) is None
    assert lifespan.over(5, 1001 * MB) == "it has grown by 101 MB"


def test_jobs_are_counted():
    lifespan = Lifespan(RecyclingPolicy(None, 3))
    assert lifespan.over(2, 900 * MB) is None
    assert lifespan.over(3, 900 * MB) == "it has ended 3 jobs"


def test_without_bounds_it_lives_for_ever():
    lifespan = Lifespan(RecyclingPolicy(None, None))
    assert lifespan.over(10**9, 1) is None
    assert lifespan.over(10**9, 10**15) is None


async def test_a_worker_that_has_done_its_number_claims_no_more_and_ends():
    queue = MemoryQueue()
    queue.put("a", "b")
    async with working(queue) as running:
        policy = RecyclingPolicy(None, 2)
        looking = asyncio.create_task(recycle(running.worker, policy, lambda: None, _nothing, running.stop))
        assert await asyncio.wait_for(looking, 10)
        await running.task
        queue.put("c")
        assert set(queue.outcomes) == {"a", "b"}
        assert running.worker.jobs_ended == 2


async def test_what_it_holds_is_finished_however_long_it_takes():
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    queue.put("long", spec=LONG)
    memory = [100 * MB]
    async with working(queue, model, drain_s=0.01) as running:
        policy = RecyclingPolicy(10 * MB, None)
        looking = asyncio.create_task(recycle(running.worker, policy, lambda: memory[0], _nothing, running.stop))
        await until(lambda: not running.worker.idle)
        memory[0] += 11 * MB
        await asyncio.sleep(0.2)
        queue.put("late")
        await asyncio.sleep(0.1)
        assert not looking.done(), "the job is not done yet"
        model.gate.set()
        assert await asyncio.wait_for(looking, 10)
        await running.task
    assert set(queue.outcomes) == {"long"}, "nothing is claimed once it is to go"


async def test_a_signal_ends_the_look_and_no_other_is_asked_for():
    async with working(MemoryQueue(), RecordingModel(PROBLEM)) as running:
        policy = RecyclingPolicy(None, 9)
        looking = asyncio.create_task(recycle(running.worker, policy, lambda: None, _nothing, running.stop))
        await asyncio.sleep(0.03)
        running.stop.set()
        assert await asyncio.wait_for(looking, 5) is False
