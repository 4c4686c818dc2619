"""The behaviour of port JobStore, against a real server."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from attributor.errors import InvalidRequest
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import Failure, JobKind
from attributor.jobs.state import JobState
from attributor.storage import redis_jobs
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue

EVERYTHING = {"tenant": "default", "limit": 10, "cursor": None, "state": None, "model": None}


async def _finish_one(queue, outcome):
    [claimed] = await queue.claim(1)
    assert await queue.finish(claimed.lease, outcome)
    return claimed.lease.job_id


def _ids(page):
    return [record.id for record in page.records]


async def test_a_record_says_all_that_is_known_of_a_queued_job(queue, jobs, make_spec):
    spec = make_spec(inputs=({"x": np.zeros(2, np.float32)},) * 3, model="räume", version="2.0")
    job_id = (await queue.enqueue(spec)).job_id
    record = await jobs.record(job_id, tenant="default")
    assert (record.id, record.kind, record.state) == (job_id, JobKind.ATTRIBUTION, JobState.QUEUED)
    assert (record.model, record.version, record.n_inputs) == ("räume", "2.0", 3)
    assert (record.revision, record.attempts, record.cancelling) == (1, 0, False)
    assert record.digest == spec.digest
    assert record.created_at > 0
    assert {record.started_at, record.finished_at, record.expires_at, record.progress, record.failure} == {None}


async def test_a_record_is_not_shown_to_another_tenant(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec(tenant="a"))).job_id
    assert await jobs.record(job_id, tenant="b") is None
    assert await jobs.record("job_none", tenant="a") is None
    assert (await jobs.record(job_id, tenant="a")).tenant == "a"


async def test_spec_and_result_come_back_as_they_went_in(queue, jobs, make_spec, answer):
    spec = make_spec()
    job_id = (await queue.enqueue(spec)).job_id
    assert await jobs.result(job_id) is None
    await _finish_one(queue, answer)
    kept = await jobs.spec(job_id)
    assert kept.fingerprint == spec.fingerprint
    np.testing.assert_array_equal(kept.inputs[0]["features"], spec.inputs[0]["features"])
    result = await jobs.result(job_id)
    np.testing.assert_array_equal(result.outputs["logits"], answer.outputs["logits"])
    assert await jobs.spec("job_none") is None


async def test_a_record_comes_with_its_result_once_there_is_one(queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    assert await jobs.answered(job_id, tenant="default") == (await jobs.record(job_id, tenant="default"), None)
    await _finish_one(queue, answer)
    record, result = await jobs.answered(job_id, tenant="default")
    assert record == await jobs.record(job_id, tenant="default")
    assert record.state is JobState.SUCCEEDED
    np.testing.assert_array_equal(result.outputs["logits"], answer.outputs["logits"])


async def test_a_failure_comes_without_a_result(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    await _finish_one(queue, Failure("model_error", "why"))
    record, result = await jobs.answered(job_id, tenant="default")
    assert (record.failure, result) == (Failure("model_error", "why"), None)


async def test_an_answer_is_not_shown_to_another_tenant(queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec(tenant="a"))).job_id
    await _finish_one(queue, answer)
    assert await jobs.answered(job_id, tenant="b") is None
    assert await jobs.answered("job_none", tenant="a") is None
    assert await jobs.answered(job_id, tenant="a") is not None


async def test_a_large_result_is_kept_whole(queue, jobs, make_spec, answer):
    image = np.random.default_rng(0).normal(size=(8, 3, 224, 224)).astype(np.float32)
    await queue.enqueue(make_spec())
    job_id = await _finish_one(queue, type(answer)({"image": image}))
    np.testing.assert_array_equal((await jobs.result(job_id)).outputs["image"], image)


async def test_the_position_counts_the_jobs_that_will_be_claimed_before(queue, jobs, make_spec):
    async def enqueue(priority, tenant="default"):
        return (await queue.enqueue(make_spec(priority=priority, tenant=tenant))).job_id

    late, first, urgent = await enqueue(2), await enqueue(1), await enqueue(0)
    other, second = await enqueue(1, "other"), await enqueue(1)
    expected = {urgent: 0, first: 1, other: 2, second: 3, late: 4}
    assert {job_id: await jobs.position(job_id) for job_id in expected} == expected
    assert [job.lease.job_id for job in await queue.claim(5)] == list(expected)
    assert await jobs.position(first) is None
    assert await jobs.position("job_none") is None


async def test_those_waiting_are_the_jobs_that_a_new_one_would_have_ahead_of_it(queue, jobs, make_spec):
    for asked in ({"priority": 0}, {"priority": 1}, {"priority": 1, "tenant": "other"}, {"priority": 2}):
        await queue.enqueue(make_spec(**asked))
    await queue.enqueue(make_spec(explanation=Explanation(method=Method.OCCLUSION)))
    assert [await jobs.waiting(priority=each, comparison=False) for each in (0, 1, 2)] == [1, 3, 4]
    assert [await jobs.waiting(priority=each, comparison=True) for each in (0, 1, 2)] == [0, 1, 1]
    await queue.claim(5, comparisons=1)
    assert await jobs.waiting(priority=2, comparison=False) == await jobs.waiting(priority=2, comparison=True) == 0


async def test_comparisons_and_the_engines_jobs_have_positions_of_their_own(queue, jobs, make_spec):
    compared = make_spec(explanation=Explanation(method=Method.OCCLUSION))
    specs = (compared, make_spec(), compared, make_spec(tenant="other"), replace(compared, priority=0))
    ids = [(await queue.enqueue(spec)).job_id for spec in specs]
    assert [await jobs.position(job_id) for job_id in ids] == [1, 0, 2, 1, 0]


async def test_pages_run_from_the_newest_job_to_the_oldest_without_gap_or_repeat(queue, jobs, make_spec):
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(7)]
    seen, cursor = [], None
    for size in (3, 3, 1):
        page = await jobs.page(**EVERYTHING | {"limit": 3, "cursor": cursor})
        assert len(page.records) == size
        seen += _ids(page)
        cursor = page.next_cursor
        await queue.enqueue(make_spec())  # newer jobs do not disturb the pages already begun
    assert cursor is None
    assert seen == ids[::-1]


async def test_a_page_that_ends_with_the_last_job_has_no_cursor(queue, jobs, make_spec):
    for _ in range(3):
        await queue.enqueue(make_spec())
    assert (await jobs.page(**EVERYTHING | {"limit": 3})).next_cursor is None
    assert (await jobs.page(**EVERYTHING | {"tenant": "nobody"})).records == ()


async def test_a_listing_shows_a_tenants_own_attributions_only(queue, jobs, make_spec):
    mine = (await queue.enqueue(make_spec())).job_id
    await queue.enqueue(make_spec(kind=JobKind.PREDICTION))
    await queue.enqueue(make_spec(tenant="other"))
    assert _ids(await jobs.page(**EVERYTHING)) == [mine]


async def test_filtered_pages_are_full_while_there_are_matches(queue, jobs, make_spec, monkeypatch):
    monkeypatch.setattr(redis_jobs, "_BATCH", 4)  # several batches a page, without hundreds of jobs
    digits = [
        (await queue.enqueue(make_spec(model="digits", version=str(i % 2)))).job_id
        for i in range(30)
        if i % 5 == 0 or (await queue.enqueue(make_spec())) is None
    ]
    first = await jobs.page(**EVERYTHING | {"model": "digits", "limit": 4})
    assert _ids(first) == digits[:-5:-1]
    second = await jobs.page(**EVERYTHING | {"model": "digits", "limit": 4, "cursor": first.next_cursor})
    assert _ids(second) == digits[-5::-1]
    assert second.next_cursor is None
    assert _ids(await jobs.page(**EVERYTHING | {"model": "digits@1"})) == digits[1::2][::-1]
    assert _ids(await jobs.page(**EVERYTHING | {"model": "digit"})) == []


async def test_a_page_can_be_filtered_by_state(queue, jobs, make_spec, answer):
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(4)]
    await _finish_one(queue, answer)
    await _finish_one(queue, Failure("model_error", "x"))
    for state, expected in (("succeeded", ids[:1]), ("failed", ids[1:2]), ("queued", ids[:1:-1]), ("running", [])):
        assert _ids(await jobs.page(**EVERYTHING | {"state": JobState(state)})) == expected


async def test_a_search_without_matches_is_bounded_and_can_be_carried_on(queue, jobs, make_spec, monkeypatch):
    monkeypatch.setattr(redis_jobs, "_BATCH", 2)
    monkeypatch.setattr(redis_jobs, "_MAX_BATCHES", 2)
    wanted = (await queue.enqueue(make_spec(model="digits"))).job_id
    for _ in range(6):
        await queue.enqueue(make_spec())
    page = await jobs.page(**EVERYTHING | {"model": "digits"})
    assert page.records == ()
    page = await jobs.page(**EVERYTHING | {"model": "digits", "cursor": page.next_cursor})
    assert _ids(page) == [wanted]


@pytest.mark.parametrize("cursor", ["", "x", "LTE", "MS41", "é", "MQ==", "MDE", "!!!!"])
async def test_a_cursor_that_is_not_ours_is_refused(jobs, cursor):
    with pytest.raises(InvalidRequest) as caught:
        await jobs.page(**EVERYTHING | {"cursor": cursor})
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("pruned_by", ["page", "reap"])
async def test_an_expired_job_leaves_no_trace(store, jobs, make_spec, answer, pruned_by):
    queue = RedisJobQueue(store, QueuePolicy(result_ttl_s=0.02))
    waiting = (await queue.enqueue(make_spec())).job_id
    ended = (await queue.enqueue(make_spec(priority=0))).job_id
    assert await _finish_one(queue, answer) == ended
    assert _ids(await jobs.page(**EVERYTHING)) == [ended, waiting]
    await asyncio.sleep(0.04)
    assert await jobs.record(ended, tenant="default") is None
    assert await jobs.spec(ended) is None
    assert await jobs.result(ended) is None
    if pruned_by == "page":
        assert _ids(await jobs.page(**EVERYTHING)) == [waiting]
    else:
        await queue.reap()
        assert await store.call("ZCARD", store.keys.key("expiring")) == 0
    assert await store.call("ZCARD", store.keys.key("index", "default")) == 1


async def test_erasing_deletes_everything_of_a_finished_job(store, queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec(), idempotency_key="k")).job_id
    await _finish_one(queue, answer)
    assert await jobs.erase(job_id, tenant="default")
    assert await jobs.record(job_id, tenant="default") is None
    assert await jobs.spec(job_id) is None
    assert await jobs.result(job_id) is None
    assert (await jobs.page(**EVERYTHING)).records == ()
    keys = await store.call("KEYS", f"{store.keys.prefix}*")
    left = {key.removeprefix(store.keys.prefix.encode()).split(b":")[0] for key in keys}
    assert left == {b"counters", b"seq", b"ev", b"claim", b"paid"}
    assert not (await queue.enqueue(make_spec(), idempotency_key="k")).replayed
    assert not await jobs.erase(job_id, tenant="default")


async def test_erasing_needs_the_right_tenant_and_a_finished_job(queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    assert not await jobs.erase(job_id, tenant="default")
    [claimed] = await queue.claim(1)
    assert not await jobs.erase(job_id, tenant="default")
    await queue.finish(claimed.lease, answer)
    assert not await jobs.erase(job_id, tenant="other")
    assert await jobs.result(job_id) is not None
    assert await jobs.erase(job_id, tenant="default")


async def test_a_job_and_its_answer_are_read_as_one(queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    record, result = await jobs.answered(job_id, tenant="default")
    assert (record.state, result) == (JobState.QUEUED, None)
    [claimed] = await queue.claim(1)
    await queue.finish(claimed.lease, answer)
    record, result = await jobs.answered(job_id, tenant="default")
    assert record == await jobs.record(job_id, tenant="default")
    np.testing.assert_array_equal(result.outputs["logits"], answer.outputs["logits"])
    assert await jobs.answered(job_id, tenant="other") is None
    assert await jobs.answered("job_none", tenant="default") is None
