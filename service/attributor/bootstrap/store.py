"""Settings to the store and its policy."""

from pathlib import Path
from typing import Any

from attributor.errors import StoreUnavailable
from attributor.ports import ResultStore
from attributor.settings import Settings
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.large_results import ResultFiles, ResultPieces
from attributor.storage.redis_queue import QueuePolicy


def open_store(settings: Settings, redis_url: str) -> RedisStore:
    """The store at a URL; connects at its first command."""
    return RedisStore(redis_url, namespace=settings.store.namespace)


def result_store(settings: Settings, store: RedisStore) -> ResultStore:
    """Where large results go: into files where a folder is named, else into the store."""
    if settings.store.results_dir is not None:
        return ResultFiles(settings.store.results_dir, settings.store.result_ttl_s)
    return ResultPieces(store)


def queue_policy(settings: Settings) -> QueuePolicy:
    """The queue's policy."""
    return QueuePolicy(
        lease_s=settings.store.lease_s,
        max_attempts=settings.store.max_attempts,
        max_queued=settings.store.max_queued,
        max_queued_cost=settings.store.max_queued_cost,
        tenant_part=settings.store.tenant_part if settings.needs_keys else 1.0,
        result_ttl_s=settings.store.result_ttl_s,
        cache_bytes=settings.store.cache_bytes,
    )


def given_store(data_dir: Path | None, redis_url: str | None) -> Settings:
    """The environment's settings, with what a command was told of the store on top."""
    given = {"data_dir": data_dir, "redis_url": redis_url}
    overriding: Any = {name: value for name, value in given.items() if value is not None}
    return Settings(**({"store": overriding} if overriding else {}))


def found_url(settings: Settings) -> str:
    """Where the store is that commands speak to: the one named, or the embedded one of a service that runs. Raises
    StoreUnavailable if none does."""
    if settings.store.redis_url is not None:
        return settings.store.redis_url
    embedded = EmbeddedStore(settings.store.data_dir)
    if embedded.lost():
        raise StoreUnavailable(f"no service runs on {settings.store.data_dir}; start one, or pass --redis-url")
    return embedded.url
