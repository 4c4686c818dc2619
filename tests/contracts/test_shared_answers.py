"""Jobs that ask for the same share one computation and its answer, against a real server."""

import asyncio

import numpy as np
import pytest
from attributor.errors import DeadlineExceeded, ModelError, OutOfMemory, QueueFull
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import Failure
from attributor.jobs.result import PredictionResult
from attributor.jobs.state import JobState
from attributor.storage.keys import ANSWER_OVERHEAD_BYTES
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue

KEY = "k" * 43
BROKEN = Failure(ModelError.code, "the model raised")


@pytest.fixture
def ask(queue, make_spec):
    """Queues a question; returns its job's id."""

    async def put(key: str = KEY, **changes) -> str:
        return (await queue.enqueue(make_spec(**changes), content_key=key)).job_id

    return put


@pytest.fixture
def stands(jobs):
    async def state(job_id: str) -> JobState:
        return (await jobs.record(job_id, tenant="default")).state

    return state


async def _claimed(queue) -> dict:
    return {claimed.lease.job_id: claimed.lease for claimed in await queue.claim(9, comparisons=9)}


async def test_a_question_answered_before_is_answered_at_once(queue, jobs, make_spec, ask, answer, counters):
    first = await ask()
    await queue.finish((await _claimed(queue))[first], answer)
    again = await queue.enqueue(make_spec(fingerprint="0" * 64), content_key=KEY)
    assert not again.waits
    assert not again.replayed
    record, result = await jobs.answered(again.job_id, tenant="default")
    assert again.job_id != first
    assert (record.state, record.cached, record.attempts, record.revision > 0) == (JobState.SUCCEEDED, True, 0, True)
    assert record.created_at == record.started_at == record.finished_at
    assert record.expires_at == pytest.approx(record.finished_at + 86_400)
    np.testing.assert_array_equal(result.outputs["logits"], answer.outputs["logits"])
    assert (await jobs.spec(again.job_id)).fingerprint == "0" * 64
    assert not (await jobs.record(first, tenant="default")).cached
    assert await _claimed(queue) == {}
    assert await counters() == {"queued": 0, "running": 0}


async def test_other_questions_are_computed(queue, ask, answer):
    await queue.finish((await _claimed_after(queue, ask()))[1], answer)
    other = await ask("o" * 43)
    assert list(await _claimed(queue)) == [other]


async def _claimed_after(queue, asking):
    job_id = await asking
    return job_id, (await _claimed(queue))[job_id]


async def test_without_a_key_or_a_cache_every_job_is_computed(store, queue, make_spec, answer):
    off = RedisJobQueue(store, QueuePolicy(cache_bytes=0))
    for key, through in ((None, queue), (KEY, off)):
        for _ in range(2):
            await through.enqueue(make_spec(), content_key=key)
        leases = await _claimed(through)
        assert len(leases) == 2
        await through.finish_all(dict.fromkeys(leases.values(), answer))


async def test_a_copy_of_its_own_is_kept_when_the_first_is_erased_but_nothing_for_later(queue, jobs, ask, answer):
    first, lease = await _claimed_after(queue, ask())
    await queue.finish(lease, answer)
    second = await ask()
    assert await jobs.erase(first, tenant="default")
    assert await jobs.result(second) is not None
    third = await ask()
    assert list(await _claimed(queue)) == [third], "an erased answer is not given to others"


async def test_who_asks_while_it_is_computed_gets_the_same_answer(queue, jobs, stands, ask, answer, counters):
    first = await ask()
    second = await ask()
    leases = await _claimed(queue)
    third = await ask()
    assert list(leases) == [first]
    assert [await stands(each) for each in (first, second, third)] == [
        JobState.RUNNING,
        JobState.QUEUED,
        JobState.QUEUED,
    ]
    assert await counters() == {"queued": 2, "running": 1}
    assert await queue.finish(leases[first], answer)
    for each, cached in ((first, False), (second, True), (third, True)):
        record, result = await jobs.answered(each, tenant="default")
        assert (record.state, record.cached) == (JobState.SUCCEEDED, cached)
        np.testing.assert_array_equal(result.outputs["logits"], answer.outputs["logits"])
    assert await counters() == {"queued": 0, "running": 0}


