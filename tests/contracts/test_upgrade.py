"""A store that the release before this one wrote (data/), with jobs in every state: none of them is lost.

The file was written by commit 366cbb8: its store after jobs had been queued, claimed, finished and shared.
"""

import json
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from attributor.jobs.state import JobState
from attributor.storage.connection import RedisStore
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_queue import RedisJobQueue

PREVIOUS = json.loads((Path(__file__).parent / "data" / "release-0.1.0-of-november.json").read_text())
IDS = PREVIOUS["ids"]


@pytest.fixture
async def upgraded(store):
    """The store as that release left it, in a namespace of its own."""
    for name, (kind, held) in PREVIOUS["keys"].items():
        key = store.keys.prefix + name.partition("}:")[2]
        if kind == "string":
            await store.call("SET", key, b64decode(held))
            continue
        words = [b64decode(each) for each in held]
        if kind == "zset":
            words = [word for i in range(0, len(words), 2) for word in (words[i + 1], words[i])]
        await store.call({"hash": "HSET", "zset": "ZADD", "list": "RPUSH"}[kind], key, *words)
    return store


async def test_what_had_ended_is_read(upgraded: RedisStore):
    jobs = RedisJobStore(upgraded)
    np.testing.assert_array_equal((await jobs.result(IDS["finished"])).outputs["logits"], [[1.5, -2.0]])
    record = await jobs.record(IDS["failed"], tenant="default")
    assert (record.state, record.failure.detail) == (JobState.FAILED, "it raised")
    assert (await jobs.spec(IDS["finished"])).ref == "tumour@1"


async def test_what_waited_or_was_lost_is_computed_and_nothing_stays_behind(upgraded: RedisStore, answer, make_spec):
    queue, jobs = RedisJobQueue(upgraded), RedisJobStore(upgraded)
    assert await queue.reap() == [IDS["lost"]]
    assert await jobs.position(IDS["urgent"]) == 0
    newer = (await queue.enqueue(make_spec(tenant="newer", cost=9))).job_id
    taken = await queue.claim(99, comparisons=9)
    names = ("lost", "queued", "urgent", "other", "compared", "first")
    assert {job.lease.job_id for job in taken} == {IDS[name] for name in names} | {newer}
    assert taken[0].lease.job_id == IDS["urgent"]
    assert all(await queue.finish_all({job.lease: answer for job in taken}))
    for name in (*names, "follows"):
        tenant = "other" if name == "other" else "default"
        assert (await jobs.record(IDS[name], tenant=tenant)).state is JobState.SUCCEEDED
    rows = await upgraded.call("HGETALL", upgraded.keys.key("counters"))
    counters = dict(zip(rows[::2], map(int, rows[1::2]), strict=True))
    assert (counters[b"queued"], counters[b"running"], counters.get(b"cost", 0)) == (0, 0, 0)


async def test_a_retry_under_a_key_of_then_finds_its_job(upgraded: RedisStore, make_spec):
    queue = RedisJobQueue(upgraded)
    again = await queue.enqueue(make_spec(), idempotency_key="queued")
    assert (again.job_id, again.replayed) == (IDS["queued"], True)


async def test_one_of_then_is_cancelled_and_erased(upgraded: RedisStore):
    queue, jobs = RedisJobQueue(upgraded), RedisJobStore(upgraded)
    assert await queue.cancel(IDS["queued"], tenant="default") is JobState.CANCELLED
    assert await jobs.erase(IDS["queued"], tenant="default")
    assert await jobs.erase(IDS["finished"], tenant="default")
