"""Real servers of every kind for all contract tests; each test gets a namespace of its own."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count

import numpy as np
import pytest
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.model import InputKind, InputSpec
from attributor.jobs.result import PredictionResult
from attributor.storage import connection, keys
from attributor.storage.connection import RedisStore
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue
from contracts.servers import KINDS, server

_numbers = count()


@pytest.fixture(scope="session", params=KINDS)
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of every kind in turn; only the one named by ATTRIBUTOR_TEST_REDIS_URL, if one is (another product)."""
    if url := os.environ.get("ATTRIBUTOR_TEST_REDIS_URL"):
        if request.param != KINDS[0]:
            pytest.skip("ATTRIBUTOR_TEST_REDIS_URL names the server to test")
        yield url
        return
    with server(request.param, tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[RedisStore]:
    async with RedisStore(store_url, namespace=f"test-{os.getpid()}-{next(_numbers)}") as store:
        yield store


@pytest.fixture
def queue(store: RedisStore) -> RedisJobQueue:
    return RedisJobQueue(store)


@pytest.fixture
def impatient(store: RedisStore) -> RedisJobQueue:
    """A queue on the same store whose leases end after a millisecond, and which tries a job twice."""
    return RedisJobQueue(store, QueuePolicy(lease_s=0.001, max_attempts=2))


@pytest.fixture
def jobs(store: RedisStore) -> RedisJobStore:
    return RedisJobStore(store)


@pytest.fixture
def make_spec():
    def make(**changes) -> JobSpec:
        values = {
            "kind": JobKind.ATTRIBUTION,
            "model": "tumour",
            "version": "1",
            "digest": "d" * 64,
            "declared": (InputSpec("features", InputKind.TENSOR, (3,)),),
            "inputs": ({"features": np.arange(3, dtype=np.float32)},),
            "fingerprint": "f" * 64,
        }
        return JobSpec(**(values | changes))

    return make


@pytest.fixture
def answer() -> PredictionResult:
    return PredictionResult({"logits": np.array([[1.5, -2.0]], np.float32)})


@pytest.fixture
def counters(store: RedisStore):
    async def read() -> dict[str, int]:
        rows = await store.call("HGETALL", store.keys.key("counters"))
        known = dict(zip(rows[::2], rows[1::2], strict=True))
        return {name: int(known.get(name.encode(), 0)) for name in ("queued", "running")}

    return read


@pytest.fixture
def limits(monkeypatch):
    """Sets limits of keys.py."""

    def lower(**values: int) -> None:
        for name, value in values.items():
            monkeypatch.setattr(keys, name, value)
        connection._source.cache_clear()

    yield lower
    monkeypatch.undo()
    connection._source.cache_clear()
