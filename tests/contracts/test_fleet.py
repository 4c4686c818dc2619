"""The behaviour of port Fleet, against a real server."""

import dataclasses
import logging
import time

import pytest
from attributor.errors import StoreUnavailable
from attributor.jobs.model import ModelReport, Readiness
from attributor.storage.connection import RedisStore
from attributor.storage.redis_fleet import RedisFleet


@pytest.fixture
def fleet(store):
    return RedisFleet(store)


@pytest.fixture
def report():
    return ModelReport("tumour@1", "d" * 64, Readiness.READY, None, ("relu1", "relu2"), {"golden": "passed"}, 12.5)


async def test_the_newest_report_on_each_model_is_known(fleet, report):
    assert await fleet.model_reports() == {}
    failed = dataclasses.replace(report, ref="digits@2", readiness=Readiness.FAILED, reason="golden differs")
    await fleet.report_model(dataclasses.replace(report, readiness=Readiness.LOADING))
    await fleet.report_model(failed)
    await fleet.report_model(report)
    assert await fleet.model_reports() == {"tumour@1": report, "digits@2": failed}


async def test_a_report_that_is_taken_back_is_gone(fleet, report):
    other = dataclasses.replace(report, ref="digits@2")
    await fleet.report_model(report)
    await fleet.report_model(other)
    await fleet.forget_model("tumour@1")
    await fleet.forget_model("nothing@1")
    assert await fleet.model_reports() == {"digits@2": other}


async def test_a_report_of_another_release_is_left_out(fleet, report, store, caplog):
    await fleet.report_model(report)
    await store.call("HSET", store.keys.key("models"), "new@1", b"ATB\xff\0\0\0\0")
    with caplog.at_level(logging.WARNING):
        assert await fleet.model_reports() == {"tumour@1": report}
    assert "new@1" in caplog.text


async def test_workers_that_beat_are_counted_once_each(fleet):
    assert await fleet.workers_alive() == 0
    for worker in ("a", "b", "a"):
        await fleet.beat_worker(worker)
    assert await fleet.workers_alive() == 2


async def test_a_worker_silent_for_five_seconds_is_forgotten(fleet, store):
    now_ms = round(time.time() * 1000)
    key = store.keys.key("workers")
    await store.call("ZADD", key, now_ms - 5_500, "gone", now_ms - 4_000, "late")
    assert await fleet.workers_alive() == 1
    assert await store.call("ZRANGE", key, 0, -1) == [b"late"]


async def test_a_server_that_is_not_there_is_stated(tmp_path):
    async with RedisStore(f"unix://{tmp_path}/none.sock") as store:
        with pytest.raises(StoreUnavailable):
            await RedisFleet(store).workers_alive()


async def test_a_worker_that_left_is_not_counted_any_more(fleet):
    await fleet.beat_worker("a")
    await fleet.beat_worker("b")
    await fleet.worker_left("a")
    assert await fleet.workers_alive() == 1
