"""What is wrong with a Redis or Valkey server, or with our rights on it, each with what to do about it.

Asks the server itself, in its own words; must not change what is kept in it. Knows redis-py; no asyncio, no jobs.
"""

import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from attributor.storage.keys import Keys

#: Ours: a server that takes so long to answer a word is of no use to a queue.
_TIMEOUT_S = 5.0
#: Below it a job's few trips to the store are lost in its own time. Ours: a store in another region takes more.
_SLOW_PING_S = 0.005
_PINGS = 20
#: Of the memory that the server may take: ours, above it a burst of large jobs is likely to be refused.
_NEARLY_FULL = 0.8
#: The oldest Redis whose scripts may say what they do when memory is full; every Valkey does.
_OLDEST_REDIS = (7, 0)
_PROBE = "doctor"
#: What a user of the store's access lists needs; tests run the service's commands as such a one.
_RIGHTS = "ACL SETUSER ... ~{keys}* &{keys}* +@all -@dangerous -@admin +info"


class Level(StrEnum):
    """How bad a finding is: PROBLEM, the service cannot do its work; WARNING, it can, but."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`about`: what was looked at; `remedy`: what to do, if anything."""

    level: Level
    about: str
    said: str
    remedy: str = ""


def check_store(url: str, namespace: str) -> Iterator[Finding]:
    """Everything that can be found out; the first problem is the last finding where nothing more can be asked."""
    try:
        client = Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        yield Finding(Level.PROBLEM, "store", f"{without_secret(url)}: {error}", "use redis://, rediss:// or unix://")
        return
    with client:
        try:
            client.ping()
        except exceptions.RedisError as error:
            yield _unreachable(without_secret(url), Keys(namespace), error)
            return
        yield _speed(client, without_secret(url))
        yield from _state(client)
        yield from _rights(client, Keys(namespace))


def without_secret(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def _unreachable(url: str, keys: Keys, error: exceptions.RedisError) -> Finding:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, exceptions.BusyLoadingError):
        return Finding(Level.WARNING, "store", f"{url} is reading its file", "wait until it has, then ask again")
    if isinstance(error, exceptions.NoPermissionError):
        return Finding(Level.PROBLEM, "rights", f"{url}: {text}", _RIGHTS.format(keys=keys.prefix))
    if isinstance(error, exceptions.AuthenticationError) or "WRONGPASS" in text or "NOAUTH" in text:
        remedy = "they may have expired: put a valid name and password into the URL, redis://NAME:PASSWORD@HOST:PORT"
        return Finding(Level.PROBLEM, "credentials", f"{url}: {text}", remedy)
    if "CERTIFICATE" in text.upper():
        remedy = "add ?ssl_ca_certs=FILE with the authority that signed it, and use the name that it was made for"
        return Finding(Level.PROBLEM, "certificate", f"{url}: {text}", remedy)
    if "SSL" in text.upper():
        return Finding(Level.PROBLEM, "TLS", f"{url}: {text}", "use redis:// if the server speaks no TLS")
    remedy = "is it running, at this address, and reachable from here? A server with TLS needs rediss://"
    return Finding(Level.PROBLEM, "store", f"{url} does not answer: {text}", remedy)


def _speed(client: Redis, url: str) -> Finding:
    times = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        client.ping()
        times.append(time.perf_counter() - began)
    median = statistics.median(times)
    said = f"{url} answers in {1000 * median:.2f} ms"
    if median > _SLOW_PING_S:
        return Finding(Level.WARNING, "store", said, "a job makes several trips: run the service near its store")
    return Finding(Level.OK, "store", said)


def _state(client: Redis) -> Iterator[Finding]:
    try:
        told: Mapping[str, Any] = client.info("everything")
    except exceptions.RedisError as error:
        remedy = "allow INFO to the user, to have version, memory, role and persistence looked at"
        yield Finding(Level.WARNING, "state", f"not known: {error}", remedy)
        return
    yield _version(told)
    yield _role(told)
    yield from _memory(told)
    yield from _persistence(told)


