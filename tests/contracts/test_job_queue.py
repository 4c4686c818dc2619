"""The behaviour of port JobQueue, against a real server."""

import asyncio
import time
from dataclasses import replace

import numpy as np
import pytest
from attributor.errors import IdempotencyConflict, QueueFull, StoreUnavailable
from attributor.jobs.codec import encode
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import Failure, JobKind, Progress
from attributor.jobs.state import JobState
from attributor.storage.connection import RedisStore
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue


async def _record(jobs, job_id):
    record = await jobs.record(job_id, tenant="default")
    assert record is not None
    return record


async def test_a_queued_job_is_handed_out_whole_with_its_times(queue, jobs, make_spec):
    before = time.time()
    enqueued = await queue.enqueue(make_spec())
    assert enqueued.job_id.startswith("job_")
    assert not enqueued.replayed
    assert (await _record(jobs, enqueued.job_id)).state is JobState.QUEUED
    [claimed] = await queue.claim(4)
    assert claimed.lease.job_id == enqueued.job_id
    assert claimed.spec.ref == "tumour@1"
    np.testing.assert_array_equal(claimed.spec.inputs[0]["features"], [0, 1, 2])
    assert before - 1 <= claimed.created_at <= claimed.started_at <= time.time() + 1
    assert await queue.claim(4) == []


async def test_jobs_are_claimed_by_priority_then_in_order(queue, make_spec):
    ids = [(await queue.enqueue(make_spec(priority=priority))).job_id for priority in (2, 1, 0, 2, 1, 0)]
    claimed = await queue.claim(5) + await queue.claim(5)
    assert [job.lease.job_id for job in claimed] == [ids[i] for i in (2, 5, 1, 4, 0, 3)]


async def test_tenants_of_one_priority_are_claimed_in_turn(queue, make_spec):
    ids = [(await queue.enqueue(make_spec(tenant=tenant))).job_id for tenant in ("b", "b", "b", "a")]
    assert [job.lease.job_id for job in await queue.claim(9)] == [ids[3], *ids[:3]]


async def test_comparisons_are_claimed_apart_from_the_engines_jobs(queue, make_spec, counters):
    compared = make_spec(explanation=Explanation(method=Method.OCCLUSION))
    specs = (compared, replace(compared, priority=0), make_spec(), compared)
    ids = [(await queue.enqueue(spec)).job_id for spec in specs]
    assert [job.lease.job_id for job in await queue.claim(9)] == [ids[2]]
    assert await queue.claim(9) == []
    assert [job.lease.job_id for job in await queue.claim(9, comparisons=1)] == [ids[1]]
    assert [job.lease.job_id for job in await queue.claim(0, comparisons=9)] == [ids[0], ids[3]]
    assert await counters() == {"queued": 0, "running": 4}


async def test_one_claim_takes_of_both_and_sent_twice_takes_them_once(store, queue, make_spec):
    compared = make_spec(explanation=Explanation(method=Method.LIME))
    ids = [(await queue.enqueue(spec)).job_id for spec in (compared, make_spec(), compared, make_spec())]
    first = await store.run("claim", 2, 2, 1, 60_000, "nonce", 1000, "seat", "", "")
    assert [row[0].decode() for row in first[0]] == [ids[1], ids[3], ids[0]]
    assert await store.run("claim", 2, 2, 1, 60_000, "nonce", 1000, "seat", "", "") == first


async def test_a_comparison_given_back_lost_or_cancelled_leaves_only_its_own_line(
    queue, impatient, jobs, make_spec, counters
):
    compared = make_spec(explanation=Explanation(method=Method.OCCLUSION))
    first, second = [(await queue.enqueue(compared)).job_id for _ in range(2)]
    [claimed] = await queue.claim(0, comparisons=1)
    await queue.release([claimed.lease])
    assert await queue.claim(9) == []
    [lost] = await impatient.claim(9, comparisons=1)
    await asyncio.sleep(0.003)
    assert await queue.reap() == [first]
    assert (lost.lease.job_id, await jobs.position(first), await jobs.position(second)) == (first, 0, 1)
    assert await queue.cancel(first, tenant="default") is JobState.CANCELLED
    assert [job.lease.job_id for job in await queue.claim(9, comparisons=9)] == [second]
    assert await counters() == {"queued": 0, "running": 1}


async def test_a_priority_that_nobody_serves_is_refused(queue, make_spec):
    with pytest.raises(ValueError, match="priority 3"):
        await queue.enqueue(make_spec(priority=3))


async def test_a_retry_under_the_same_key_finds_the_first_job(queue, make_spec, counters):
    first = await queue.enqueue(make_spec(), idempotency_key="k:1")
    again = await queue.enqueue(make_spec(), idempotency_key="k:1")
    assert (again.job_id, again.replayed) == (first.job_id, True)
    assert (await counters())["queued"] == 1
    other_tenant = await queue.enqueue(make_spec(tenant="other"), idempotency_key="k:1")
    assert not other_tenant.replayed


