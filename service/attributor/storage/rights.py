"""What the service must be allowed to do on its store, and whether it is. Knows every command that is sent there."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

from redis import Redis, exceptions

from attributor.storage.findings import Finding, Level
from attributor.storage.keys import Keys

#: What a user of the store's access lists needs; tests run the service's commands as such a one.
RIGHTS = "ACL SETUSER ... ~{keys}* &{keys}* +@all -@dangerous -@admin +info"
#: Of the keys that are tried, and taken away again.
_PROBE = "doctor"
_BOTH = ("MULTI", "EXEC")
#: Ours: a message from ourselves comes at once.
_MESSAGE_TIMEOUT_S = 5.0


def check_rights(client: Redis, keys: Keys) -> Iterator[Finding]:
    """Each command that the service sends, or its scripts do, on a key of ours that is taken away again."""
    names = [keys.prefix + f"{_PROBE}:{uuid4().hex}:{kind}" for kind in range(6)]
    refused: list[str] = []
    try:
        for command in _commands(*names):
            try:
                _execute(client, command)
            except exceptions.NoPermissionError as error:
                on_keys = "" if "permissions to run" in str(error) else f" on keys of '{keys.prefix}'"
                refused.append(f"{' and '.join(command) if command == _BOTH else command[0]}{on_keys}")
    except exceptions.RedisError as error:
        remedy = "it cannot serve as it is: see what was found before this"
        yield Finding(Level.PROBLEM, "writing", f"{command[0]}: {error}", remedy)
        return
    finally:
        with suppress(exceptions.RedisError):
            client.delete(*names)
    if refused:
        said = f"not allowed: {', '.join(refused)}"
        yield Finding(Level.PROBLEM, "rights", said, RIGHTS.format(keys=keys.prefix))
    else:
        yield Finding(Level.OK, "rights", "every command that the service needs is allowed")
    yield _channels(client, keys)


def _channels(client: Redis, keys: Keys) -> Finding:
    try:
        with client.pubsub() as heard:  # type: ignore[no-untyped-call]
            heard.subscribe(keys.key("desk", _PROBE))
            heard.get_message(timeout=_MESSAGE_TIMEOUT_S)
            client.publish(keys.key("desk", _PROBE), b"")
    except exceptions.NoPermissionError as error:
        said = f"channels may not be used ({error}): answers are fetched, not sent, which is slower"
        return Finding(Level.WARNING, "channels", said, f"ACL SETUSER ... &{keys.prefix}* +subscribe +publish")
    return Finding(Level.OK, "channels", "answers can be sent to whoever waits")


def _execute(client: Redis, command: tuple[Any, ...]) -> None:
    if command != _BOTH:
        with suppress(exceptions.NoScriptError):
            client.execute_command(*command)  # type: ignore[no-untyped-call]
        return
    connection = client.connection_pool.get_connection()  # its own: it may be left inside of a transaction
    try:
        for word in _BOTH:
            connection.send_command(word)  # type: ignore[no-untyped-call]
            connection.read_response()
    except exceptions.ExecAbortError as error:  # EXEC itself is not allowed
        raise exceptions.NoPermissionError(str(error)) from error
    finally:
        connection.disconnect()  # type: ignore[no-untyped-call]
        client.connection_pool.release(connection)


def _commands(text: str, number: str, fields: str, ranked: str, listed: str, stream: str) -> Iterator[tuple[Any, ...]]:
    """What the service says to a store, word by word: on keys of each kind, which are there when they are needed."""
    later, soon = round(1000 * (time.time() + 60)), 60_000  # should one of them stay, it is not for long
    yield from (("TIME",), _BOTH)
    yield from (("SET", text, "1", "PX", soon), ("GET", text), ("STRLEN", text), ("EXISTS", text))
    yield from (("INCRBY", number, 1), ("DECRBY", number, 1), ("PEXPIRE", number, soon), ("PEXPIREAT", number, later))
    yield from (
        ("HSET", fields, "a", 1),
        ("PEXPIRE", fields, soon),
        ("HGET", fields, "a"),
        ("HMGET", fields, "a"),
        ("HGETALL", fields),
    )
    yield from (("HVALS", fields), ("HINCRBY", fields, "a", 1), ("HINCRBYFLOAT", fields, "a", 0.5))
    yield from (("HEXISTS", fields, "a"), ("HDEL", fields, "a"))
    yield from (
        ("ZADD", ranked, 1, "a"),
        ("PEXPIRE", ranked, soon),
        ("ZCARD", ranked),
        ("ZSCORE", ranked, "a"),
        ("ZRANGE", ranked, 0, -1),
    )
    yield from (("ZCOUNT", ranked, 0, 1), ("ZREVRANGE", ranked, 0, -1), ("ZRANGEBYSCORE", ranked, 0, 1))
    yield from (("ZREVRANGEBYSCORE", ranked, 1, 0), ("ZREMRANGEBYSCORE", ranked, 5, 6), ("ZPOPMIN", ranked))
    yield from (("ZINCRBY", ranked, 1, "a"), ("ZRANK", ranked, "a"), ("PEXPIRE", ranked, soon), ("ZREM", ranked, "a"))
    yield from (("RPUSH", listed, "a"), ("PEXPIRE", listed, soon), ("LRANGE", listed, 0, -1), ("BLPOP", listed, 0.01))
    yield from (("XADD", stream, "*", "a", 1), ("PEXPIRE", stream, soon), ("XREAD", "COUNT", 1, "STREAMS", stream, "0"))
    yield ("XREVRANGE", stream, "+", "-", "COUNT", 1)
    yield from (("EVAL", "return redis.call('EXISTS', KEYS[1])", 1, text), ("EVALSHA", "0" * 40, 1, text))
    yield from (("PERSIST", text), ("PEXPIRE", text, soon), ("UNLINK", text), ("DEL", text))
