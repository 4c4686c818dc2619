"""The API's looks at the folder of models, on real folders; what its routes are told."""

import asyncio
import logging
from contextlib import suppress

import pytest
from attributor.bootstrap.api import _follow, wire
from attributor.registry import catalog as catalogs
from attributor.registry.catalog import FolderCatalog
from attributor.settings import Settings
from attributor.storage.connection import RedisStore
from attributor.storage.redis_events import RedisJobEvents
from bundles import write_bundle


async def test_a_look_that_fails_is_logged_and_the_next_one_comes(tmp_path, monkeypatch, caplog):
    write_bundle(tmp_path, "apple")
    catalog = FolderCatalog(tmp_path)
    looks = [RuntimeError("of a file that nobody thought of")]
    signature = catalogs.signature

    def failing_once(folder):
        if looks:
            raise looks.pop()
        return signature(folder)

    monkeypatch.setattr(catalogs, "signature", failing_once)
    caplog.set_level(logging.INFO)
    following = asyncio.create_task(_follow(catalog, 0.01))
    try:
        async with asyncio.timeout(10):
            while "nobody thought of" not in caplog.text:
                await asyncio.sleep(0.01)
            write_bundle(tmp_path, "pear")
            while "model pear@1 was added" not in caplog.text:
                await asyncio.sleep(0.01)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


@pytest.mark.parametrize("cache_bytes", [0, 1])
async def test_the_routes_know_whether_the_store_keeps_answers(tmp_path, cache_bytes):
    settings = Settings(store={"cache_bytes": cache_bytes})
    store = RedisStore("unix:///nowhere", namespace="t")
    deps = wire(settings, store, RedisJobEvents(store), FolderCatalog(tmp_path))
    assert deps.shares_answers == bool(cache_bytes)