async def test_a_failure_of_the_question_fails_all_and_is_not_kept(queue, jobs, stands, ask):
    first, second = await ask(), await ask()
    await queue.finish((await _claimed(queue))[first], BROKEN)
    for each in (first, second):
        assert (await jobs.record(each, tenant="default")).failure == BROKEN
    third = await ask()
    assert list(await _claimed(queue)) == [third]


@pytest.mark.parametrize("code", [DeadlineExceeded.code, OutOfMemory.code])
async def test_a_failure_of_the_moment_is_the_first_ones_alone(queue, stands, ask, answer, code):
    first, second, third = [await ask() for _ in range(3)]
    await queue.finish((await _claimed(queue))[first], Failure(code, "x"))
    leases = await _claimed(queue)
    assert list(leases) == [second], "the next computes, and the others follow it"
    await queue.finish(leases[second], answer)
    assert [await stands(each) for each in (first, second, third)] == [
        JobState.FAILED,
        JobState.SUCCEEDED,
        JobState.SUCCEEDED,
    ]


@pytest.mark.parametrize("running", [False, True])
async def test_when_the_first_is_cancelled_the_next_is_computed(queue, stands, ask, answer, running):
    first, second, third = [await ask() for _ in range(3)]
    leases = await _claimed(queue) if running else {}
    await queue.cancel(first, tenant="default")
    again = await _claimed(queue)
    assert list(again) == [second]
    if running:
        assert await queue.finish(leases[first], answer)
        assert await stands(third) is JobState.QUEUED, "what a cancelled job finds is dropped"
    await queue.finish(again[second], answer)
    assert [await stands(each) for each in (first, second, third)] == [
        JobState.CANCELLED,
        JobState.SUCCEEDED,
        JobState.SUCCEEDED,
    ]


async def test_one_that_follows_is_cancelled_alone(queue, stands, ask, answer, counters):
    first, second, third = [await ask() for _ in range(3)]
    assert await queue.cancel(second, tenant="default") is JobState.CANCELLED
    await queue.finish((await _claimed(queue))[first], answer)
    assert [await stands(each) for each in (first, second, third)] == [
        JobState.SUCCEEDED,
        JobState.CANCELLED,
        JobState.SUCCEEDED,
    ]
    assert await counters() == {"queued": 0, "running": 0}


async def test_a_job_that_is_given_back_keeps_its_followers(queue, stands, ask, answer):
    first, second = await ask(), await ask()
    await queue.release((await _claimed(queue)).values())
    leases = await _claimed(queue)
    assert list(leases) == [first]
    await queue.finish(leases[first], answer)
    assert await stands(second) is JobState.SUCCEEDED


async def test_when_the_first_kills_workers_alone_who_asks_the_same_fails_with_it(impatient, stands, ask, counters):
    first, second = await ask(), await ask()
    for _ in range(2):
        assert [claimed.lease.job_id for claimed in await impatient.claim(9, empty=True)] == [first]
        await asyncio.sleep(0.003)
        await impatient.reap()
    assert [await stands(each) for each in (first, second)] == [JobState.FAILED] * 2
    assert await counters() == {"queued": 0, "running": 0}


async def test_a_deadline_that_passes_in_the_queue_ends_the_job_and_no_other(queue, jobs, stands, ask, counters):
    late = await ask(deadline_s=0.001)
    patient, hasty = await ask(), await ask(deadline_s=0.001)
    await asyncio.sleep(0.005)
    await queue.reap()
    for each in (late, hasty):
        assert (await jobs.record(each, tenant="default")).failure.code == "deadline_exceeded"
    assert list(await _claimed(queue)) == [patient]
    assert await counters() == {"queued": 0, "running": 1}


async def test_a_deadline_of_a_job_that_runs_is_its_workers_business(queue, stands, make_spec, store):
    job_id = (await queue.enqueue(make_spec(deadline_s=0.02))).job_id
    leases = await _claimed(queue)
    await asyncio.sleep(0.03)
    await queue.reap()
    assert await stands(job_id) is JobState.RUNNING
    await queue.release(leases.values())
    await queue.reap()
    assert await stands(job_id) is JobState.FAILED
    assert await store.call("EXISTS", store.keys.key("deadlines")) == 0