async def test_the_same_key_with_another_body_is_a_conflict(queue, make_spec):
    await queue.enqueue(make_spec(), idempotency_key="k")
    with pytest.raises(IdempotencyConflict) as caught:
        await queue.enqueue(make_spec(fingerprint="0" * 64), idempotency_key="k")
    assert caught.value.field == "Idempotency-Key"


async def test_a_key_whose_job_has_expired_makes_a_new_job(store, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(result_ttl_s=0.001))
    first = await queue.enqueue(make_spec(), idempotency_key="k")
    await queue.cancel(first.job_id, tenant="default")
    await asyncio.sleep(0.01)
    again = await queue.enqueue(make_spec(), idempotency_key="k")
    assert not again.replayed
    assert again.job_id != first.job_id


async def test_a_full_queue_refuses_new_jobs_but_still_answers_retries(store, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(max_queued=2))
    first = await queue.enqueue(make_spec(), idempotency_key="k")
    await queue.enqueue(make_spec())
    with pytest.raises(QueueFull, match="as much work is waiting"):
        await queue.enqueue(make_spec())
    assert (await queue.enqueue(make_spec(), idempotency_key="k")).job_id == first.job_id
    await queue.claim(1)
    await queue.enqueue(make_spec())


async def test_an_enqueue_sent_twice_makes_one_job(store, queue, make_spec, counters):
    spec = make_spec()
    arguments = (9, 99, 9, 99, 1000, 1000, "job_a", encode(spec), 1000, "key", spec.fingerprint)
    arguments += ("attribution", "default", 1, "tumour", "1", spec.digest, 1, "", "", "", 1, "1", "", "", "")
    assert await store.run("enqueue", *arguments) == [[b"created", b"job_a"]]
    assert await store.run("enqueue", *arguments) == [[b"created", b"job_a"]]
    assert (await counters())["queued"] == 1
    assert len(await queue.claim(9)) == 1


async def test_a_claim_sent_twice_takes_the_same_jobs_once(store, queue, make_spec, counters):
    for _ in range(3):
        await queue.enqueue(make_spec())
    first = await store.run("claim", 2, 2, 0, 60_000, "nonce", 1000, "seat", "", "")
    assert await store.run("claim", 2, 2, 0, 60_000, "nonce", 1000, "seat", "", "") == first
    assert len(first) == 2
    assert await counters() == {"queued": 1, "running": 2}


async def test_a_result_ends_the_job_and_sets_its_expiry(queue, jobs, make_spec, answer, store):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    assert await queue.finish(claimed.lease, answer)
    record = await _record(jobs, job_id)
    assert record.state is JobState.SUCCEEDED
    assert record.finished_at is not None
    assert record.expires_at == pytest.approx(record.finished_at + 86_400)
    for name in ("job", "payload", "result"):
        left_s = await store.call("TTL", store.keys.key(name, job_id))
        assert 86_390 <= left_s <= 86_400


async def test_a_finish_sent_twice_is_recorded_once_and_said_so(queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    assert await queue.finish(claimed.lease, answer)
    revision = (await _record(jobs, job_id)).revision
    assert await queue.finish(claimed.lease, answer)
    assert (await _record(jobs, job_id)).revision == revision


async def test_jobs_finished_together_are_judged_one_by_one(queue, impatient, jobs, make_spec, answer, counters):
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(4)]
    [late] = await impatient.claim(1)
    await asyncio.sleep(0.003)
    await queue.reap()
    leases = [claimed.lease for claimed in await queue.claim(4)]
    await queue.cancel(ids[2], tenant="default")
    outcomes = {late.lease: answer, leases[1]: answer, leases[2]: answer, leases[3]: Failure("model_error", "x")}
    assert await queue.finish_all(outcomes) == [False, True, True, True]
    states = [(await _record(jobs, each)).state for each in ids]
    assert states == [JobState.RUNNING, JobState.SUCCEEDED, JobState.CANCELLED, JobState.FAILED]
    assert await counters() == {"queued": 0, "running": 1}


async def test_a_failure_is_kept_in_the_record(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    failure = Failure("model_error", "it raised: Überlauf")
    assert await queue.finish(claimed.lease, failure)
    record = await _record(jobs, job_id)
    assert (record.state, record.failure) == (JobState.FAILED, failure)
    assert await jobs.result(job_id) is None


async def test_predictions_expire_sooner(queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec(kind=JobKind.PREDICTION))).job_id
    [claimed] = await queue.claim(1)
    await queue.finish(claimed.lease, answer)
    record = await _record(jobs, job_id)
    assert record.expires_at == pytest.approx(record.finished_at + 300)


