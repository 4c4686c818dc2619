"""What is wrong with a Redis or Valkey server, or with our rights on it, each with what to do about it.

Asks the server itself, in its own words; must not change what is kept in it. Knows redis-py; no asyncio, no jobs.
"""

import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from attributor.storage.cluster import at
from attributor.storage.findings import Finding, Level
from attributor.storage.keys import Keys
from attributor.storage.rights import RIGHTS, check_rights

#: Ours: a server that takes so long to answer a word is of no use to a queue.
_TIMEOUT_S = 5.0
#: Below it a job's few trips to the store are lost in its own time. Ours: a store in another region takes more.
_SLOW_PING_S = 0.005
_PINGS = 20
#: Of the memory that the server may take: ours, above it a burst of large jobs is likely to be refused.
_NEARLY_FULL = 0.8
#: The oldest Redis whose scripts may say what they do when memory is full; every Valkey does.
_OLDEST_REDIS = (7, 0)
#: Begins what a server says that cannot write its file, also to a ping.
_CANNOT_WRITE = "MISCONF"
_ENCODE = "percent-encode name and password (/ is %2F), and look at its port and its options"
_OWN_CERTIFICATE = "add ?ssl_certfile=FILE&ssl_keyfile=FILE if the server wants a certificate of ours"
_NO_TLS = f"use redis:// if the server speaks no TLS, {_OWN_CERTIFICATE}"
#: What is said of a certificate, its own or ours, and what to do; the first that is found in the text.
_OF_CERTIFICATES = {
    "certificate has expired": "the server needs a new certificate",
    "not yet valid": "look at the clocks of both machines",
    "mismatch": "use the name or address in the URL that the server's certificate was made for",
    "CERTIFICATE_VERIFY_FAILED": "add ?ssl_ca_certs=FILE with the authority that signed the server's certificate",
    "CERTIFICATE_REQUIRED": _OWN_CERTIFICATE,
    "No such file": "look at the files that the URL names: ssl_ca_certs, ssl_certfile, ssl_keyfile",
}


def check_store(url: str, namespace: str) -> Iterator[Finding]:
    """Everything that can be found out; where nothing more can be asked, the last finding is the problem."""
    address = shown(url)
    if address is None:
        yield Finding(Level.PROBLEM, "store", "its URL cannot be read", _ENCODE)
        return
    keys = Keys(namespace)
    try:
        with _client(url) as client:
            node = _with_our_keys(client, keys)
            if node is None:
                yield from _checked(client, address, keys)
                return
        yield Finding(Level.OK, "cluster", f"{node} is the node for keys of '{keys.prefix}'")
        url = at(url, node)
        with _client(url) as client:
            yield from _checked(client, shown(url) or node, keys)
    except (ValueError, TypeError):  # of the URL's parts; the text may hold some of them
        yield Finding(Level.PROBLEM, "store", f"{address}: its URL has a part that cannot be used", _ENCODE)
    except exceptions.RedisError as error:
        yield Finding(Level.PROBLEM, "store", f"{address} was lost meanwhile: {_line(error)}", "ask again")


def _client(url: str) -> Redis:
    return Redis.from_url(
        url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )


def _with_our_keys(client: Redis, keys: Keys) -> str | None:
    """The address of the node of a cluster that has our keys, if it is not the one asked."""
    try:
        client.exists(keys.key("seq"))
    except exceptions.MovedError as error:
        return f"{error.host}:{error.port}"
    except exceptions.RedisError:
        pass  # what is wrong with it is found out right after
    return None


def _checked(client: Redis, address: str, keys: Keys) -> Iterator[Finding]:
    try:
        client.ping()
    except exceptions.RedisError as error:
        if not _line(error).startswith(_CANNOT_WRITE):  # of such a one, the rest tells more
            yield _unusable(address, keys, error)
            return
    else:
        yield _speed(client, address)
    yield from _state(client)
    yield from check_rights(client, keys)


def shown(url: str) -> str | None:
    """The URL as it may be shown: where the server is, without name, password and options. None where that cannot be
    told apart."""
    try:
        parts = urlsplit(url)
        name_and_host, rest = parts.netloc, (parts.path, parts.query, parts.fragment)
        if name_and_host and "@" not in name_and_host and any("@" in each for each in rest):
            return None  # a password with a character that ends the host's part
        if parts.scheme == "unix":
            return f"unix://{parts.path}"
        port = "" if parts.port is None else f":{parts.port}"
        return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    except ValueError:
        return None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _unusable(address: str, keys: Keys, error: exceptions.RedisError) -> Finding:
    text = _line(error)
    if isinstance(error, exceptions.BusyLoadingError):
        return Finding(Level.PROBLEM, "store", f"{address} is reading its file", "wait until it has, then ask again")
    if isinstance(error, exceptions.NoPermissionError):
        return Finding(Level.PROBLEM, "rights", f"{address}: {text}", RIGHTS.format(keys=keys.prefix))
    if isinstance(error, exceptions.AuthenticationError) or "WRONGPASS" in text or "NOAUTH" in text:
        remedy = "they may have expired: put a valid name and password into the URL, redis://NAME:PASSWORD@HOST:PORT"
        return Finding(Level.PROBLEM, "credentials", f"{address}: {text}", remedy)
    is_tls = address.startswith("rediss:")
    for said, remedy in _OF_CERTIFICATES.items():
        if is_tls and said in text:
            return Finding(Level.PROBLEM, "certificate", f"{address}: {text}", remedy)
    if "[SSL" in text or "_ssl.c" in text:
        return Finding(Level.PROBLEM, "TLS", f"{address}: {text}", _NO_TLS)
    if isinstance(error, exceptions.ResponseError):
        return Finding(Level.PROBLEM, "store", f"{address} refuses to serve: {text}", "see its log")
    other = _NO_TLS if is_tls else "a server with TLS needs rediss://"
    remedy = f"is it running, at this address, and reachable from here? And {other}"
    return Finding(Level.PROBLEM, "store", f"{address} does not answer: {text}", remedy)


def _speed(client: Redis, address: str) -> Finding:
    times = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        client.ping()
        times.append(time.perf_counter() - began)
    median = statistics.median(times)
    said = f"{address} answers in {1000 * median:.2f} ms"
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


def _megabytes(nbytes: int) -> str:
    return f"{nbytes / 1e6:.0f} MB" if nbytes >= 1e6 else f"{nbytes / 1e3:.0f} kB"
