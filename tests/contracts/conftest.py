"""One real server for all contract tests; each test gets a namespace of its own."""

import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.model import InputKind, InputSpec
from attributor.jobs.result import PredictionResult
from attributor.storage import connection, keys
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_queue import QueuePolicy, RedisJobQueue

_numbers = count()


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded server, or the one named by ATTRIBUTOR_TEST_REDIS_URL (another product or version)."""
    if url := os.environ.get("ATTRIBUTOR_TEST_REDIS_URL"):
        yield url
        return
    server = EmbeddedStore(Path(tmp_path_factory.mktemp("store")))
    assert server.start()
    yield server.url
    server.stop()


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
