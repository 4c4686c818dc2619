"""The worker between a queue in memory, which can be away, and a real engine on a model that can be held up."""

import asyncio
import logging
import time
from contextlib import suppress

import numpy as np
import pytest
from attributor.engine.alike import Kinds
from attributor.engine.engine import LIGHT_INPUTS
from attributor.errors import StoreUnavailable
from attributor.jobs.result import AttributionResult
from attributor.worker import loop
from doubles import fixed, job_spec
from unit.worker.memory_queue import MemoryQueue, until
from unit.worker.working import LONG, PROBLEM, HeldModel, working

#: What a stack would take, if the model had stacks.
SMALL = job_spec(PROBLEM)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(loop, "STORE_RETRY_S", 0.01)
    monkeypatch.setattr(loop, "BELL_S", 0.02)


async def test_jobs_are_computed_and_stored():
    queue = MemoryQueue()
    queue.put("a", "b")
    async with working(queue):
        await until(lambda: len(queue.outcomes) == 2)
        queue.put("c")
        await until(lambda: "c" in queue.outcomes)
    (result,) = queue.outcomes["c"].results
    assert np.allclose(result.attributions["x"], PROBLEM.exact, rtol=0.01)
    assert queue.leases == {}


async def test_no_more_is_held_than_the_policy_allows():
    queue = MemoryQueue()
    queue.put(*(f"job {i}" for i in range(25)))
    async with working(queue, max_active_jobs=3):
        await until(lambda: len(queue.outcomes) == 25)
    assert queue.most_held == 3


async def test_urgent_jobs_are_taken_beyond_what_may_be_held_but_not_all():
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    queue.put(*(f"job {i}" for i in range(6)))
    async with working(queue, model, max_active_jobs=4):
        await until(lambda: len(queue.leases) == 4)
        queue.put("urgent", "more urgent", spec=job_spec(PROBLEM, priority=0))
        await until(lambda: "urgent" in queue.leases)
        await asyncio.sleep(0.1)
        assert queue.most_held == 5
        model.gate.set()
        await until(lambda: len(queue.outcomes) == 8)


async def test_a_store_that_is_away_for_a_moment_is_survived():
    queue, model = MemoryQueue(away=True), HeldModel(PROBLEM)
    queue.put("a")
    async with working(queue, model):
        await asyncio.sleep(0.05)
        queue.away = False
        await until(lambda: "a" in queue.leases)
        queue.away = True
        model.gate.set()
        await asyncio.sleep(0.1)
        assert queue.outcomes == {}
        queue.away = False
        await until(lambda: "a" in queue.outcomes)
        queue.put("b")
        await until(lambda: "b" in queue.outcomes)


async def test_jobs_of_lost_workers_are_looked_for_also_where_a_beat_is_refused():
    class Full(MemoryQueue):
        reaped: int = 0

        async def beat_worker(self, worker_id):
            raise StoreUnavailable("no room")

        async def reap(self):
            self.reaped += 1
            return []

    queue, model = Full(), HeldModel(PROBLEM)
    queue.put("a")
    async with working(queue, model):
        await until(lambda: queue.reaped > 2 and queue.renewed["a"] > 2)
        model.gate.set()


async def test_a_cancelled_job_ends_without_an_answer_and_the_worker_goes_on():
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    queue.put("a", spec=job_spec(PROBLEM, quadrature=fixed(2000)))
    async with working(queue, model):
        await until(lambda: queue.beats > 2)
        queue.stop.add("a")
        beats = queue.beats
        await until(lambda: queue.beats > beats + 2)
        model.gate.set()
        await until(lambda: "a" in queue.outcomes)
        assert queue.outcomes == {"a": None}
        queue.put("b")
        await until(lambda: "b" in queue.outcomes)
    assert len(model.passes) < 10, "it did not go on with what nobody wants"


