"""The way to the Redis or Valkey server: connections, Lua scripts, and the one place where its errors get our names.

Knows redis-py and where the scripts lie; must not know what the scripts or the keys mean.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any, Self

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from attributor.errors import StoreUnavailable
from attributor.storage.keys import Keys, lua_constants

#: redis-py 8 gives up on a silent server after 5 s; ours is longer than any save of the server's file may take.
_SOCKET_TIMEOUT_S = 30.0
#: Ours: a server that cannot take a connection for so long is as good as down.
_CONNECT_TIMEOUT_S = 5.0
#: Ours: waiting longer for one of our own connections than a client waits for an answer helps nobody.
_POOL_TIMEOUT_S = 10.0
#: Ours: far more commands than one event loop has under way at once; each takes about a millisecond.
_MAX_CONNECTIONS = 32
#: Ours: 0.1 + 0.2 + 0.4 s of pauses ride out a server's restart (0.1 to 0.6 s, measured).
_RETRIES = 3
_BACKOFF_BASE_S, _BACKOFF_CAP_S = 0.05, 0.5

#: The longest that one command blocks; far enough below the socket timeout, short enough to stop soon.
MAX_BLOCK_S = 2.0

#: Replies of a server that is there, but cannot serve now.
_REFUSALS = (
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)
#: Begins the reply of a server that cannot write its file; redis-py has no class for it.
_CANNOT_PERSIST = "MISCONF"


class RedisStore:
    """One server and one namespace, shared by all adapters of a process.

    `url`: redis://, rediss:// or unix://, as redis-py reads it. Connects at the first command. Every method raises
    StoreUnavailable when the server does not answer or cannot serve.
    """

    def __init__(self, url: str, *, namespace: str = "attributor", retries: int = _RETRIES) -> None:
        self.keys = Keys(namespace)
        self._url = url
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=_POOL_TIMEOUT_S,
            socket_timeout=_SOCKET_TIMEOUT_S,
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            retry=Retry(ExponentialBackoff(cap=_BACKOFF_CAP_S, base=_BACKOFF_BASE_S), retries),
        )
        self._client = Redis.from_pool(pool)
        self._scripts: dict[str, Any] = {}

    def unretried(self) -> "RedisStore":
        """The same store over connections of its own that report every loss at once."""
        return RedisStore(self._url, namespace=self.keys.namespace, retries=0)

    async def call(self, *command: str | bytes | int | float) -> Any:
        """One command, and its reply as redis-py parses it."""
        with _stated_errors():
            return await self._client.execute_command(*command)  # type: ignore[no-untyped-call, unused-ignore]

    async def run(self, script: str, *arguments: str | bytes | int | float) -> Any:
        """One script of `scripts/`, by name, and its reply."""
        if script not in self._scripts:
            self._scripts[script] = self._client.register_script(_source(script))
        with _stated_errors():
            return await self._scripts[script](keys=[self.keys.prefix], args=arguments)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


@contextmanager
def _stated_errors() -> Iterator[None]:
    try:
        yield
    except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
        # The text of the cause may hold a host or a path, which is not the client's business; the log has it.
        raise StoreUnavailable("the job store does not answer; try again in a few seconds") from error
    except _REFUSALS as error:
        raise StoreUnavailable("the job store has no room or takes no writes now; try again later") from error
    except exceptions.ResponseError as error:
        if str(error).startswith(_CANNOT_PERSIST):
            raise StoreUnavailable("the job store cannot write to its disk") from error
        raise


@cache
def _source(script: str) -> str:
    folder = files("attributor.storage") / "scripts"
    parts = (lua_constants(), (folder / "_common.lua").read_text(), (folder / f"{script}.lua").read_text())
    return "".join(parts)
