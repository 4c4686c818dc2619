"""Settings to the store and its policy."""

from attributor.settings import Settings
from attributor.storage.connection import RedisStore
from attributor.storage.redis_queue import QueuePolicy


def open_store(settings: Settings, redis_url: str) -> RedisStore:
    """The store at a URL; connects at its first command."""
    return RedisStore(redis_url, namespace=settings.store.namespace)


def queue_policy(settings: Settings) -> QueuePolicy:
    """The queue's policy."""
    return QueuePolicy(
        lease_s=settings.store.lease_s,
        max_attempts=settings.store.max_attempts,
        max_queued=settings.store.max_queued,
        result_ttl_s=settings.store.result_ttl_s,
        cache_bytes=settings.store.cache_bytes,
    )