async def test_a_late_answer_is_dropped_and_the_job_computed_anew():
    """Its lease ran out while its answer was on the way; here the same worker claims it again."""
    queue = MemoryQueue()
    on_the_way, arrives = asyncio.Event(), asyncio.Event()
    plain = queue.finish

    async def slow_finish(lease, outcome):
        if not on_the_way.is_set():
            on_the_way.set()
            await arrives.wait()
        return await plain(lease, outcome)

    queue.finish = slow_finish
    queue.put("a")
    model = HeldModel(PROBLEM)
    model.gate.set()
    async with working(queue, model, beat_s=5):  # no beat: the worker does not hear of it
        await on_the_way.wait()
        model.gate.clear()
        first = queue.leases["a"]
        queue.lose("a")
        await until(lambda: queue.leases.get("a", first) != first)
        arrives.set()
        await asyncio.sleep(0.05)
        assert queue.outcomes == {}
        model.gate.set()
        await until(lambda: "a" in queue.outcomes)
    assert isinstance(queue.outcomes["a"], AttributionResult)


async def test_an_old_word_does_not_cancel_a_job_that_was_claimed_again():
    """The beat asked about the lease before; its answer comes when the worker holds the job under a new one."""
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    answered = asyncio.Event()
    plain = queue.beat

    async def slow_beat(progress):
        stop = await plain(progress)
        if stop.stop:
            await answered.wait()
        return stop

    queue.beat = slow_beat
    queue.put("a", spec=LONG)
    async with working(queue, model):
        await until(lambda: "a" in queue.leases)
        first = queue.leases.pop("a")  # lost; the next beat is told to stop, and its answer is under way
        await asyncio.sleep(0.05)
        queue.put("a", spec=LONG)
        await until(lambda: queue.leases.get("a", first) != first)
        answered.set()
        await asyncio.sleep(0.05)
        model.gate.set()
        await until(lambda: "a" in queue.outcomes)
    assert queue.outcomes["a"] is not None


async def test_a_job_that_is_told_to_stop_while_its_answer_is_stored_is_delivered_once(caplog):
    queue = MemoryQueue()
    stored, finishes = asyncio.Event(), 0
    plain = queue.finish

    async def slow_finish(lease, outcome):
        nonlocal finishes
        finishes += 1
        recorded = await plain(lease, outcome)  # the lease is gone, so the next beat is told to stop
        await stored.wait()
        return recorded

    queue.finish = slow_finish
    queue.put("a")
    with caplog.at_level(logging.WARNING):
        async with working(queue):
            await until(lambda: "a" in queue.outcomes)
            beats = queue.beats
            await until(lambda: queue.beats > beats + 3)
            stored.set()
    assert (finishes, caplog.text) == (1, "")
    assert isinstance(queue.outcomes["a"], AttributionResult)


async def test_an_answer_that_cannot_be_stored_fails_its_job(caplog):
    queue = MemoryQueue(unstorable={"a"})
    queue.put("a", "b")
    with caplog.at_level(logging.ERROR):
        async with working(queue):
            await until(lambda: len(queue.outcomes) == 2)
    assert queue.outcomes["a"].code == "internal_error"
    assert "nan" not in queue.outcomes["a"].detail
    assert "nan cannot be stored" in caplog.text
    assert isinstance(queue.outcomes["b"], AttributionResult)


async def test_a_job_whose_failure_cannot_be_stored_either_is_let_go(caplog):
    class Deaf(MemoryQueue):
        async def finish(self, lease, outcome):
            raise RuntimeError("an answer that nobody expected")

    queue = Deaf()
    queue.put("a")
    async with working(queue) as running:
        await until(lambda: queue.claims == 1 and not running.worker._held)
    assert "cannot be stored" in caplog.text


async def test_a_pass_that_hangs_is_told(caplog):
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    queue.put("a")
    async with working(queue, model, step_timeout_s=0.1) as running:
        await asyncio.sleep(0.05)
        assert running.hangs == []
        await until(lambda: running.hangs)
    assert "it hangs" in caplog.text


async def test_a_pass_in_time_does_not_hang():
    queue = MemoryQueue()
    queue.put("a")
    async with working(queue, step_timeout_s=5) as running:
        await until(lambda: "a" in queue.outcomes)
        await asyncio.sleep(0.05)
        assert running.hangs == []


