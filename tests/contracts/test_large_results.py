"""Results too large for one command, against a real server: in pieces and in files; whole, or not there."""

import asyncio
import os
import time

import numpy as np
import pytest
from attributor.errors import QueueFull, StoreUnavailable
from attributor.jobs.job import JobKind
from attributor.jobs.result import PredictionResult
from attributor.jobs.state import JobState
from attributor.storage import large_results
from attributor.storage.large_results import INLINE_BYTES, PIECE_BYTES, ResultFiles, ResultPieces
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue

LARGE = PredictionResult({"image": np.random.default_rng(0).normal(size=(1, 800_000)).astype(np.float32)})


@pytest.fixture(params=["pieces", "files"])
def results(request, store, tmp_path):
    return ResultPieces(store) if request.param == "pieces" else ResultFiles(tmp_path / "results", 60.0)


@pytest.fixture
def kept(store, results, tmp_path):
    """How many large results are kept, and how many pieces they have."""

    async def count() -> int:
        if isinstance(results, ResultFiles):
            return len(list((tmp_path / "results").glob("*")))
        return len(await store.call("KEYS", store.keys.key("pieces") + "*"))

    return count


@pytest.fixture
def queue(store, results):
    return RedisJobQueue(store, results=results)


@pytest.fixture
def jobs(store, results):
    return RedisJobStore(store, results)


async def _computed(queue, make_spec, answer=LARGE, **fields) -> str:
    await queue.enqueue(make_spec(**fields))
    [claimed] = await queue.claim(1)
    assert await queue.finish(claimed.lease, answer)
    return claimed.lease.job_id


async def test_a_large_result_is_read_as_it_was_written(store, queue, jobs, make_spec, kept):
    job_id = await _computed(queue, make_spec)
    np.testing.assert_array_equal((await jobs.result(job_id)).outputs["image"], LARGE.outputs["image"])
    record, result = await jobs.answered(job_id, tenant="default")
    assert record.state is JobState.SUCCEEDED
    np.testing.assert_array_equal(result.outputs["image"], LARGE.outputs["image"])
    assert await store.call("EXISTS", store.keys.key("result", job_id)) == 0
    assert await kept() == 1


async def test_a_small_result_stays_in_one_command(store, queue, jobs, make_spec, answer, kept):
    job_id = await _computed(queue, make_spec, answer)
    assert await store.call("STRLEN", store.keys.key("result", job_id)) < INLINE_BYTES
    assert await jobs.result(job_id) is not None
    assert await kept() == 0


async def test_erasing_a_job_deletes_all_of_its_result(queue, jobs, make_spec, kept):
    job_id = await _computed(queue, make_spec)
    assert await jobs.erase(job_id, tenant="default")
    assert not await jobs.erase(job_id, tenant="default")
    assert await jobs.result(job_id) is None
    assert await kept() == 0


async def test_a_late_worker_does_no_harm_to_the_result_of_the_one_that_has_the_job(
    store, results, jobs, make_spec, kept
):
    hasty, queue = RedisJobQueue(store, QueuePolicy(lease_s=0.001), results), RedisJobQueue(store, results=results)
    job_id = (await hasty.enqueue(make_spec())).job_id
    [late] = await hasty.claim(1)
    await asyncio.sleep(0.003)
    await hasty.reap()
    [holder] = await queue.claim(1)
    other = PredictionResult({"image": LARGE.outputs["image"] + 1})
    assert await queue.finish(holder.lease, LARGE)
    assert not await hasty.finish(late.lease, other)
    np.testing.assert_array_equal((await jobs.result(job_id)).outputs["image"], LARGE.outputs["image"])


