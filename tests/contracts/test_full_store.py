"""A store without room takes no new jobs, but goes on with those that it has, against a real server."""

from collections.abc import AsyncIterator

import pytest
from attributor.errors import StoreUnavailable
from attributor.jobs.job import Progress
from attributor.jobs.result import Estimate, PartialResult
from attributor.jobs.state import JobState
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.redis_fleet import RedisFleet


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[RedisStore]:
    server = EmbeddedStore(tmp_path)
    server.start()
    try:
        async with RedisStore(server.url) as store:
            yield store
    finally:
        server.stop()


async def test_what_keeps_jobs_alive_and_what_makes_room_is_done_also_in_a_full_store(
    store, queue, impatient, jobs, make_spec, answer
):
    ends = (await queue.enqueue(make_spec(priority=0), idempotency_key="k")).job_id
    [ending] = await queue.claim(1)
    waits, runs, lost, released = [(await queue.enqueue(make_spec(priority=p))).job_id for p in (2, 0, 1, 2)]
    await queue.cancel(waits, tenant="default")
    waits = (await queue.enqueue(make_spec(priority=2))).job_id
    held = {job.lease.job_id: job.lease for job in await queue.claim(1)}
    await impatient.claim(1)
    [given] = await queue.claim(1)
    assert (list(held), given.lease.job_id) == ([runs], released)
    await store.call("CONFIG", "SET", "maxmemory", 1)

    with pytest.raises(StoreUnavailable):
        await queue.enqueue(make_spec())
    assert (await queue.enqueue(make_spec(priority=0), idempotency_key="k")).job_id == ends
    assert await queue.finish(ending.lease, answer)
    assert (await jobs.record(ends, tenant="default")).state is JobState.SUCCEEDED
    await RedisFleet(store).beat_worker("w")
    assert await RedisFleet(store).workers_alive() == 1
    assert (await queue.beat({held[runs]: Progress(3, 0.1, 0)})).stop == frozenset()
    assert (await jobs.record(runs, tenant="default")).progress.evaluations == 3
    assert await jobs.partial(runs) is None
    assert lost in await queue.reap()
    assert (await jobs.record(lost, tenant="default")).state is JobState.QUEUED
    await queue.release([given.lease])
    assert (await jobs.record(released, tenant="default")).state is JobState.QUEUED
    await queue.cancel(waits, tenant="default")
    assert (await jobs.record(waits, tenant="default")).state is JobState.CANCELLED
    assert await jobs.erase(waits, tenant="default")
    assert await queue.cancel(runs, tenant="default") is JobState.RUNNING
    assert (await queue.beat({held[runs]: None})).stop == {runs}
    with pytest.raises(StoreUnavailable):
        await queue.publish(held[runs], PartialResult((), (Estimate(0, 1, None, {}),)))
