"""What a running job has so far, against a real server."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from attributor.errors import DeadlineExceeded
from attributor.jobs.explanation import Method, Term
from attributor.jobs.job import Failure, Lease
from attributor.jobs.model import OutputScale
from attributor.jobs.result import AttributionResult, Estimate, PartialResult, PathResult, ResolvedTarget
from attributor.jobs.state import JobState
from attributor.ports import Beat

TARGET = ResolvedTarget((Term(0),), ("malignant",), "malignant", None, OutputScale.PROBABILITY, predicted=True)


def path_result(number: int) -> PathResult:
    return PathResult(
        input=number,
        method=Method.SALIENCY,
        target=TARGET,
        score=0.5,
        baseline_score=None,
        attribution_sum=0.0,
        completeness_error=None,
        relative_completeness_error=None,
        completeness_reason="it has no baseline",
        tolerance=None,
        absolute_tolerance=None,
        attribution_tolerance=None,
        converged=None,
        stop_reason=None,
        attribution_error=None,
        rule=None,
        evaluations=1,
        forwards=1,
        backwards=1,
        nodes=None,
        attributions={"features": np.full(3, number, np.float32)},
        baseline=None,
        baselines=(),
        warnings=(),
        computing_s=0.25,
    )


def estimate(number: int, evaluations: int) -> Estimate:
    return Estimate(number, evaluations, 0.1, {"features": np.full(3, evaluations, np.float32)})


async def test_results_add_up_in_the_order_of_inputs_and_estimates_are_replaced(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    assert await jobs.partial(job_id) is None
    await queue.publish(
        claimed.lease, PartialResult((path_result(2), path_result(3)), (estimate(0, 5), estimate(1, 5)))
    )
    await queue.publish(claimed.lease, PartialResult((path_result(1),), (estimate(0, 9),)))
    partial = await jobs.partial(job_id)
    assert [result.input for result in partial.results] == [1, 2, 3]
    np.testing.assert_array_equal(partial.results[2].attributions["features"], [3, 3, 3])
    assert [(each.input, each.evaluations) for each in partial.estimates] == [(0, 9)]
    await queue.publish(claimed.lease, PartialResult((path_result(0),)))
    partial = await jobs.partial(job_id)
    assert ([result.input for result in partial.results], partial.estimates) == ([0, 1, 2, 3], ())


async def test_what_is_published_twice_counts_once(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    for _ in range(2):
        await queue.publish(claimed.lease, PartialResult((path_result(0), path_result(1))))
    assert [result.input for result in (await jobs.partial(job_id)).results] == [0, 1]


async def test_an_estimate_of_what_is_done_by_now_is_left_out(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    await queue.publish(claimed.lease, PartialResult((path_result(0),), (estimate(0, 5), estimate(1, 5))))
    assert [each.input for each in (await jobs.partial(job_id)).estimates] == [1]


async def test_a_worker_that_lost_its_lease_publishes_nothing(queue, impatient, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [late] = await impatient.claim(1)
    while not await queue.reap():
        pass
    [_] = await queue.claim(1)
    await queue.publish(late.lease, PartialResult((path_result(0),)))
    await queue.publish(Lease("job_none", "token"), PartialResult((path_result(0),)))
    assert await jobs.partial(job_id) is None
    assert await jobs.partial("job_none") is None


@pytest.mark.parametrize("end", ["finished", "released", "erased"])
async def test_nothing_of_it_outlives_a_run_that_succeeds_is_given_back_or_erased(queue, jobs, make_spec, store, end):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    await queue.publish(claimed.lease, PartialResult((path_result(0),), (estimate(1, 3),)))
    assert await store.call("TTL", store.keys.key("partial", job_id)) > 0
    if end == "finished":
        await queue.finish(claimed.lease, AttributionResult((path_result(0),)))
    elif end == "released":
        await queue.release([claimed.lease])
    else:
        await queue.finish(claimed.lease, None)
        assert await jobs.erase(job_id, tenant="default")
    assert await jobs.partial(job_id) is None
    assert await store.call("EXISTS", store.keys.key("partial", job_id)) == 0


async def test_results_of_a_job_that_failed_or_was_cancelled_stay_as_long_as_it_does(queue, jobs, make_spec, store):
    for outcome in (None, Failure(DeadlineExceeded.code, "late")):
        job_id = (await queue.enqueue(make_spec())).job_id
        [claimed] = await queue.claim(1)
        await queue.publish(claimed.lease, PartialResult((path_result(0),), (estimate(1, 3),)))
        await queue.finish(claimed.lease, outcome)
        partial = await jobs.partial(job_id)
        assert ([result.input for result in partial.results], partial.estimates) == ([0], ())
        record = await jobs.record(job_id, tenant="default")
        expires_ms = await store.call("PEXPIRETIME", store.keys.key("partial", job_id))
        assert expires_ms == pytest.approx(record.expires_at * 1000)


async def test_results_of_a_job_whose_workers_were_lost_stay(queue, impatient, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    for number in range(2):
        [claimed] = await impatient.claim(1, empty=True)
        await queue.publish(claimed.lease, PartialResult((path_result(number),)))
        await asyncio.sleep(0.003)
        await impatient.reap()
    assert (await jobs.record(job_id, tenant="default")).state is JobState.FAILED
    assert [result.input for result in (await jobs.partial(job_id)).results] == [1]


async def test_a_job_that_waits_for_the_answer_to_another_shows_what_that_one_has(queue, jobs, make_spec):
    ids = [(await queue.enqueue(make_spec(), content_key="k" * 43)).job_id for _ in range(2)]
    assert await jobs.partial(ids[1]) is None
    [claimed] = await queue.claim(2)
    await queue.publish(claimed.lease, PartialResult((path_result(0),)))
    assert [result.input for result in (await jobs.partial(ids[1])).results] == [0]
    assert (await queue.beat({claimed.lease: None})).watched == {ids[0]}


async def test_a_run_begun_again_shows_nothing_of_the_one_before(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [first] = await queue.claim(1)
    await queue.publish(first.lease, PartialResult((path_result(0),)))
    await queue.release([first.lease])
    [second] = await queue.claim(1)
    assert await jobs.partial(job_id) is None
    await queue.publish(second.lease, PartialResult((path_result(1),)))
    assert [result.input for result in (await jobs.partial(job_id)).results] == [1]


async def test_a_worker_hears_which_jobs_are_watched_and_only_for_a_while(queue, jobs, make_spec, store):
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(2)]
    leases = {claimed.lease: None for claimed in await queue.claim(2)}
    assert await queue.beat(leases) == Beat()
    await jobs.partial(ids[1])
    assert await queue.beat(leases) == Beat(watched=frozenset({ids[1]}))
    watched_ms = int(await store.call("HGET", store.keys.key("job", ids[1]), "watched_ms"))
    seconds, micros = await store.call("TIME")
    assert 4_000 < watched_ms - (int(seconds) * 1000 + int(micros) // 1000) <= 5_000
    await store.call("HSET", store.keys.key("job", ids[1]), "watched_ms", watched_ms - 5_001)
    assert await queue.beat(leases) == Beat()


async def test_watching_a_job_that_waits_is_forgotten(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    assert await jobs.partial(job_id) is None
    [claimed] = await queue.claim(1)
    assert await queue.beat({claimed.lease: None}) == Beat()


async def test_numbers_that_cannot_be_stored_are_refused_before_anything_is_sent(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    with pytest.raises(ValueError, match="cannot be stored"):
        await queue.publish(claimed.lease, PartialResult((replace(path_result(0), score=float("nan")),)))
    assert await jobs.partial(job_id) is None