async def test_a_result_of_which_a_part_is_gone_is_not_there(store, queue, jobs, results, make_spec, tmp_path):
    job_id = await _computed(queue, make_spec)
    if isinstance(results, ResultPieces):
        [key] = await store.call("KEYS", store.keys.key("pieces") + "*")
        assert await store.call("HLEN", key) == -(-4 * 800_000 // PIECE_BYTES)
        await store.call("HDEL", key, 3)
    else:
        [path] = (tmp_path / "results").iterdir()
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert await jobs.result(job_id) is None


async def test_who_asks_the_same_as_one_with_a_large_result_is_computed(queue, jobs, make_spec):
    ids = [(await queue.enqueue(make_spec(), content_key="k" * 43)).job_id for _ in range(2)]
    for job_id in ids:
        [claimed] = await queue.claim(9)
        assert claimed.lease.job_id == job_id
        await queue.finish(claimed.lease, LARGE)
    assert (await jobs.result(ids[1])) is not None
    again = await queue.enqueue(make_spec(), content_key="k" * 43)
    assert again.waits


async def test_pieces_expire_with_their_job_and_abandoned_ones_by_themselves(store, make_spec, monkeypatch):
    queue = RedisJobQueue(store, QueuePolicy(prediction_ttl_s=100.0))
    job_id = await _computed(queue, make_spec, kind=JobKind.PREDICTION)
    [key] = await store.call("KEYS", store.keys.key("pieces") + "*")
    expires = await store.call("PEXPIRETIME", store.keys.key("job", job_id))
    assert await store.call("PEXPIRETIME", key) == expires
    monkeypatch.setattr(large_results, "ABANDONED_S", 0.05)
    await ResultPieces(store).put("job_x:nonce:1", b"x" * 2_000_000)
    await asyncio.sleep(0.1)
    assert await store.call("KEYS", store.keys.key("pieces", "job_x") + "*") == []


async def test_files_that_have_had_their_time_are_swept(tmp_path):
    results = ResultFiles(tmp_path, 60.0)
    old, new = [await results.put(f"job_{n}:nonce:1", b"x" * 10) for n in range(2)]
    path = tmp_path / old.split()[0]
    long_ago = time.time() - 60 - large_results.ABANDONED_S - 1
    os.utime(path, (long_ago, long_ago))
    await results.sweep()
    assert await results.get(old.encode()) is None
    assert await results.get(new.encode()) == b"x" * 10


async def test_a_name_leads_to_no_other_folder(tmp_path):
    with pytest.raises(ValueError, match="name of a file"):
        await ResultFiles(tmp_path, 60.0).put("../job", b"x")


async def test_a_store_that_is_away_is_stated_while_pieces_are_written(store, make_spec, tmp_path):
    from attributor.storage.connection import RedisStore

    async with RedisStore(f"unix://{tmp_path}/none.sock") as away:
        with pytest.raises(StoreUnavailable):
            await ResultPieces(away).put("job_x:nonce:1", b"x" * 2_000_000)


LARGE_INPUT = ({"features": np.random.default_rng(1).normal(size=600_000).astype(np.float32)},)


async def test_a_large_input_is_handed_out_and_read_as_it_was_sent(store, queue, jobs, make_spec, answer, kept):
    spec = make_spec(inputs=LARGE_INPUT)
    job_id = (await queue.enqueue(spec)).job_id
    [key] = await store.call("KEYS", store.keys.key("pieces") + "*")
    assert await store.call("PTTL", key) == -1
    [claimed] = await queue.claim(1)
    np.testing.assert_array_equal(claimed.spec.inputs[0]["features"], LARGE_INPUT[0]["features"])
    assert await queue.finish(claimed.lease, answer)
    assert await store.call("PEXPIRETIME", key) == await store.call("PEXPIRETIME", store.keys.key("job", job_id))
    np.testing.assert_array_equal((await jobs.spec(job_id)).inputs[0]["features"], LARGE_INPUT[0]["features"])
    assert await jobs.erase(job_id, tenant="default")
    assert await store.call("KEYS", store.keys.key("pieces") + "*") == []


async def test_a_large_input_that_is_refused_or_was_sent_before_leaves_nothing(store, results, make_spec):
    queue = RedisJobQueue(store, QueuePolicy(max_queued=1), results)
    spec = make_spec(inputs=LARGE_INPUT)
    first = await queue.enqueue(spec, idempotency_key="k")
    assert (await queue.enqueue(spec, idempotency_key="k")).job_id == first.job_id
    with pytest.raises(QueueFull):
        await queue.enqueue(spec)
    assert len(await store.call("KEYS", store.keys.key("pieces") + "*")) == 1


async def test_a_job_whose_large_input_is_gone_fails_with_the_reason(store, queue, jobs, make_spec):
    job_id = (await queue.enqueue(make_spec(inputs=LARGE_INPUT))).job_id
    await store.call("DEL", store.keys.key("pieces", job_id))
    assert await queue.claim(1) == []
    record = await jobs.record(job_id, tenant="default")
    assert (record.state, record.failure.code) == (JobState.FAILED, "internal_error")
    assert "not in the store" in record.failure.detail