async def test_every_visible_change_raises_the_revision_by_one_and_has_one_event(
    queue, impatient, jobs, make_spec, store, answer
):
    job_id = (await queue.enqueue(make_spec())).job_id
    revisions = [(await _record(jobs, job_id)).revision]

    async def note():
        revisions.append((await _record(jobs, job_id)).revision)

    await impatient.claim(1)
    await note()
    await asyncio.sleep(0.003)  # longer than the impatient queue's lease
    await queue.reap()
    await note()
    [claimed] = await queue.claim(1)
    await note()
    await queue.beat({claimed.lease: Progress(1, None, 0)})
    await note()
    await queue.cancel(job_id, tenant="default")
    await note()
    await queue.cancel(job_id, tenant="default")
    await queue.finish(claimed.lease, answer)
    await note()
    assert revisions == [1, 2, 3, 4, 5, 6, 7]
    events = await store.call("XRANGE", store.keys.key("events"), "-", "+")
    assert [fields[1].decode() for _, fields in events] == [
        "running",
        "queued",
        "running",
        "running",
        "running",
        "cancelled",
    ], "a new job has none: nobody can have heard of it"
    assert {fields[0].decode() for _, fields in events} == {job_id}


async def test_a_spec_that_cannot_be_read_fails_its_job_and_no_other(queue, jobs, make_spec, store, caplog):
    bad, good = [(await queue.enqueue(make_spec())).job_id for _ in range(2)]
    await store.call("SETRANGE", store.keys.key("payload", bad), 3, b"\xff")
    assert [job.lease.job_id for job in await queue.claim(5)] == [good]
    record = await _record(jobs, bad)
    assert (record.state, record.failure.code) == (JobState.FAILED, "internal_error")
    assert "version 255" in record.failure.detail


async def test_a_claim_that_waits_takes_a_job_when_it_is_queued(queue, make_spec):
    waiting = asyncio.create_task(queue.claim(4, wait_s=2))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await asyncio.wait_for(waiting, 1)
    assert claimed.lease.job_id == job_id


async def test_waiting_ends_after_its_time(queue):
    start = time.monotonic()
    assert await queue.claim(4, wait_s=0.1) == []
    assert 0.09 <= time.monotonic() - start < 1


async def test_a_claim_that_waits_survives_a_server_that_forgot_its_scripts(queue, store, make_spec):
    await store.call("SCRIPT", "FLUSH")
    waiting = asyncio.create_task(queue.claim(4, wait_s=2))
    await asyncio.sleep(0.05)
    await queue.enqueue(make_spec())
    assert len(await asyncio.wait_for(waiting, 1)) == 1


async def test_a_server_that_is_not_there_is_stated(tmp_path):
    async with RedisStore(f"unix://{tmp_path}/none.sock") as store:
        with pytest.raises(StoreUnavailable) as caught:
            await RedisJobQueue(store).claim(1)
    assert str(tmp_path) not in caught.value.detail


async def test_every_key_carries_the_hash_tag(store, queue, make_spec):
    await store.run("wait", "one", "1", "1", "1")
    await queue.enqueue(make_spec(), idempotency_key="{other}")
    keys = await store.call("KEYS", f"*{store.keys.namespace}*")
    named = {key.decode().removeprefix(store.keys.prefix).partition(":")[0] for key in keys}
    assert named >= {"job", "payload", "t", "ring", "idem", "waiting", "bell", "rung", "seq", "counters"}
    assert all(key.startswith(store.keys.prefix.encode()) for key in keys)


def test_a_namespace_that_breaks_the_hash_tag_is_refused():
    with pytest.raises(ValueError, match="namespace"):
        RedisStore("unix:///x", namespace="a}b")


async def test_urgent_jobs_are_claimed_beyond_the_limit_and_no_others(queue, make_spec):
    ids = {p: [(await queue.enqueue(make_spec(priority=p))).job_id for _ in range(3)] for p in (0, 1, 2)}
    assert [job.lease.job_id for job in await queue.claim(0, jobs=2)] == ids[0][:2]
    # One of the first priority is left: it takes an urgent place, and the engine's go to those after it.
    assert [job.lease.job_id for job in await queue.claim(3, jobs=3)] == [ids[0][2], *ids[1][:2]]
    assert await queue.claim(0, jobs=9) == []
    assert [job.lease.job_id for job in await queue.claim(9)] == [ids[1][2], *ids[2]]


async def test_an_urgent_job_wakes_who_waits_also_after_others_were_left(queue, make_spec):
    await queue.enqueue(make_spec(priority=1))
    assert await queue.claim(0, jobs=1) == []
    urgent = await queue.enqueue(make_spec(priority=0))
    assert [job.lease.job_id for job in await queue.claim(0, jobs=1, wait_s=1)] == [urgent.job_id]
    assert len(await queue.claim(5, wait_s=1)) == 1
