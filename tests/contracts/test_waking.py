"""Which worker a queued job wakes, against a real server."""

import asyncio
import time
from uuid import uuid4

import pytest
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import ClaimedJob
from attributor.storage.connection import RedisStore
from attributor.storage.redis_queue import RedisJobQueue


@pytest.fixture(autouse=True)
async def connected(store):
    """Connections and scripts for all who wait, so that they begin in the order of the test, over TLS as well."""
    for _ in range(2):  # the server learns the scripts, then all connect
        workers = [RedisJobQueue(store) for _ in range(6)]
        await asyncio.gather(*(worker.claim(1, wait_s=0.01) for worker in workers))
        await asyncio.gather(*(worker.leave() for worker in workers))


@pytest.fixture
async def waiting(store, queue):
    """Claims of several workers, which wait one after the other."""
    tasks = []

    async def wait(limit: int, *, keen: bool, comparisons: int = 0) -> asyncio.Task:
        own = RedisJobQueue(store)

        async def claim() -> list[ClaimedJob]:
            claimed = await own.claim(limit, comparisons=comparisons, wait_s=0.5, keen=keen)
            await own.leave()
            return claimed

        tasks.append(asyncio.create_task(claim()))
        await asyncio.sleep(0.02)
        return tasks[-1]

    yield wait
    await asyncio.gather(*tasks)


async def woken(store: RedisStore, wait_s: float) -> None:
    """Of a worker that has begun to wait keenly: when it is woken, or its time is over."""
    name = uuid4().hex
    await store.block(("BLPOP", store.keys.key("bell", name), wait_s), ("wait", name, "1", ""), ("waiting", "0"))


async def test_jobs_queued_at_once_wake_the_worker_that_has_waited_least(limits, store, queue, make_spec):
    limits(ON_ITS_WAY_S=5.0)
    waiting = []
    for _ in range(3):
        waiting.append(asyncio.create_task(woken(store, 0.5)))
        await asyncio.sleep(0.02)
    await asyncio.gather(*[queue.enqueue(make_spec()) for _ in range(3)])
    await asyncio.sleep(0.02)
    assert [each.done() for each in waiting] == [False, False, True]
    await asyncio.gather(*waiting)


async def test_who_leaves_some_wakes_another(queue, make_spec, waiting):
    first, last = await waiting(4, keen=True), await waiting(2, keen=True)
    await asyncio.gather(*[queue.enqueue(make_spec()) for _ in range(3)])
    assert [len(each) for each in await asyncio.wait_for(asyncio.gather(last, first), 0.2)] == [2, 1]


async def test_who_is_at_work_is_woken_last_and_who_has_waited_longest_of_them_first(queue, make_spec, waiting):
    busy = [await waiting(1, keen=False) for _ in range(2)]
    keen = [await waiting(1, keen=True) for _ in range(2)]
    for expected in (*reversed(keen), *busy):
        await queue.enqueue(make_spec())
        assert len(await asyncio.wait_for(expected, 0.1)) == 1


@pytest.fixture
def on_its_way(limits, store, queue, make_spec):
    """A worker that has just claimed a job keenly."""
    limits(ON_ITS_WAY_S=5.0)

    async def claimed() -> RedisJobQueue:
        own = RedisJobQueue(store)
        taking = asyncio.create_task(own.claim(4, wait_s=2, keen=True))
        await asyncio.sleep(0.02)
        await queue.enqueue(make_spec())
        assert len(await asyncio.wait_for(taking, 0.2)) == 1
        return own

    return claimed


async def test_nobody_is_woken_while_who_has_claimed_keenly_comes_back(queue, make_spec, waiting, on_its_way):
    other, own = await waiting(4, keen=True), await on_its_way()
    await queue.enqueue(make_spec())
    await asyncio.sleep(0.02)
    assert not other.done()
    assert len(await own.claim(4, keen=True)) == 1
    await queue.enqueue(make_spec())
    await own.leave()
    assert len(await asyncio.wait_for(other, 0.1)) == 1


async def test_who_comes_back_full_wakes_another(queue, make_spec, waiting, on_its_way):
    other, own = await waiting(4, keen=True), await on_its_way()
    await queue.enqueue(make_spec())
    assert await own.claim(0, jobs=1) == []
    assert len(await asyncio.wait_for(other, 0.1)) == 1


async def test_nothing_is_left_of_workers_that_died_while_they_waited(limits, store, queue, make_spec):
    limits(WAITING_S=0.05)
    for name, keen in (("keen", "1"), ("at work", "")):
        await store.run("wait", name, keen, "1", "")
    await queue.enqueue(make_spec())
    await asyncio.sleep(0.1)
    assert len(await queue.claim(1)) == 1
    await store.run("wait", "alive", "1", "1", "")
    assert await store.call("ZRANGE", store.keys.key("waiting", ""), 0, -1) == [b"alive"]
    assert await store.call("ZRANGE", store.keys.key("waiting", "c"), 0, -1) == [b"alive"]
    assert await store.call("KEYS", f"{store.keys.prefix}bell:*") == []


async def test_a_comparison_wakes_who_can_take_one(queue, make_spec, waiting):
    able, _ = await waiting(1, keen=False, comparisons=1), await waiting(1, keen=True)
    await queue.enqueue(make_spec(explanation=Explanation(method=Method.LIME)))
    assert len(await asyncio.wait_for(able, 0.2)) == 1


async def test_who_has_died_on_its_way_is_not_waited_for(limits, store, queue, make_spec, waiting):
    limits(ON_ITS_WAY_S=0.2)
    alive = await waiting(4, keen=False)
    await store.run("wait", "gone", "1", "", "")
    await queue.enqueue(make_spec())
    await asyncio.sleep(0.1)
    await queue.enqueue(make_spec())
    await asyncio.sleep(0.11)
    assert not alive.done()
    await queue.enqueue(make_spec())
    assert len(await asyncio.wait_for(alive, 0.1)) == 3


async def test_what_was_claimed_wakes_nobody_and_what_was_left_does(queue, make_spec):
    for _ in range(3):
        await queue.enqueue(make_spec())
    assert len(await queue.claim(2)) == 2
    assert len(await asyncio.wait_for(queue.claim(2, wait_s=2), 0.5)) == 1
    start = time.monotonic()
    assert await queue.claim(2, wait_s=0.1) == []
    assert time.monotonic() - start >= 0.09
