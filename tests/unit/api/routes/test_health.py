"""Readiness over HTTP, against a real store."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx
import pytest
from attributor.api.app import create_app
from attributor.api.dependencies import Deps, Limits
from attributor.api.routes import health
from attributor.jobs.model import ModelReport, Readiness
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.redis_events import RedisJobEvents
from attributor.storage.redis_fleet import RedisFleet
from unit.api.models import LAYERS, MODELS

INFO = MODELS["digits"]


@pytest.fixture
async def server(tmp_path) -> AsyncIterator[EmbeddedStore]:
    server = EmbeddedStore(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def deps(server) -> AsyncIterator[Deps]:
    async with RedisStore(server.url) as store, RedisJobEvents(store) as events:
        fleet = RedisFleet(store)
        await fleet.beat_worker("w")
        await fleet.report_model(ModelReport(INFO.ref, INFO.digest, Readiness.READY, None, LAYERS, {}, 0.0))
        catalog = SimpleNamespace(all=lambda: [INFO])
        yield Deps(None, None, None, events, fleet, catalog, Limits(1, 1, 1.0, 1.0), keys=None)


async def _ready(deps: Deps, path: str = "/health/ready") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(deps)), base_url="http://x") as client:
        return await client.get(path)


async def test_jobs_are_accepted_without_workers_but_not_without_a_store_or_at_the_end(deps, server, monkeypatch):
    monkeypatch.setattr(health, "STORE_WAIT_S", 0.2)
    pid = server.pid
    await deps.fleet.worker_left("w")
    assert (await _ready(deps)).status_code == 503
    assert (await _ready(deps, "/health/accepting")).status_code == 200
    os.kill(pid, signal.SIGSTOP)
    try:
        assert (await _ready(deps, "/health/accepting")).status_code == 503
    finally:
        os.kill(pid, signal.SIGCONT)
    deps.draining.set()
    answer = await _ready(deps, "/health/accepting")
    assert (answer.status_code, answer.json()) == (503, {"accepting": False})


async def test_a_service_that_hears_of_no_ends_is_not_ready(deps):
    assert (await _ready(deps)).status_code == 200
    await deps.events.stop()
    answer = await _ready(deps)
    assert (answer.status_code, answer.json()["store"]) == (503, True)


async def test_a_store_that_hangs_does_not_hang_readiness(deps, server, monkeypatch):
    monkeypatch.setattr(health, "STORE_WAIT_S", 0.2)
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = await _ready(deps)
        assert time.monotonic() - began < 1
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (answer.status_code, answer.json()["store"]) == (503, False)
    await asyncio.sleep(0.05)
    assert (await _ready(deps)).status_code == 200
