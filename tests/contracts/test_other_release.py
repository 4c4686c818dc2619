"""What a release with another message format left in the store: it counts as expired, and nothing fails over it."""

import logging

import pytest
from attributor.jobs.codec import VERSION, encode
from attributor.jobs.job import Failure
from attributor.jobs.state import JobState

EVERYTHING = {"tenant": "default", "limit": 10, "cursor": None, "state": None, "model": None}


def _older(message: bytes) -> bytes:
    return message[:3] + bytes([VERSION - 1]) + message[4:]


async def _age(store, kind: str, job_id: str) -> None:
    key = store.keys.key(kind, job_id)
    await store.call("SET", key, _older(await store.call("GET", key)), "KEEPTTL")


async def _finish_one(queue, outcome) -> str:
    [claimed] = await queue.claim(1)
    assert await queue.finish(claimed.lease, outcome)
    return claimed.lease.job_id


async def test_an_older_answer_and_its_question_are_gone_and_logged(store, queue, jobs, make_spec, answer, caplog):
    await queue.enqueue(make_spec())
    job_id = await _finish_one(queue, answer)
    for kind in ("payload", "result"):
        await _age(store, kind, job_id)
    with caplog.at_level(logging.WARNING):
        assert await jobs.result(job_id) is None
        assert await jobs.spec(job_id) is None
    assert caplog.text.count(f"job {job_id} counts as expired") == 2
    assert (await jobs.record(job_id, tenant="default")).state is JobState.SUCCEEDED


async def test_a_record_with_an_older_failure_is_gone_and_hides_no_other(store, queue, jobs, make_spec):
    await queue.enqueue(make_spec())
    old = await _finish_one(queue, Failure("model_error", "older"))
    newer = (await queue.enqueue(make_spec())).job_id
    key = store.keys.key("job", old)
    await store.call("HSET", key, "failure", _older(await store.call("HGET", key, "failure")))
    assert await jobs.record(old, tenant="default") is None
    assert [record.id for record in (await jobs.page(**EVERYTHING)).records] == [newer]


async def test_an_older_job_in_the_queue_fails_with_the_reason_and_the_next_is_handed_out(
    store, queue, jobs, make_spec
):
    old = (await queue.enqueue(make_spec())).job_id
    newer = (await queue.enqueue(make_spec())).job_id
    await _age(store, "payload", old)
    assert [claimed.lease.job_id for claimed in await queue.claim(2)] == [newer]
    record = await jobs.record(old, tenant="default")
    assert (record.state, record.failure.code) == (JobState.FAILED, "internal_error")
    assert f"format version {VERSION - 1}" in record.failure.detail


async def test_bytes_of_no_release_are_still_a_defect(store, queue, jobs, make_spec, answer):
    await queue.enqueue(make_spec())
    job_id = await _finish_one(queue, answer)
    await store.call("SET", store.keys.key("result", job_id), b"?" + encode(answer))
    with pytest.raises(ValueError, match="magic bytes"):
        await jobs.result(job_id)
