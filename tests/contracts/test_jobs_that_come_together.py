"""Jobs that are queued in one turn of the event loop are stored together, each as if it had come alone."""

import asyncio

import pytest
from attributor.errors import IdempotencyConflict, QueueFull, StoreUnavailable
from attributor.storage.connection import RedisStore
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue


@pytest.fixture
def calls(store, monkeypatch):
    """Jobs per script that was called to store some."""
    seen = []
    run = RedisStore.run

    async def counted(self, script, *words):
        if script == "enqueue":
            seen.append((len(words) - 6) // 20)
        return await run(self, script, *words)

    monkeypatch.setattr(RedisStore, "run", counted)
    return seen


async def test_they_are_stored_by_one_script_in_their_order(queue, make_spec, calls, counters):
    queued = await asyncio.gather(*(queue.enqueue(make_spec()) for _ in range(5)))
    assert calls == [5]
    assert (await counters())["queued"] == 5
    claimed = await queue.claim(9)
    assert [each.lease.job_id for each in claimed] == [each.job_id for each in queued]


@pytest.mark.parametrize(("count", "scripts"), [(40, [16, 16, 8]), (17, [16, 1]), (33, [16, 16, 1])])
async def test_many_are_stored_by_several_scripts_in_their_order(queue, make_spec, calls, count, scripts):
    queued = await asyncio.gather(*(queue.enqueue(make_spec()) for _ in range(count)))
    assert calls == scripts
    assert [each.lease.job_id for each in await queue.claim(99)] == [each.job_id for each in queued]


async def test_tenants_and_priorities_among_them_are_served_in_their_order(queue, make_spec):
    asked = [("a", 1), ("b", 1), ("a", 0), ("b", 2), ("a", 1)]
    queued = await asyncio.gather(*(queue.enqueue(make_spec(tenant=t, priority=p)) for t, p in asked))
    claimed = [each.lease.job_id for each in await queue.claim(9)]
    assert claimed == [queued[number].job_id for number in (2, 0, 1, 4, 3)]


async def test_those_for_which_there_is_no_room_are_refused(store, make_spec, counters):
    queue = RedisJobQueue(store, QueuePolicy(max_queued=3))
    said = await asyncio.gather(*(queue.enqueue(make_spec()) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in said[3:]] == [QueueFull, QueueFull]
    assert (await counters())["queued"] == 3
    assert len(await queue.claim(9)) == 3


async def test_the_same_key_among_them_makes_one_job(queue, make_spec):
    first, second, other = await asyncio.gather(
        queue.enqueue(make_spec(), idempotency_key="k"),
        queue.enqueue(make_spec(), idempotency_key="k"),
        queue.enqueue(make_spec(fingerprint="0" * 64), idempotency_key="k"),
        return_exceptions=True,
    )
    assert (first.replayed, second.replayed, second.job_id) == (False, True, first.job_id)
    assert isinstance(other, IdempotencyConflict)


@pytest.mark.parametrize("better", [False, True])
async def test_the_same_question_among_them_is_computed_once(queue, jobs, make_spec, answer, better):
    specs = [make_spec(priority=1), make_spec(priority=0 if better else 1)]
    queued = await asyncio.gather(*(queue.enqueue(spec, content_key="c") for spec in specs))
    [claimed] = await queue.claim(9)
    assert claimed.lease.job_id == queued[better].job_id
    assert await queue.finish(claimed.lease, answer)
    for each in queued:
        record, _ = await jobs.answered(each.job_id, tenant="default")
        assert record.state == "succeeded"


async def test_each_wakes_a_worker_that_does_not_come_back_at_once(store, queue, make_spec):
    others = [RedisJobQueue(store) for _ in range(2)]
    waiting = [asyncio.create_task(each.claim(5, wait_s=2.0)) for each in others]
    await asyncio.sleep(0.3)  # until both wait, over TLS as well
    await asyncio.gather(*(queue.enqueue(make_spec()) for _ in range(2)))
    async with asyncio.timeout(1):  # also who finds that the other has taken both
        assert sum(len(found) for found in await asyncio.gather(*waiting)) == 2


async def test_the_end_of_one_who_asks_is_not_that_of_the_others(queue, make_spec, counters):
    asking = [asyncio.create_task(queue.enqueue(make_spec())) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    said = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(said[0], asyncio.CancelledError)
    async with asyncio.timeout(1):
        assert {each.lease.job_id for each in await queue.claim(9)} == {each.job_id for each in said[1:]}


async def test_all_are_told_that_the_store_is_away(make_spec):
    queue = RedisJobQueue(RedisStore("redis://127.0.0.1:1", retries=0))
    said = await asyncio.gather(*(queue.enqueue(make_spec()) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in said] == [StoreUnavailable] * 3


async def test_nothing_is_sent_for_those_who_have_all_gone(queue, make_spec, calls):
    asking = [asyncio.create_task(queue.enqueue(make_spec())) for _ in range(3)]
    await asyncio.sleep(0)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert calls == []
