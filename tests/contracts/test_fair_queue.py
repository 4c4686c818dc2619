"""Who is served next, against a real server: tenants by weight and cost, priorities above, none left out."""

import time
from collections import Counter
from itertools import combinations
from random import Random

import pytest
from attributor.jobs.job import Failure
from attributor.jobs.state import JobState
from attributor.jobs.terms import Terms
from attributor.storage import connection

DONE = Failure("model_error", "done")


@pytest.fixture
async def clock(store, monkeypatch):
    """Makes the scripts read the time from a key, which the test moves; otherwise they are as they are."""
    source = connection._source.__wrapped__

    def on_fake_time(script: str) -> tuple[str, str]:
        _, text = source(script)
        text = text.replace("redis.call('TIME')", "cjson.decode(redis.call('GET', KEYS[1] .. 'clock'))")
        return connection.hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text

    connection._source.cache_clear()
    monkeypatch.setattr(connection, "_source", connection.cache(on_fake_time))

    async def move_to(now_s: float) -> None:
        await store.call("SET", store.keys.prefix + "clock", f"[{int(now_s)}, {round(now_s % 1 * 1e6)}]")

    await move_to(1_000_000.0)
    return move_to


async def _fill(queue, make_spec, tenant, n, cost, weight=1.0, **fields):
    for _ in range(n):
        await queue.enqueue(make_spec(tenant=tenant, cost=cost, **fields), terms=Terms(weight=weight))


async def _claim_one(queue):
    [job] = await queue.claim(1, jobs=1)
    await queue.finish(job.lease, DONE)
    return job


async def test_tenants_share_by_weighted_cost_not_by_number(queue, make_spec):
    await _fill(queue, make_spec, "large", 40, cost=50)
    await _fill(queue, make_spec, "small", 400, cost=5)
    await _fill(queue, make_spec, "heavy", 200, cost=20, weight=2.0)
    got = Counter()
    for _ in range(200):
        job = await _claim_one(queue)
        got[job.spec.tenant] += job.spec.cost
    total = sum(got.values())
    shares = {tenant: cost / total for tenant, cost in got.items()}
    assert shares == pytest.approx({"large": 0.25, "small": 0.25, "heavy": 0.5}, abs=0.03)


async def test_who_was_away_saves_nothing_up_and_who_comes_back_gains_nothing(queue, make_spec):
    await _fill(queue, make_spec, "steady", 60, cost=10)
    for _ in range(20):
        await _claim_one(queue)
    await _fill(queue, make_spec, "late", 30, cost=10)
    order = [(await _claim_one(queue)).spec.tenant for _ in range(20)]
    assert 9 <= order.count("late") <= 11
    # One that leaves each time its only job is taken stands where it had got to.
    order.clear()
    for _ in range(10):
        await _fill(queue, make_spec, "comes and goes", 1, cost=30)
        order += [(await _claim_one(queue)).spec.tenant for _ in range(4)]
    assert order.count("comes and goes") <= 6


async def test_a_flood_of_urgent_work_leaves_a_sixteenth_to_the_rest(queue, make_spec):
    await _fill(queue, make_spec, "default", 200, cost=4, priority=0)
    await _fill(queue, make_spec, "default", 50, cost=4, priority=1)
    await _fill(queue, make_spec, "default", 50, cost=4, priority=2)
    got = Counter([(await _claim_one(queue)).spec.priority for _ in range(160)])
    assert got[0] >= 140
    assert 8 <= got[1] + got[2] <= 14
    assert got[1] > got[2]


async def test_a_claim_takes_what_it_has_room_for_and_of_long_jobs_the_beginning_counts(queue, make_spec):
    ids = [(await queue.enqueue(make_spec(cost=cost))).job_id for cost in (10, 10, 10, 10, 5000, 5000, 5000)]
    taken = await queue.claim(25, jobs=50)
    assert [job.lease.job_id for job in taken] == ids[:3]
    taken = await queue.claim(100, jobs=50)
    assert [job.lease.job_id for job in taken] == ids[3:6]
    assert [job.lease.job_id for job in await queue.claim(1, jobs=50)] == ids[6:]


async def test_what_a_worker_gives_back_its_tenant_gets_back(queue, make_spec):
    await _fill(queue, make_spec, "a", 5, cost=100)
    await _fill(queue, make_spec, "b", 5, cost=100)
    [job] = await queue.claim(1, jobs=1)
    await queue.release([job.lease])
    order = [(await _claim_one(queue)).spec.tenant for _ in range(10)]
    assert order == ["a", "b"] * 5


async def test_no_tenant_starves_among_a_thousand(queue, make_spec, clock, counters):
    """1,000 tenants of unlike habits and 100 workers on a clock that the test moves: the scripts themselves."""
    choose = Random(5)
    weights = {f"t{i}": choose.choice([0.5, 1.0, 1.0, 2.0, 4.0]) for i in range(1000)}
    costs = {tenant: choose.choice([5, 13, 60, 400]) for tenant in weights}
    hogs = list(weights)[:20]
    for tenant, weight in weights.items():
        for _ in range(30 if tenant in hogs else 3):
            spec = make_spec(tenant=tenant, cost=costs[tenant], inputs=())
            await queue.enqueue(spec, terms=Terms(weight=weight))
    now_s, points_a_second = 1_000_000.0, 20.0
    free_at = dict.fromkeys(range(100), now_s)
    first, served, held = {}, Counter(), {}
    while (await counters())["queued"]:
        worker = min(free_at, key=free_at.__getitem__)
        now_s = max(now_s, free_at[worker])
        await clock(now_s)
        if worker in held:
            await queue.finish(held.pop(worker), DONE)
        [job] = await queue.claim(1, jobs=1)
        tenant = job.spec.tenant
        if tenant not in first:
            first[tenant] = sum(served.values())
        served[tenant] += job.spec.cost
        held[worker] = job.lease
        free_at[worker] = now_s + job.spec.cost / points_a_second
        if len(first) == len(weights) and sum(served.values()) > 3 * sum(costs.values()):
            break
    assert first.keys() == weights.keys()
    # Start-time fair queueing: before anyone's first job each other tenant begins one job at most.
    assert max(first.values()) <= sum(costs.values())
    backlogged = [tenant for tenant in hogs if served[tenant] < 30 * costs[tenant]]
    assert len(backlogged) > 3
    for one, other in combinations(backlogged, 2):
        unlike = abs(served[one] / weights[one] - served[other] / weights[other])
        assert unlike <= costs[one] / weights[one] + costs[other] / weights[other] + 1e-6


async def test_a_tenant_among_others_is_told_about_how_many_are_before_it(queue, jobs, make_spec):
    await _fill(queue, make_spec, "many", 50, cost=10)
    own = [(await queue.enqueue(make_spec(tenant="few", cost=10))).job_id for _ in range(3)]
    told = [await jobs.position(job_id) for job_id in own]
    assert told == [0, 2, 4]
    order = [(await _claim_one(queue)).lease.job_id for _ in range(6)]
    assert [order.index(job_id) for job_id in own] == told


async def test_times_are_the_servers_own_without_the_fake(queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    record = await jobs.record(job_id, tenant="default")
    assert record.state is JobState.QUEUED
    assert abs(record.created_at - time.time()) < 60
