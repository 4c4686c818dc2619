"""Jobs that kill workers, against a real server: charged fairly, computed alone, put into quarantine, looked after."""

import asyncio

import pytest
from attributor.jobs.state import JobState
from attributor.storage.redis_quarantine import RedisQuarantine
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue

LEASE_S = 0.02


@pytest.fixture
def quarantine(store):
    return RedisQuarantine(store)


@pytest.fixture
def workers(store):
    """Two workers whose leases are short."""
    return [RedisJobQueue(store, QueuePolicy(lease_s=LEASE_S)) for _ in range(2)]


async def _dies(queue):
    """Its leases run out, and another worker notices."""
    await asyncio.sleep(1.5 * LEASE_S)
    return await queue.reap()


async def _quarantined(queue, spec):
    job_id = (await queue.enqueue(spec)).job_id
    for _ in range(3):
        await queue.claim(9, empty=True)
        await _dies(queue)
    return job_id


async def test_only_a_job_that_kills_a_worker_alone_is_quarantined_and_its_neighbours_finish(
    workers, quarantine, jobs, make_spec, answer, counters
):
    queue = workers[0]
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(6)]
    poison = ids[3]
    alone = []
    while (await counters())["queued"]:
        held = await queue.claim(9, empty=True)
        assert len(held) == 1 or not any(job.alone for job in held)
        alone += [job.lease.job_id for job in held if job.alone]
        if poison in [job.lease.job_id for job in held]:
            await _dies(queue)
        else:
            assert all(await queue.finish_all({job.lease: answer for job in held}))
    states = {job_id: (await jobs.record(job_id, tenant="default")).state for job_id in ids}
    assert states == {job_id: JobState.FAILED if job_id == poison else JobState.SUCCEEDED for job_id in ids}
    assert alone == ids
    assert [record.id for record in await quarantine.page(9)] == [poison]
    failure = (await jobs.record(poison, tenant="default")).failure
    assert failure.code == "worker_lost"
    assert "3 workers were lost" in failure.detail
    assert await counters() == {"queued": 0, "running": 0}


async def test_a_worker_that_is_busy_empties_itself_for_a_suspect_but_takes_what_is_urgent(
    store, workers, make_spec, answer
):
    dying, other = workers
    suspect = (await dying.enqueue(make_spec())).job_id
    for _ in range(2):
        await dying.claim(1)
        await _dies(dying)
    patient = RedisJobQueue(store)
    later = [(await other.enqueue(make_spec())).job_id for _ in range(2)]
    busy = RedisJobQueue(store)
    own = (await busy.enqueue(make_spec(priority=0))).job_id
    [held] = await busy.claim(1, jobs=1)
    assert held.lease.job_id == own
    told = await busy.claim(9)
    assert (list(told), told.vacate) == ([], True)
    # Another one that is busy goes on meanwhile.
    beside = await patient.claim(1)
    assert ([job.lease.job_id for job in beside], beside.vacate) == (later[:1], False)
    urgent = (await busy.enqueue(make_spec(priority=0))).job_id
    [more] = await busy.claim(9)
    assert more.lease.job_id == urgent
    for lease in (held.lease, more.lease):
        await busy.finish(lease, answer)
    [alone] = await busy.claim(9, empty=True)
    assert (alone.lease.job_id, alone.alone) == (suspect, True)


async def test_an_idle_worker_that_waits_is_woken_for_a_suspect(store, workers, make_spec):
    dying, waiting = workers
    job_id = (await dying.enqueue(make_spec())).job_id
    await dying.claim(1)
    await _dies(dying)
    await dying.claim(1)
    claiming = asyncio.create_task(waiting.claim(1, wait_s=2, keen=True, empty=True))
    await asyncio.sleep(0.01)
    await _dies(dying)
    [job] = await asyncio.wait_for(claiming, 1)
    assert (job.lease.job_id, job.alone) == (job_id, True)


async def test_a_suspect_that_is_given_back_or_cancelled_leaves_nothing_behind(
    workers, make_spec, jobs, counters, store
):
    queue = workers[0]
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(2)]
    for _ in range(2):
        await queue.claim(9)
        await _dies(queue)
    [job] = await queue.claim(9, empty=True)
    await queue.release([job.lease])
    assert await jobs.position(ids[1]) == 1
    assert [await queue.cancel(each, tenant="default") for each in ids] == [JobState.CANCELLED] * 2
    assert await store.call("ZCARD", store.keys.key("suspects")) == 0
    assert await counters() == {"queued": 0, "running": 0}
    assert int(await store.call("HGET", store.keys.key("counters"), "cost")) == 0


async def test_a_job_in_quarantine_is_retried_alone(workers, quarantine, jobs, make_spec, answer, counters):
    queue = workers[0]
    job_id = await _quarantined(queue, make_spec())
    assert (await quarantine.record(job_id)).state is JobState.FAILED
    assert await quarantine.retry(job_id)
    assert not await quarantine.retry(job_id)
    record = await jobs.record(job_id, tenant="default")
    assert (record.state, record.failure, record.expires_at) == (JobState.QUEUED, None, None)
    assert await quarantine.page(9) == []
    [job] = await queue.claim(9, empty=True)
    assert job.alone
    assert await queue.finish(job.lease, answer)
    assert (await jobs.record(job_id, tenant="default")).state is JobState.SUCCEEDED
    assert await counters() == {"queued": 0, "running": 0}


async def test_a_retried_job_that_kills_again_is_back_at_once(workers, quarantine, make_spec):
    queue = workers[0]
    job_id = await _quarantined(queue, make_spec())
    await quarantine.retry(job_id)
    await queue.claim(9, empty=True)
    await _dies(queue)
    assert [record.id for record in await quarantine.page(9)] == [job_id]


async def test_a_job_in_quarantine_is_dropped_with_all_that_it_had(workers, quarantine, jobs, make_spec):
    queue = workers[0]
    job_id = await _quarantined(queue, make_spec())
    assert await quarantine.drop(job_id)
    assert await jobs.spec(job_id) is None
    assert await quarantine.page(9) == []
    assert not await quarantine.drop(job_id)
    assert not await quarantine.drop((await queue.enqueue(make_spec())).job_id)


async def test_a_quarantined_job_that_expires_is_not_listed_any_more(store, quarantine, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(lease_s=LEASE_S, result_ttl_s=0.2))
    await _quarantined(queue, make_spec())
    await asyncio.sleep(0.25)
    assert await quarantine.page(9) == []
    await queue.reap()
    assert await store.call("ZCARD", store.keys.key("quarantine")) == 0
