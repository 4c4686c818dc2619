"""Leases, cancellation and giving back: who may end a job, against a real server."""

import asyncio
import random

import pytest
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import Failure, Lease, Progress
from attributor.jobs.state import TERMINAL, JobState
from attributor.ports import Beat
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue


async def _record(jobs, job_id):
    record = await jobs.record(job_id, tenant="default")
    assert record is not None
    return record


async def _lapse():
    """Longer than the lease of the impatient queue."""
    await asyncio.sleep(0.003)


async def test_a_late_worker_is_refused_and_nothing_is_written(queue, impatient, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    [late] = await impatient.claim(1)
    await _lapse()
    assert await queue.reap() == [job_id]
    [current] = await queue.claim(1)
    assert not await queue.finish(late.lease, answer)
    assert (await _record(jobs, job_id)).state is JobState.RUNNING
    assert await jobs.result(job_id) is None
    assert (await queue.beat({late.lease: None})).stop == {job_id}
    assert await queue.finish(current.lease, answer)
    assert not await queue.finish(late.lease, Failure("x", "y"))
    assert (await _record(jobs, job_id)).state is JobState.SUCCEEDED


async def test_a_made_up_lease_is_refused(queue, answer):
    assert not await queue.finish(Lease("job_none", "token"), answer)
    assert (await queue.beat({Lease("job_none", "token"): None})).stop == {"job_none"}


async def test_an_expired_lease_puts_the_job_before_all_others_as_if_new(queue, impatient, jobs, make_spec):
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(3)]
    [claimed] = await impatient.claim(1)
    await impatient.beat({claimed.lease: Progress(5, 0.5, 0)})
    await _lapse()
    assert await queue.reap() == [ids[0]]
    record = await _record(jobs, ids[0])
    assert (record.state, record.attempts, record.started_at, record.progress) == (JobState.QUEUED, 1, None, None)
    assert [job.lease.job_id for job in await queue.claim(3)] == ids
    assert await queue.reap() == []


async def test_a_job_that_loses_its_workers_too_often_fails(impatient, jobs, make_spec, counters):
    job_id = (await impatient.enqueue(make_spec())).job_id
    for _ in range(2):
        assert len(await impatient.claim(1, empty=True)) == 1
        await _lapse()
        assert await impatient.reap() == [job_id]
    record = await _record(jobs, job_id)
    assert record.state is JobState.FAILED
    assert record.failure.code == "worker_lost"
    assert "2 workers were lost" in record.failure.detail
    assert record.expires_at is not None
    assert set((await counters()).values()) == {0}


async def test_beats_keep_a_lease_alive(store, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(lease_s=0.2))
    await queue.enqueue(make_spec())
    [claimed] = await queue.claim(1)
    for _ in range(6):
        await asyncio.sleep(0.05)
        assert await queue.beat({claimed.lease: None}) == Beat()
        assert await queue.reap() == []
    await asyncio.sleep(0.25)
    assert await queue.reap() == [claimed.lease.job_id]


