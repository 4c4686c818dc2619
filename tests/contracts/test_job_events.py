"""The behaviour of port JobEvents, against a real server."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

import numpy as np
import pytest
from attributor.api.progress import succeeded
from attributor.errors import StoreUnavailable
from attributor.jobs.job import Failure, Progress
from attributor.jobs.result import PredictionResult
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.keys import SENT_LARGEST_BYTES
from attributor.storage.redis_events import RedisJobEvents
from attributor.storage.redis_queue import RedisJobQueue

#: Far longer than an event takes (milliseconds), far shorter than the reader's own waits.
SOON_S = 1.0


@pytest.fixture
async def events(store):
    async with RedisJobEvents(store) as events:
        yield events


async def _next(changes):
    assert await changes.wait(SOON_S)


async def _passed():
    """Time for the events of what was done so far, which may wake later subscribers too, to pass."""
    await asyncio.sleep(0.05)


async def _sent(changes):
    """The answer. It comes over another connection than the changes do, and after them at times."""
    while (sent := changes.sent()) is None:
        await _next(changes)
    return sent


async def _is_quiet(changes):
    return not await changes.wait(0.05)


async def test_every_change_of_a_job_wakes_its_subscriber(events, queue, jobs, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    await _passed()
    async with events.subscribe(job_id) as changes:
        [claimed] = await queue.claim(1)
        await _next(changes)
        await queue.beat({claimed.lease: Progress(3, 0.1, 0)})
        await _next(changes)
        await queue.cancel(job_id, tenant="default")
        await _next(changes)
        await queue.finish(claimed.lease, answer)
        await _next(changes)
        await jobs.erase(job_id, tenant="default")
        await _next(changes)
        assert await _is_quiet(changes)


async def test_a_change_wakes_all_subscribers_of_its_job_and_no_others(events, queue, make_spec):
    first, second = [(await queue.enqueue(make_spec())).job_id for _ in range(2)]
    await _passed()
    async with events.subscribe(first) as a, events.subscribe(first) as b, events.subscribe(second) as other:
        await queue.cancel(first, tenant="default")
        await _next(a)
        await _next(b)
        assert await _is_quiet(other)


async def test_who_waits_for_the_end_only_is_not_woken_before(events, queue, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    async with events.subscribe(job_id, ends_only=True) as changes:
        [claimed] = await queue.claim(1)
        await queue.beat({claimed.lease: Progress(3, 0.1, 0)})
        assert await _is_quiet(changes)
        await queue.finish(claimed.lease, answer)
        await _next(changes)


async def test_who_comes_too_late_for_an_end_is_told_at_once(events, queue, make_spec, answer):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    await queue.finish(claimed.lease, answer)
    await _passed()
    async with events.subscribe(job_id, ends_only=True) as changes:
        await _next(changes)
        assert await _is_quiet(changes)


async def test_changes_of_one_call_reach_all_their_jobs(events, queue, make_spec, answer):
    ids = [(await queue.enqueue(make_spec())).job_id for _ in range(5)]
    leases = [claimed.lease for claimed in await queue.claim(5)]
    async with AsyncExitStack() as stack:
        changes = [await stack.enter_async_context(events.subscribe(each, ends_only=True)) for each in ids]
        assert await queue.finish_all(dict.fromkeys(leases, answer)) == [True] * 5
        for each in changes:
            await _next(each)


async def _answered_at(desk, queue, make_spec, answer):
    """A job whose answer was sent there, if it may be."""
    job_id = (await queue.enqueue(make_spec(), answer_to=desk)).job_id
    [claimed] = await queue.claim(1)
    await queue.finish(claimed.lease, answer)
    return job_id


@pytest.mark.parametrize("early", [True, False])
async def test_an_answer_is_sent_to_who_waits_for_it_and_says_what_its_record_says(
    events, queue, jobs, make_spec, answer, early
):
    job_id = (await queue.enqueue(make_spec(), answer_to=events.desk)).job_id
    [claimed] = await queue.claim(1)
    if not early:
        await queue.finish(claimed.lease, answer)
        await _passed()
    async with events.subscribe(job_id, ends_only=True) as changes:
        if early:
            assert changes.sent() is None
            await queue.finish(claimed.lease, answer)
        sent = await _sent(changes)
    record, result = await jobs.answered(job_id, tenant="default")
    assert succeeded(job_id, make_spec(), sent) == record
    assert sent.result.outputs["logits"].tolist() == result.outputs["logits"].tolist()


async def test_a_large_answer_a_failure_and_one_without_a_desk_are_told_but_not_sent(events, queue, make_spec, answer):
    large = PredictionResult({"logits": np.ones((1, SENT_LARGEST_BYTES // 4), np.float32)})
    for desk, outcome in ((events.desk, large), (events.desk, Failure("x", "y")), (None, answer)):
        job_id = await _answered_at(desk, queue, make_spec, outcome)
        async with events.subscribe(job_id, ends_only=True) as changes:
            await _next(changes)
            assert changes.sent() is None


async def test_answers_that_nobody_waits_for_are_kept_in_bounds(events, queue, make_spec, answer):
    for _ in range(260):
        last = await _answered_at(events.desk, queue, make_spec, answer)
    async with asyncio.timeout(SOON_S):
        while next(reversed(events._kept), None) != last:
            await asyncio.sleep(0.01)
    assert len(events._kept) == 256


async def test_a_desk_that_was_cut_off_is_opened_again(events, queue, store, make_spec, answer):
    desk, listened = events.desk, events._listens
    await store.call("GET", store.keys.key("seq"))  # of a cluster, the node that has our keys
    await store.call("CLIENT", "KILL", "TYPE", "pubsub")
    async with asyncio.timeout(5):
        while events._listens is listened or events.desk is None:  # looked after every two seconds, too
            await asyncio.sleep(0.01)
    assert events.desk == desk
    job_id = await _answered_at(desk, queue, make_spec, answer)
    async with events.subscribe(job_id, ends_only=True) as changes:
        assert (await _sent(changes)).result.outputs["logits"].tolist() == answer.outputs["logits"].tolist()


async def test_a_desk_that_cannot_be_opened_holds_up_no_changes(store, queue, make_spec, answer, monkeypatch):
    async def refused(*_):
        raise StoreUnavailable("no more connections")

    monkeypatch.setattr(RedisStore, "listen", refused)
    async with RedisJobEvents(store) as events:
        assert events.desk is None
        job_id = (await queue.enqueue(make_spec(), answer_to=events.desk)).job_id
        async with events.subscribe(job_id, ends_only=True) as changes:
            [claimed] = await queue.claim(1)
            await asyncio.sleep(2.1)  # it is tried again meanwhile
            assert await _is_quiet(changes)
            await queue.finish(claimed.lease, answer)
            await _next(changes)


async def test_where_no_channel_may_be_used_answers_are_fetched(tmp_path, make_spec, answer):
    server = EmbeddedStore(tmp_path)
    server.start()
    try:
        async with RedisStore(server.url, namespace="no-channels") as store:
            await store.call("ACL", "SETUSER", "default", "resetchannels")
            queue = RedisJobQueue(store)
            async with RedisJobEvents(store) as events:
                assert events.desk is None
                job_id = await _answered_at("anywhere", queue, make_spec, answer)
                async with events.subscribe(job_id, ends_only=True) as changes:
                    await _next(changes)
                    assert changes.sent() is None
    finally:
        server.stop()


async def test_changes_that_pile_up_become_one(events, queue, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    [claimed] = await queue.claim(1)
    async with events.subscribe(job_id) as changes, events.subscribe(job_id) as witness:
        for i in range(20):
            await queue.beat({claimed.lease: Progress(i, None, 0)})
        while not await _is_quiet(witness):
            pass
        await _next(changes)
        assert await _is_quiet(changes)


async def test_a_change_right_after_the_start_is_not_missed(store, queue, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    for _ in range(5):
        async with RedisJobEvents(store) as events, events.subscribe(job_id) as changes:
            [claimed] = await queue.claim(1)
            await _next(changes)
            await queue.finish(claimed.lease, None)
            job_id = (await queue.enqueue(make_spec())).job_id


async def test_a_subscription_leaves_nothing_behind(events, queue, make_spec):
    job_id = (await queue.enqueue(make_spec())).job_id
    async with events.subscribe(job_id):
        async with events.subscribe(job_id):
            pass
        assert list(events._subscriptions) == [job_id]
    assert events._subscriptions == {}


async def test_stopping_wakes_open_subscriptions(store):
    events = RedisJobEvents(store)
    await events.start()
    async with events.subscribe("job_a") as changes:
        waiting = asyncio.create_task(changes.wait(10 * SOON_S))
        await asyncio.sleep(0.01)
        await asyncio.wait_for(events.stop(), SOON_S)
        assert await asyncio.wait_for(waiting, SOON_S)
    with pytest.raises(RuntimeError, match="not started"):
        async with events.subscribe("job_a"):
            pass


async def test_a_reader_that_is_stopped_while_it_begins_stops_too(store):
    for turns in range(6):
        events = RedisJobEvents(store)
        await events.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(events.stop(), SOON_S)


async def test_stopping_what_was_never_started_does_nothing(store):
    await RedisJobEvents(store).stop()


async def test_a_server_that_comes_later_is_waited_for(tmp_path, make_spec):
    server = EmbeddedStore(tmp_path)
    async with RedisStore(server.url) as store, RedisJobEvents(store) as events:
        assert events.desk is None
        server.start()
        try:
            async with asyncio.timeout(5):
                while events.desk is None:
                    await asyncio.sleep(0.05)
            await _hears_a_cancellation(events, RedisJobQueue(store), make_spec)
        finally:
            server.stop()


async def test_one_that_never_comes_does_not_hold_up_the_end(tmp_path):
    async with RedisStore(f"unix://{tmp_path}/none.sock") as store, RedisJobEvents(store):
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("how", ["unblocked", "failover"])
async def test_an_error_to_the_waiting_command_is_a_lost_connection(tmp_path, make_spec, how):
    server = EmbeddedStore(tmp_path)
    server.start()
    try:
        async with RedisStore(server.url) as store, RedisJobEvents(store) as events:
            await asyncio.sleep(0.1)
            if how == "unblocked":
                [waiting] = [line for line in (await store.call("CLIENT", "LIST")).split(b"\n") if b"cmd=xread" in line]
                client = waiting.partition(b"id=")[2].partition(b" ")[0]
                assert await store.call("CLIENT", "UNBLOCK", client, "ERROR") == 1
            else:
                await store.call("REPLICAOF", "127.0.0.1", "1")
                await asyncio.sleep(0.2)
                await store.call("REPLICAOF", "NO", "ONE")
            await asyncio.sleep(0.3)
            await _hears_a_cancellation(events, RedisJobQueue(store), make_spec)
    finally:
        server.stop()


async def _hears_a_cancellation(events, queue, make_spec):
    assert events.reading
    job_id = (await queue.enqueue(make_spec())).job_id
    async with events.subscribe(job_id) as changes:
        await queue.cancel(job_id, tenant="default")
        await _next(changes)


async def test_an_entry_that_nobody_can_read_does_not_end_the_reading(store, events, queue, make_spec):
    await store.call("XADD", store.keys.key("events"), "*", b"\xff", "queued")
    await asyncio.sleep(0.3)
    await _hears_a_cancellation(events, queue, make_spec)


async def test_after_a_lost_connection_everyone_is_woken_and_events_go_on(tmp_path, make_spec):
    server = EmbeddedStore(tmp_path)
    server.start()
    try:
        async with RedisStore(server.url) as store, RedisJobEvents(store) as events:
            queue = RedisJobQueue(store)
            job_id = (await queue.enqueue(make_spec())).job_id
            async with events.subscribe(job_id) as changes, events.subscribe("job_other") as others:
                await _passed()
                os.kill(server.pid, signal.SIGKILL)
                await asyncio.sleep(0.2)
                assert server.start()
                await _next(changes)
                await _next(others)
                await queue.cancel(job_id, tenant="default")
                await _next(changes)
    finally:
        server.stop()