def _version(told: Mapping[str, Any]) -> Finding:
    if "valkey_version" in told:
        return Finding(Level.OK, "version", f"Valkey {told['valkey_version']}")
    version = str(told.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_REDIS:
        return Finding(Level.PROBLEM, "version", f"Redis {version}", "use Redis 7.0 or newer, or any Valkey")
    return Finding(Level.OK, "version", f"Redis {version}")


def _role(told: Mapping[str, Any]) -> Finding:
    if told.get("role") == "master":
        return Finding(Level.OK, "role", "primary: takes writes")
    primary = f"{told.get('master_host')}:{told.get('master_port')}"
    return Finding(Level.PROBLEM, "role", "a replica, which takes no writes", f"use the URL of its primary, {primary}")


def _memory(told: Mapping[str, Any]) -> Iterator[Finding]:
    used, most = int(told.get("used_memory", 0)), int(told.get("maxmemory", 0))
    policy = str(told.get("maxmemory_policy", "unknown"))
    if policy != "noeviction":
        said = f"eviction policy {policy}: a full server drops jobs and results that are still wanted"
        level = Level.PROBLEM if most else Level.WARNING
        yield Finding(level, "eviction", said, "CONFIG SET maxmemory-policy noeviction, and in its configuration")
    else:
        yield Finding(Level.OK, "eviction", "noeviction: nothing is dropped")
    if evicted := int(told.get("evicted_keys", 0)):
        yield Finding(Level.WARNING, "eviction", f"{evicted} keys were dropped since it started", "jobs may be missing")
    if not most:
        said = f"{_megabytes(used)} in use, without a bound"
        yield Finding(Level.WARNING, "memory", said, "set maxmemory, so that it refuses jobs before the system ends it")
        return
    said, remedy = f"{_megabytes(used)} of {_megabytes(most)} in use", "raise maxmemory, or lower store.result_ttl_s"
    if used >= most:
        yield Finding(Level.PROBLEM, "memory", f"full: {said}; new jobs are refused", remedy)
    else:
        yield Finding(Level.WARNING if used > _NEARLY_FULL * most else Level.OK, "memory", said, remedy)


def _persistence(told: Mapping[str, Any]) -> Iterator[Finding]:
    failed = [
        name
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
        if told.get(name, "ok") != "ok"
    ]
    if failed:
        remedy = "look at its log: the disk may be full, or not writable to it"
        yield Finding(Level.PROBLEM, "persistence", f"it cannot write its file ({', '.join(failed)})", remedy)
    elif int(told.get("aof_enabled", 0)):
        yield Finding(Level.OK, "persistence", "append-only file is on")
    else:
        said = "append-only file is off: jobs since its last snapshot are lost when it ends"
        yield Finding(Level.WARNING, "persistence", said, "CONFIG SET appendonly yes, and in its configuration")


def _rights(client: Redis, keys: Keys) -> Iterator[Finding]:
    """Each command that the service sends, or its scripts do, on a key of ours that is taken away again."""
    names = [keys.prefix + f"{_PROBE}:{uuid4().hex}:{kind}" for kind in range(6)]
    refused: list[str] = []
    try:
        for command in _commands(*names):
            try:
                _execute(client, command)
            except exceptions.NoPermissionError as error:
                refused.append(command[0] if "key" not in str(error) else f"{command[0]} on keys of '{keys.prefix}'")
    except exceptions.RedisError as error:
        remedy = "it cannot serve as it is: see what was found before this"
        yield Finding(Level.PROBLEM, "writing", f"{command[0]}: {error}", remedy)
        return
    finally:
        with suppress(exceptions.RedisError):
            client.delete(*names)
    if refused:
        said = f"not allowed: {', '.join(refused)}"
        yield Finding(Level.PROBLEM, "rights", said, _RIGHTS.format(keys=keys.prefix))
    else:
        yield Finding(Level.OK, "rights", "every command that the service needs is allowed")
    yield _channels(client, keys)


def _channels(client: Redis, keys: Keys) -> Finding:
    try:
        with client.pubsub() as heard:  # type: ignore[no-untyped-call]
            heard.subscribe(keys.key("desk", _PROBE))
            heard.get_message(timeout=_TIMEOUT_S)
            client.publish(keys.key("desk", _PROBE), b"")
    except exceptions.NoPermissionError as error:
        said = f"channels may not be used ({error}): answers are fetched, not sent, which is slower"
        return Finding(Level.WARNING, "channels", said, f"ACL SETUSER ... &{keys.prefix}* +subscribe +publish")
    return Finding(Level.OK, "channels", "answers can be sent to whoever waits")


def _execute(client: Redis, command: tuple[Any, ...]) -> None:
    if command[0] == "MULTI":
        with client.pipeline(transaction=True) as both:
            both.time()
            both.execute()
        return
    with suppress(exceptions.NoScriptError):
        client.execute_command(*command)  # type: ignore[no-untyped-call]


def _commands(text: str, number: str, fields: str, ranked: str, listed: str, stream: str) -> Iterator[tuple[Any, ...]]:
    """What the service says to a store, word by word: on keys of each kind, which are there when they are needed."""
    later = round(1000 * (time.time() + 60))
    yield from (("TIME",), ("MULTI",))
    yield from (("SET", text, "1", "PX", 60_000), ("GET", text), ("STRLEN", text), ("EXISTS", text))
    yield from (("INCRBY", number, 1), ("DECRBY", number, 1), ("PEXPIRE", number, 60_000), ("PEXPIREAT", number, later))
    yield from (("HSET", fields, "a", 1), ("HGET", fields, "a"), ("HMGET", fields, "a"), ("HGETALL", fields))
    yield from (("HVALS", fields), ("HINCRBY", fields, "a", 1), ("HDEL", fields, "a"))
    yield from (("ZADD", ranked, 1, "a"), ("ZCARD", ranked), ("ZSCORE", ranked, "a"), ("ZRANGE", ranked, 0, -1))
    yield from (("ZCOUNT", ranked, 0, 1), ("ZREVRANGE", ranked, 0, -1), ("ZRANGEBYSCORE", ranked, 0, 1))
    yield from (("ZREVRANGEBYSCORE", ranked, 1, 0), ("ZREMRANGEBYSCORE", ranked, 5, 6), ("ZPOPMIN", ranked))
    yield ("ZREM", ranked, "a")
    yield from (("RPUSH", listed, "a"), ("LRANGE", listed, 0, -1), ("BLPOP", listed, 0.01))
    yield from (("XADD", stream, "*", "a", 1), ("XREAD", "COUNT", 1, "STREAMS", stream, "0"))
    yield ("XREVRANGE", stream, "+", "-", "COUNT", 1)
    yield from (("EVAL", "return redis.call('EXISTS', KEYS[1])", 1, text), ("EVALSHA", "0" * 40, 1, text))
    yield ("DEL", text)


def _megabytes(nbytes: int) -> str:
    return f"{nbytes / 1e6:.0f} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:.0f} kB"
