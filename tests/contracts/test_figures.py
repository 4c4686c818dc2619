"""The service's numbers, against a real server."""

import asyncio

import pytest
from attributor.bootstrap.observing import Pushing, observed
from attributor.errors import StoreUnavailable
from attributor.jobs.explanation import Explanation, Method
from attributor.storage.connection import RedisStore
from attributor.storage.redis_fleet import RedisFleet
from attributor.telemetry import metrics
from attributor.telemetry.metrics import Tally, field_of

FIELD = field_of(metrics.EVALUATIONS, ("digits",))


@pytest.fixture
def fleet(store):
    return RedisFleet(store)


async def test_an_empty_service_has_none(fleet):
    figures = await fleet.figures()
    assert {(line.priority, line.comparison) for line in figures.lines} == {
        (priority, comparison) for priority in range(3) for comparison in (False, True)
    }
    assert all(line.jobs == line.cost == 0 for line in figures.lines)
    assert (figures.running, figures.workers, figures.redelivered, figures.in_quarantine) == (0, 0, 0, 0)
    assert figures.counted == {}


async def test_what_is_sent_twice_counts_once(fleet):
    for nonce in ("a", "a", "b"):
        await fleet.count({FIELD: 1.5, "other": 1}, nonce)
    assert (await fleet.figures()).counted == {FIELD: 3.0, "other": 2.0}


async def test_the_queue_is_told_by_line(queue, fleet, make_spec):
    captum = make_spec(priority=2, cost=7, explanation=Explanation(method=Method.OCCLUSION))
    assert captum.is_comparison
    for spec in (make_spec(priority=0, cost=5), make_spec(priority=1, cost=10), make_spec(priority=1, cost=20), captum):
        await queue.enqueue(spec)
    await queue.enqueue(make_spec(cost=3), content_key="k")
    await queue.enqueue(make_spec(cost=3), content_key="k")
    figures = await fleet.figures()
    told = {(line.priority, line.comparison): (line.jobs, line.cost) for line in figures.lines if line.jobs}
    assert told == {(0, False): (1, 5), (1, False): (3, 33), (2, True): (1, 7)}
    assert figures.followers == 1

    assert len(await queue.claim(5, jobs=1)) == 1
    figures = await fleet.figures()
    assert (figures.running, figures.lines[0].jobs, figures.lines[0].cost) == (1, 0, 0)


async def test_jobs_that_lose_their_workers_are_told(store, impatient, fleet, make_spec):
    await impatient.enqueue(make_spec())
    for _ in range(2):
        assert await impatient.claim(1_000, empty=True)
        await asyncio.sleep(0.005)
        await impatient.reap()
    figures = await fleet.figures()
    assert (figures.redelivered, figures.suspects) == (1 if figures.in_quarantine else 2, 1 - figures.in_quarantine)
    for _ in range(3):
        await impatient.claim(1_000, empty=True)
        await asyncio.sleep(0.005)
        await impatient.reap()
    figures = await fleet.figures()
    assert (figures.quarantined, figures.in_quarantine, figures.suspects) == (1, 1, 0)


async def test_workers_are_those_that_beat(fleet):
    await fleet.beat_worker("a")
    assert (await fleet.figures()).workers == 1
    await fleet.worker_left("a")
    assert (await fleet.figures()).workers == 0


async def test_nothing_counted_is_lost_or_doubled_while_the_store_is_away(fleet):
    tally, away = Tally(), [True]

    async def count(counted, nonce):
        await fleet.count(counted, nonce)  # it arrives, and the reply is lost
        if away[0]:
            raise StoreUnavailable("no reply")

    pushing = Pushing(tally, count)
    tally.count(metrics.EVALUATIONS, ("digits",), 2)
    with pytest.raises(StoreUnavailable):
        await pushing.push()
    tally.count(metrics.EVALUATIONS, ("digits",), 3)
    away[0] = False
    await pushing.push()
    await pushing.push()
    assert (await fleet.figures()).counted == {FIELD: 5.0}


async def test_what_was_counted_last_is_told_before_the_end(fleet):
    async with observed("test", fleet.count) as (tally, tracing):
        tally.count(metrics.EVALUATIONS, ("digits",), 2)
    assert tracing is None
    assert (await fleet.figures()).counted == {FIELD: 2.0}


async def test_the_end_does_not_wait_for_a_store_that_is_away():
    store = RedisStore("redis://127.0.0.1:1", namespace="nobody")
    async with asyncio.timeout(5), observed("test", RedisFleet(store).count) as (tally, _):
        tally.count(metrics.EVALUATIONS, ("digits",), 2)
