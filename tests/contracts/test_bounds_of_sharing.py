"""What jobs that ask for the same do not share: large answers, more copies than one script may make, less time."""

import asyncio
import time

import numpy as np
import pytest
from attributor.errors import DeadlineExceeded, ModelError
from attributor.jobs.job import Failure
from attributor.jobs.result import PredictionResult
from attributor.jobs.state import JobState
from attributor.storage import keys

KEY = "k" * 43
LATE = Failure(DeadlineExceeded.code, "late")


@pytest.fixture
def ask(queue, make_spec):
    async def put(**changes) -> str:
        return (await queue.enqueue(make_spec(**changes), content_key=KEY)).job_id

    return put


@pytest.fixture
def succeeded(jobs):
    async def count(ids: list[str]) -> int:
        return sum([(await jobs.record(each, tenant="default")).state is JobState.SUCCEEDED for each in ids])

    return count


async def _claimed(queue) -> dict:
    return {claimed.lease.job_id: claimed.lease for claimed in await queue.claim(100)}


def _answer(n_bytes: int) -> PredictionResult:
    return PredictionResult({"logits": np.zeros((1, n_bytes // 4), np.float32)})


async def test_a_large_answer_is_given_to_one_and_the_others_are_computed(store, queue, ask, counters, succeeded):
    ids = [await ask() for _ in range(5)]
    [lease] = (await _claimed(queue)).values()
    await queue.finish(lease, _answer(keys.SHARED_LARGEST_BYTES))
    assert await succeeded(ids) == 1
    assert await store.call("EXISTS", store.keys.key("answer", KEY), store.keys.key("flight", KEY)) == 0
    again = await _claimed(queue)
    assert list(again) == ids[1:]
    await queue.finish_all(dict.fromkeys(again.values(), _answer(4)))
    assert await succeeded(ids) == 5
    assert await counters() == {"queued": 0, "running": 0}


async def test_an_answer_within_the_bound_is_shared(queue, ask, succeeded):
    ids = [await ask() for _ in range(5)]
    [lease] = (await _claimed(queue)).values()
    await queue.finish(lease, _answer(keys.SHARED_LARGEST_BYTES - 1000))
    assert await succeeded(ids) == 5


@pytest.mark.parametrize(
    ("limit", "per_step"), [({"SHARED_MOST": 3}, 3), ({"SHARED_LARGEST_BYTES": 1000, "SHARED_TOTAL_BYTES": 3000}, 3)]
)
async def test_one_script_answers_so_many_and_the_next_claims_the_others(
    limits, store, queue, ask, counters, succeeded, limit, per_step
):
    limits(**limit)
    ids = [await ask() for _ in range(10)]
    [lease] = (await _claimed(queue)).values()
    assert await queue.finish(lease, _answer(700))
    done = await succeeded(ids)
    assert 1 < done <= 1 + per_step
    while done < 10:
        # Who waits is woken for the others; the answer is there, so none is computed.
        assert await asyncio.wait_for(queue.claim(100, wait_s=2), 0.2) == []
        now = await succeeded(ids)
        assert done < now <= done + per_step
        done = now
    assert await counters() == {"queued": 0, "running": 0}
    assert await store.call("EXISTS", *(store.keys.key(name, KEY) for name in ("flight", "followers"))) == 0


@pytest.mark.parametrize("most", [3, 4])
async def test_a_job_answered_beside_one_that_is_claimed_with_it_is_not_claimed(
    limits, store, queue, ask, counters, succeeded, most
):
    limits(SHARED_MOST=most)
    [first, second, third] = ids = [await ask(deadline_s=each) for each in (10.0, 100.0, None)]
    [claimed] = await queue.claim(1)
    assert claimed.lease.job_id == first
    ids += [await ask() for _ in range(most + 1)]
    await queue.finish(claimed.lease, _answer(4))
    assert await succeeded([first, second, third]) == 1
    assert await _claimed(queue) == {}
    assert await succeeded(ids) == len(ids)
    assert await counters() == {"queued": 0, "running": 0}
    assert await store.call("EXISTS", store.keys.key("ring", "1"), store.keys.key("ready", "1", "default")) == 0


async def test_other_jobs_behind_many_answers_wake_a_worker_and_are_claimed_next(
    limits, store, queue, ask, make_spec, succeeded
):
    limits(SHARED_MOST=3)
    ids = [await ask() for _ in range(7)]
    [lease] = (await _claimed(queue)).values()
    await queue.finish(lease, _answer(4))
    other = (await queue.enqueue(make_spec())).job_id
    await store.call("ZADD", store.keys.key("waiting", ""), int(time.time() * 1000), "another worker")
    assert await _claimed(queue) == {}
    assert await succeeded(ids) == 7
    assert await store.call("LLEN", store.keys.key("bell", "another worker")) == 1
    [claimed] = await asyncio.wait_for(queue.claim(100, wait_s=2), 0.2)
    assert claimed.lease.job_id == other


async def test_a_failure_of_the_question_ends_so_many_at_once(limits, queue, ask, jobs):
    limits(SHARED_MOST=3)
    ids = [await ask() for _ in range(6)]
    broken = Failure(ModelError.code, "the model raised")
    ended = []
    for _ in range(2):
        [lease] = (await _claimed(queue)).values()
        await queue.finish(lease, broken)
        ended.append(sum([(await jobs.record(each, tenant="default")).failure == broken for each in ids]))
    assert ended == [4, 6]


@pytest.mark.parametrize("patience", [{}, {"deadline_s": 3}])
async def test_nobody_follows_a_job_with_much_less_time(queue, ask, succeeded, patience):
    hasty = await ask(deadline_s=1)
    patient, late = await ask(**patience), await ask(deadline_s=2)
    leases = await _claimed(queue)
    assert set(leases) == {hasty, patient}, "who has less time than the patient one follows it"
    await queue.finish(leases[hasty], LATE)
    assert await _claimed(queue) == {}
    await queue.finish(leases[patient], _answer(4))
    assert await succeeded([hasty, patient, late]) == 2


async def test_those_with_about_the_same_time_share(queue, ask, succeeded):
    ids = [await ask(deadline_s=seconds) for seconds in (1, 1, 1.5, 0.5)]
    [lease] = (await _claimed(queue)).values()
    await queue.finish(lease, _answer(4))
    assert await succeeded(ids) == 4


async def test_one_with_less_time_and_a_better_priority_is_computed_beside_the_others(queue, ask, succeeded):
    patient, other = await ask(), await ask()
    hasty = await ask(priority=0, deadline_s=1)
    leases = await _claimed(queue)
    assert list(leases) == [hasty, patient]
    await queue.finish(leases[hasty], _answer(4))
    assert await succeeded([hasty, other]) == 2, "what it finds is theirs, too"
    await queue.finish(leases[patient], _answer(4))
    assert await succeeded([patient]) == 1


async def test_one_of_worse_priority_and_more_time_is_computed_beside_the_others(queue, ask, succeeded):
    hasty, other = await ask(deadline_s=1), await ask(deadline_s=1)
    patient = await ask(priority=2)
    leases = await _claimed(queue)
    assert list(leases) == [hasty, patient]
    await queue.finish(leases[hasty], LATE)
    assert list(await _claimed(queue)) == [other]