async def test_a_better_priority_goes_first_and_who_waited_follows_it(queue, stands, ask, answer, jobs):
    slow = await ask(priority=2)
    other = await ask("o" * 43, priority=1)
    fast = await ask(priority=0)
    assert [await jobs.position(each) for each in (fast, other, slow)] == [0, 1, 0]
    leases = await _claimed(queue)
    assert list(leases) == [fast, other]
    assert await jobs.position(slow) == 0
    await queue.finish(leases[fast], answer)
    assert await stands(slow) is JobState.SUCCEEDED


async def test_a_better_priority_does_not_wait_for_one_that_runs(queue, stands, ask, answer, counters):
    slow = await ask(priority=2)
    running = await _claimed(queue)
    fast, late = await ask(priority=0), await ask(priority=1)
    computed = await _claimed(queue)
    assert list(computed) == [fast]
    await queue.finish(running[slow], answer)
    assert [await stands(each) for each in (slow, fast, late)] == [
        JobState.SUCCEEDED,
        JobState.RUNNING,
        JobState.SUCCEEDED,
    ], "whichever ends first answers all who wait"
    await queue.finish(computed[fast], answer)
    assert await stands(fast) is JobState.SUCCEEDED
    assert await counters() == {"queued": 0, "running": 0}


async def test_a_better_one_that_still_waits_is_answered_by_the_one_that_runs(queue, stands, jobs, ask, answer):
    slow = await ask(priority=2)
    running = await _claimed(queue)
    fast = await ask(priority=0)
    await queue.finish(running[slow], answer)
    assert await stands(fast) is JobState.SUCCEEDED
    assert await _claimed(queue) == {}


async def test_comparisons_share_too(queue, stands, ask, answer):
    compared = Explanation(method=Method.OCCLUSION)
    first, second = await ask(explanation=compared), await ask(explanation=compared, priority=0)
    leases = await _claimed(queue)
    assert list(leases) == [second]
    await queue.finish(leases[second], answer)
    assert await stands(first) is JobState.SUCCEEDED


async def test_followers_count_as_queued(store, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(max_queued=2))
    for _ in range(2):
        await queue.enqueue(make_spec(), content_key=KEY)
    with pytest.raises(QueueFull):
        await queue.enqueue(make_spec(), content_key=KEY)


async def test_answers_take_no_more_than_their_bytes_and_those_not_asked_for_go_first(store, jobs, make_spec):
    answer = PredictionResult({"logits": np.zeros((1, 1000), np.float32)})
    queue = RedisJobQueue(store, QueuePolicy(cache_bytes=3 * (4000 + ANSWER_OVERHEAD_BYTES + 300)))

    async def asked(name: str) -> bool:
        """Whether the answer was there."""
        await asyncio.sleep(0.002)  # uses are told apart by the millisecond
        enqueued = await queue.enqueue(make_spec(), content_key=name)
        for lease in (await _claimed(queue)).values():
            await queue.finish(lease, answer)
        return not enqueued.waits

    assert [await asked(name) for name in "abcabc"] == [False] * 3 + [True] * 3
    assert await asked("a")
    assert not await asked("d")
    assert [await asked(name) for name in "acd"] == [True] * 3
    assert not await asked("b"), "the one that was not asked for longest"
    total = int(await store.call("GET", store.keys.key("answers_bytes")))
    kept = [await store.call("STRLEN", store.keys.key("answer", name)) for name in "abcd"]
    assert total == sum(size + ANSWER_OVERHEAD_BYTES for size in kept if size)


async def test_an_answer_too_large_for_the_cache_is_not_kept(store, queue, make_spec, answer):
    small = RedisJobQueue(store, QueuePolicy(cache_bytes=100))
    await small.enqueue(make_spec(), content_key=KEY)
    [lease] = (await _claimed(small)).values()
    await small.finish(lease, answer)
    assert (await small.enqueue(make_spec(), content_key=KEY)).waits
    assert await store.call("EXISTS", store.keys.key("answers"), store.keys.key("answers_bytes")) == 0


async def test_an_answer_that_nobody_asks_for_expires(store, queue, make_spec, ask, answer):
    _, lease = await _claimed_after(queue, ask())
    await queue.finish(lease, answer)
    await store.call("ZADD", store.keys.key("answers"), 1, KEY)
    assert (await queue.enqueue(make_spec(), content_key=KEY)).waits
    await queue.reap()
    assert await store.call("EXISTS", store.keys.key("answer", KEY)) == 0
    assert int(await store.call("GET", store.keys.key("answers_bytes"))) == 0