async def test_at_the_end_held_jobs_are_finished_and_no_more_are_claimed():
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    queue.put("a")
    async with working(queue, model) as running:
        await until(lambda: "a" in queue.leases)
        running.stop.set()
        await asyncio.sleep(0.05)
        queue.put("b")
        model.gate.set()
        await running.task
    assert list(queue.outcomes) == ["a"]
    assert [job_id for job_id, _ in queue.waiting] == ["b"]


async def test_what_cannot_be_finished_in_time_is_given_back(caplog):
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    queue.put("a")
    with caplog.at_level(logging.INFO):
        async with working(queue, model, drain_s=0.1) as running:
            await until(lambda: "a" in queue.leases)
            running.stop.set()
            began = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(running.task), 5)
            assert time.monotonic() - began < 2
            assert queue.outcomes == {}
            assert queue.released == ["a"]
    assert "1 jobs given back" in caplog.text


async def test_two_workers_share_what_comes_at_once():
    """What fills the passes of one for a while is left to the other from there on."""
    queue = MemoryQueue()
    models = [HeldModel(PROBLEM, max_points=8), HeldModel(PROBLEM, max_points=8)]
    queue.put(*(f"job {i}" for i in range(16)), spec=job_spec(PROBLEM, quadrature=fixed(9)))
    async with working(queue, models[0], max_active_jobs=64), working(queue, models[1], max_active_jobs=64):
        await until(lambda: not queue.waiting or len(queue.leases) == 16)
        for model in models:
            model.gate.set()
        await until(lambda: len(queue.outcomes) == 16)
    shares = [len({seen.path.split("/")[0] for each in model.passes for seen in each}) for model in models]
    assert sum(shares) == 16
    assert min(shares) >= 2


async def test_a_short_job_is_taken_in_beside_a_long_one():
    queue, model = MemoryQueue(), HeldModel(PROBLEM, max_points=8, closes_after=25)  # past its first points
    queue.put("long", spec=LONG)
    async with working(queue, model, max_active_jobs=64):
        await until(lambda: "long" in queue.leases)
        model.gate.set()
        await until(lambda: not model.gate.is_set())
        queue.put("short", spec=job_spec(PROBLEM, quadrature=fixed(3)))
        await until(lambda: "short" in queue.leases)
        model.gate.set()
        await until(lambda: len(queue.outcomes) == 2)
        assert list(queue.outcomes) == ["short", "long"]


async def test_one_that_rests_is_keen_until_it_gets_a_model_that_is_not_small():
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    async with working(queue, model):
        await until(lambda: len(queue.said) > 3)
        assert set(queue.said) == {True}
        queue.put("a", spec=LONG)
        await until(lambda: "left" in queue.said)
        await until(lambda: queue.said[-1] is False)
        assert queue.said.index("left") == len(queue.said) - queue.said[::-1].index(True)
        model.gate.set()
        await until(lambda: "a" in queue.outcomes)
        said = len(queue.said)
        await until(lambda: len(queue.said) > said + 3)
        assert not any(queue.said[said:]), "the next one is likely to be large, too"


async def test_one_with_a_little_work_stays_keen_and_one_with_more_leaves():
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    model.stacks = True  # as far as its load goes: the jobs have procedures
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Kinds, "of", lambda *_: None)
        async with working(queue, model, max_active_jobs=500):
            queue.put("a", spec=SMALL)
            await until(lambda: "a" in queue.leases)
            said = len(queue.said)
            await until(lambda: len(queue.said) > said + 3)
            assert set(queue.said) == {True}
            queue.put(*[f"b{n}" for n in range(LIGHT_INPUTS)], spec=SMALL)
            await until(lambda: "left" in queue.said)
            model.gate.set()
            await until(lambda: len(queue.outcomes) == LIGHT_INPUTS + 1)
            await until(lambda: queue.said[-1] is True)


@pytest.mark.parametrize("end", ["stop", "retire"])
async def test_one_that_ends_says_that_it_does_not_come_back(end):
    queue = MemoryQueue()
    async with working(queue) as running:
        await until(lambda: len(queue.said) > 3)
        if end == "retire":
            running.worker.retire()
            await until(lambda: queue.said[-1] == "left")
            await asyncio.sleep(0.03)
        else:
            running.stop.set()
            await running.task
    assert queue.said[-1] == "left"
    assert queue.said.count("left") == 1
