"""API keys and browsers' sessions on Redis. Of secrets it sees digests only."""

from typing import Any

import orjson

from attributor.jobs.access import ApiKey, Scope
from attributor.jobs.terms import Terms
from attributor.storage.connection import RedisStore

_SCOPES = frozenset(Scope)


class RedisKeys:
    """Port KeyStore."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def key(self, key_id: str) -> ApiKey | None:
        """See the port."""
        data = await self._store.call("HGET", self._store.keys.key("keys"), key_id)
        return None if data is None else _read(key_id, data)

    async def all(self) -> list[ApiKey]:
        """All keys, by tenant and age. Raises StoreUnavailable."""
        rows = await self._store.call("HGETALL", self._store.keys.key("keys"))
        found = [_read(key_id.decode(), data) for key_id, data in zip(rows[::2], rows[1::2], strict=True)]
        return sorted(found, key=lambda key: (key.tenant, key.created_at))

    async def add(self, key: ApiKey) -> None:
        """See the port."""
        await self._store.call("HSET", self._store.keys.key("keys"), key.id, _written(key))

    async def revoke(self, key_id: str) -> bool:
        """See the port."""
        return bool(await self._store.call("HDEL", self._store.keys.key("keys"), key_id))

    async def open_session(self, digest: str, key_id: str, ttl_s: float) -> None:
        """See the port."""
        await self._store.call("SET", self._store.keys.key("session", digest), key_id, "PX", round(ttl_s * 1000))

    async def session(self, digest: str) -> str | None:
        """See the port."""
        key_id = await self._store.call("GET", self._store.keys.key("session", digest))
        return None if key_id is None else str(key_id.decode())

    async def close_session(self, digest: str) -> None:
        """See the port."""
        await self._store.call("DEL", self._store.keys.key("session", digest))


def _written(key: ApiKey) -> bytes:
    terms = key.terms
    return orjson.dumps(
        {
            "digest": key.digest,
            "tenant": key.tenant,
            "scopes": sorted(key.scopes),
            "created_at": key.created_at,
            "label": key.label,
            "weight": terms.weight,
            "max_queued_cost": terms.max_queued_cost,
            "evaluations_per_hour": terms.evaluations_per_hour,
        }
    )


def _read(key_id: str, data: bytes) -> ApiKey:
    """A scope that only another release knows opens nothing here."""
    held: dict[str, Any] = orjson.loads(data)
    terms = Terms(held["weight"], held["max_queued_cost"], held["evaluations_per_hour"])
    scopes = frozenset(Scope(each) for each in held["scopes"] if each in _SCOPES)
    return ApiKey(key_id, held["digest"], held["tenant"], scopes, held["created_at"], held["label"], terms)