async def test_progress_reaches_the_record_and_only_news_counts_as_change(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    for progress in (Progress(5, None, 0), Progress(9, 0.1 + 0.2, 1)):
        await queue.beat({claimed.lease: progress})
        assert (await _record(jobs, job_id)).progress == progress
    revision = (await _record(jobs, job_id)).revision
    await queue.beat({claimed.lease: progress})
    await queue.beat({claimed.lease: None})
    assert (await _record(jobs, job_id)).revision == revision
    assert await queue.beat({}) == Beat()


async def test_a_queued_job_is_cancelled_at_once(queue, jobs, make_spec, counters):
    job_id = (await queue.enqueue(make_spec())).job_id
    assert await queue.cancel(job_id, tenant="default") is JobState.CANCELLED
    record = await _record(jobs, job_id)
    assert record.state is JobState.CANCELLED
    assert record.expires_at is not None
    assert not record.cancelling
    assert await queue.claim(1) == []
    assert set((await counters()).values()) == {0}
    assert await queue.cancel(job_id, tenant="default") is JobState.CANCELLED


async def test_a_running_job_is_told_to_stop_at_the_next_beat(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    assert await queue.beat({claimed.lease: None}) == Beat()
    assert await queue.cancel(job_id, tenant="default") is JobState.RUNNING
    record = await _record(jobs, job_id)
    assert (record.state, record.cancelling) == (JobState.RUNNING, True)
    assert (await queue.beat({claimed.lease: None})).stop == {job_id}
    assert await queue.finish(claimed.lease, None)
    record = await _record(jobs, job_id)
    assert (record.state, record.cancelling) == (JobState.CANCELLED, False)


@pytest.mark.parametrize("failed", [False, True])
async def test_what_a_cancelled_job_finishes_with_is_dropped(queue, jobs, make_spec, answer, failed):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    await queue.cancel(job_id, tenant="default")
    assert await queue.finish(claimed.lease, Failure("model_error", "x") if failed else answer)
    record = await _record(jobs, job_id)
    assert (record.state, record.failure) == (JobState.CANCELLED, None)
    assert await jobs.result(job_id) is None


async def test_a_cancelled_job_ends_even_if_its_worker_only_beats_on(store, jobs, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(lease_s=0.1))
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    await queue.cancel(job_id, tenant="default")
    for _ in range(3):
        await asyncio.sleep(0.04)
        await queue.beat({claimed.lease: None})
    assert await queue.reap() == [job_id]
    assert (await _record(jobs, job_id)).state is JobState.CANCELLED


async def test_another_tenants_job_or_an_unknown_one_is_not_cancelled(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    assert await queue.cancel(job_id, tenant="other") is None
    assert await queue.cancel("job_none", tenant="default") is None
    assert (await _record(jobs, job_id)).state is JobState.QUEUED


async def test_a_finished_job_answers_a_cancel_with_its_state(queue, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    await queue.finish(claimed.lease, answer)
    assert await queue.cancel(job_id, tenant="default") is JobState.SUCCEEDED


class _Traffic:
    """Random, but repeatable, clients and workers of one store; some workers lose their leases."""

    def __init__(self, seed, queues, jobs, make_spec, outcomes):
        self._choose = random.Random(seed)
        self._queues, self._jobs, self._make_spec, self._outcomes = queues, jobs, make_spec, outcomes
        self.ids, self.leases = [], []

    async def enqueue(self):
        method = self._choose.choice([Method.SALIENCY, Method.OCCLUSION])
        spec = self._make_spec(priority=self._choose.randrange(3), explanation=Explanation(method=method))
        self.ids.append((await self._queues[0].enqueue(spec)).job_id)

    async def claim(self):
        taken = await self._choose.choice(self._queues).claim(
            self._choose.randrange(1, 4), comparisons=self._choose.randrange(3)
        )
        self.leases.extend(job.lease for job in taken)

    async def cancel(self):
        await self._queues[0].cancel(self._choose.choice(self.ids), tenant="default")

    async def finish(self):
        if self.leases:
            await self._queues[0].finish(self._choose.choice(self.leases), self._choose.choice(self._outcomes))

    async def release(self):
        if self.leases:
            await self._queues[0].release(self._choose.choices(self.leases, k=2))

    async def reap(self):
        await self._queues[1].reap()

    async def erase(self):
        await self._jobs.erase(self._choose.choice(self.ids), tenant="default")

    async def run(self, steps):
        await self.enqueue()
        ends = [self.cancel, self.finish, self.release, self.reap, self.erase]
        actions = [self.enqueue, self.enqueue, self.claim, *ends]
        for _ in range(steps):
            await self._choose.choice(actions)()


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_mix_of_events_all_counters_are_zero(
    queue, impatient, jobs, make_spec, counters, store, answer, seed
):
    traffic = _Traffic(seed, [queue, impatient], jobs, make_spec, [answer, None, Failure("x", "y")])
    await traffic.run(150)
    while taken := await impatient.claim(50, comparisons=50, empty=True):
        traffic.leases.extend(job.lease for job in taken)
        await _lapse()
        await impatient.reap()
    for lease in traffic.leases:
        await queue.finish(lease, None)
    states = [record.state for job_id in traffic.ids if (record := await jobs.record(job_id, tenant="default"))]
    assert len(states) > 10
    assert set(states) <= TERMINAL
    assert await counters() == {"queued": 0, "running": 0}
    keys = await store.call("KEYS", f"{store.keys.prefix}*")
    left = {key.removeprefix(store.keys.prefix.encode()).split(b":")[0] for key in keys}
    of_jobs = {b"job", b"payload", b"result", b"expiring", b"index", b"quarantine"}
    assert left <= of_jobs | {b"claim", b"counters", b"seq", b"ev", b"bell", b"pace", b"paid", b"virtual", b"vacating"}


async def test_a_released_job_is_claimed_by_others_at_once_and_not_charged(queue, jobs, make_spec, answer):
    first = (await queue.enqueue(make_spec())).job_id
    await queue.enqueue(make_spec())
    [claimed] = await queue.claim(1)
    await queue.release([claimed.lease])
    record = await jobs.record(first, tenant="default")
    assert (record.state, record.attempts, record.started_at) == (JobState.QUEUED, 0, None)
    assert not await queue.finish(claimed.lease, answer)
    [again] = await queue.claim(1)
    assert again.lease.job_id == first
    assert await queue.finish(again.lease, answer)


async def test_releasing_a_cancelled_job_ends_it(queue, jobs, make_spec, counters):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    await queue.cancel(job_id, tenant="default")
    await queue.release([claimed.lease])
    assert (await jobs.record(job_id, tenant="default")).state is JobState.CANCELLED
    assert await counters() == {"queued": 0, "running": 0}


async def test_a_lost_lease_releases_nothing(queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    await queue.finish(claimed.lease, answer)
    await queue.release([claimed.lease])
    assert (await jobs.record(job_id, tenant="default")).state is JobState.SUCCEEDED


async def test_concurrent_workers_never_hold_the_same_job(queue, make_spec):
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(60)]
    claims = await asyncio.gather(*(queue.claim(7) for _ in range(12)))
    taken = [job.lease.job_id for claimed in claims for job in claimed]
    assert sorted(taken) == sorted(ids)
