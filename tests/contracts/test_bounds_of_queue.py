"""How much may wait, of all and of one tenant, against a real server; and when it is worth to ask again."""

import asyncio

import pytest
from attributor.errors import QueueFull, QuotaExceeded, TenantQueueFull
from attributor.jobs.job import Failure
from attributor.jobs.terms import Terms
from attributor.storage import connection
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue

DONE = Failure("model_error", "done")


async def test_the_queue_is_bounded_by_evaluations(store, make_spec, counters):
    queue = RedisJobQueue(store, QueuePolicy(max_queued_cost=100))
    for _ in range(2):
        await queue.enqueue(make_spec(cost=60))
    with pytest.raises(QueueFull, match="as much work is waiting"):
        await queue.enqueue(make_spec(cost=1))
    await queue.claim(1, jobs=1)
    await queue.enqueue(make_spec(cost=30))
    assert (await counters())["queued"] == 2


async def test_urgent_jobs_find_room_where_others_fill_the_queue_but_not_for_ever(store, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(max_queued=8, max_queued_cost=80))
    await queue.enqueue(make_spec(cost=80))
    with pytest.raises(QueueFull):
        await queue.enqueue(make_spec(cost=1))
    await queue.enqueue(make_spec(priority=0, cost=10))
    with pytest.raises(QueueFull):
        await queue.enqueue(make_spec(priority=0, cost=1))


async def test_urgent_jobs_of_a_tenant_find_room_beyond_its_part(store, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(max_queued=80, max_queued_cost=800, tenant_part=0.1))
    await queue.enqueue(make_spec(cost=80))
    with pytest.raises(TenantQueueFull):
        await queue.enqueue(make_spec(cost=1))
    await queue.enqueue(make_spec(priority=0, cost=10))
    with pytest.raises(TenantQueueFull):
        await queue.enqueue(make_spec(priority=0, cost=1))


async def test_one_tenant_fills_its_part_and_no_more(store, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(max_queued=8, max_queued_cost=100, tenant_part=0.5))
    await queue.enqueue(make_spec(tenant="greedy", cost=60))
    with pytest.raises(TenantQueueFull):
        await queue.enqueue(make_spec(tenant="greedy", cost=1))
    for _ in range(4):
        await queue.enqueue(make_spec(tenant="many", cost=1))
    with pytest.raises(TenantQueueFull):
        await queue.enqueue(make_spec(tenant="many", cost=1))
    await queue.enqueue(make_spec(tenant="other", cost=10))


async def test_a_tenants_own_bound_goes_before_the_usual_one(store, queue, make_spec):
    terms = Terms(max_queued_cost=20)
    await queue.enqueue(make_spec(cost=30), terms=terms)
    with pytest.raises(TenantQueueFull):
        await queue.enqueue(make_spec(cost=1), terms=terms)
    await queue.enqueue(make_spec(cost=1))


async def test_of_several_at_once_each_is_held_against_what_those_before_it_left(store, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(max_queued_cost=100, tenant_part=0.5))
    asked = [queue.enqueue(make_spec(tenant=tenant, cost=30)) for tenant in "aaabb"]
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each).__name__ for each in said] == [
        "Enqueued",
        "Enqueued",
        "TenantQueueFull",
        "Enqueued",
        "Enqueued",
    ]


async def test_a_quota_is_of_evaluations_within_the_hour(queue, make_spec):
    terms = Terms(evaluations_per_hour=100)
    for _ in range(2):
        await queue.enqueue(make_spec(cost=45), terms=terms)
    with pytest.raises(QuotaExceeded) as caught:
        await queue.enqueue(make_spec(cost=45), terms=terms)
    assert 0 < caught.value.retry_after_s <= 3600
    await queue.enqueue(make_spec(cost=10), terms=terms)
    await queue.enqueue(make_spec(cost=1000, tenant="other"))


async def test_a_retry_of_what_was_taken_uses_up_no_quota(queue, make_spec):
    terms = Terms(evaluations_per_hour=100)
    first = await queue.enqueue(make_spec(cost=90), terms=terms, idempotency_key="k")
    again = await queue.enqueue(make_spec(cost=90), terms=terms, idempotency_key="k")
    assert (again.job_id, again.replayed) == (first.job_id, True)


async def test_when_to_come_again_follows_from_what_was_done(store, make_spec, monkeypatch):
    queue = RedisJobQueue(store, QueuePolicy(max_queued_cost=1000))
    source = connection._source.__wrapped__
    now_ms = 1_000_000_000

    def at(script: str) -> tuple[str, str]:
        text = source(script)[1].replace("redis.call('TIME')", f"{{ {now_ms // 1000}, {now_ms % 1000 * 1000} }}")
        return connection.hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text

    monkeypatch.setattr(connection, "_source", at)
    for _ in range(4):
        await queue.enqueue(make_spec(cost=300))
    with pytest.raises(QueueFull) as caught:
        await queue.enqueue(make_spec())
    assert caught.value.retry_after_s == 60  # nothing is known of the workers
    await queue.reap()
    for _ in range(2):
        [job] = await queue.claim(1, jobs=1)
        await queue.finish(job.lease, DONE)
    now_ms += 10_000
    await queue.reap()  # 600 evaluations in ten seconds
    await queue.enqueue(make_spec(cost=500))
    with pytest.raises(QueueFull) as caught:
        await queue.enqueue(make_spec())
    assert caught.value.retry_after_s == pytest.approx(1100 / 60, rel=0.01)
