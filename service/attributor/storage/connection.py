"""The way to the Redis or Valkey server: connections, Lua scripts, and the one place where its errors get our names.

Knows the wire and where the scripts lie; must not know what the scripts or the keys mean.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any, Self, TypeVar

from redis import exceptions

from attributor.errors import StoreUnavailable
from attributor.storage.cluster import Nodes
from attributor.storage.keys import Keys, lua_constants
from attributor.storage.wire import Wire, WireLost, WireSilent, Word, open_wire

#: Ours: 0.05 + 0.1 + 0.2 + 0.4 s of pauses ride out a server's restart (0.1 to 0.6 s, measured).
_RETRIES = 4
_BACKOFF_S = 0.05

#: The longest that one command blocks; far enough below the longest silence, short enough to stop soon.
MAX_BLOCK_S = 2.0

#: Begin the replies of a server that is there, but cannot serve now. ASK: our slot is on its way to another node, and
#: no script may find a part of its keys only.
_REFUSALS = ("ASK ", "OOM", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "BUSY ")
#: That of one that reads its file: as good as not there yet.
_LOADING = "LOADING"
#: That of one that cannot write its file.
_CANNOT_PERSIST = "MISCONF"
#: Those of one that does not know us, or does not let us do all we need: to commands, and in scripts (Valkey, Redis).
_FORBIDDEN = ("NOAUTH", "NOPERM", "ERR ACL failure in script", "ERR The user executing the script can't")
#: Those after which a new connection may lead to another server, or have another standing: the primary's name stands
#: for another one after a failover, and a password holds from the next connection on.
_HANG_UP = ("READONLY", "NOAUTH")
_UNKNOWN_SCRIPT = "NOSCRIPT"

#: What stands before every script, in this order.
_SHARED_PARTS = ("common", "lines", "ends", "sharing")

T = TypeVar("T")


class RedisStore:
    """One server and one namespace, shared by all adapters of a process.

    `url`: redis://, rediss:// or unix://, as redis-py reads it. Connects at the first command. Every method raises
    StoreUnavailable when the server does not answer or cannot serve, after the wire's SILENCE_S at most if it is there
    and silent. What is sent is sent again after a lost connection, so it must do no harm twice. Of a cluster, the URL
    of any node will do.
    """

    def __init__(self, url: str, *, namespace: str = "attributor", retries: int = _RETRIES) -> None:
        self.keys = Keys(namespace)
        self._nodes = Nodes(url)
        self._retries = retries
        self._wire: Wire | None = None
        self._opening = asyncio.Lock()
        #: Connections that were tried and met silence: counted, so that all who wait for one share its end.
        self._silences = 0
        #: Connections that block, one command each, or listen: those at rest, and all.
        self._resting: list[Wire] = []
        self._blocking: set[Wire] = set()

    def unretried(self) -> "RedisStore":
        """The same store over connections of its own that report every loss at once."""
        return RedisStore(self._nodes.url, namespace=self.keys.namespace, retries=0)

    async def call(self, *command: Word) -> Any:
        """One command, and its reply: bytes, a number, None, or a list of such."""
        [reply] = await self.calls(command)
        return reply

    async def calls(self, *commands: tuple[Word, ...]) -> list[Any]:
        """Several commands at once, one after the other on the server, and their replies."""
        with _stated_errors():
            return await self._retried(lambda wire: wire.send(*commands))

    async def run(self, script: str, *arguments: Word) -> Any:
        """One script of `scripts/`, by name, and its reply."""
        digest, source = _source(script)
        words = (1, self.keys.prefix, *arguments)
        with _stated_errors():
            try:
                [reply] = await self._retried(lambda wire: wire.send(("EVALSHA", digest, *words)))
            except exceptions.ResponseError as error:
                if not str(error).startswith(_UNKNOWN_SCRIPT):
                    raise
                [reply] = await self._retried(lambda wire: wire.send(("EVAL", source, *words)))
        return reply

    async def block(
        self, command: tuple[Word, ...], before: tuple[Any, ...] | None = None, after: tuple[Any, ...] | None = None
    ) -> Any:
        """One command that waits on the server for at most MAX_BLOCK_S, over a connection that nobody else uses; and
        right before and after it, without another trip, a script each, with its arguments. The reply of what came
        last. The script before may come while the command waits already."""
        with _stated_errors():
            wire = self._resting.pop() if self._resting else await open_wire(self._nodes.url)
            self._blocking.add(wire)
            futures = wire.send(*self._by_digest(before), command, *self._by_digest(after))
            try:
                if before is not None:
                    await self._said(futures.pop(0), before)
                reply = [await future for future in futures][-1]
            except (WireLost, exceptions.ResponseError, StoreUnavailable) as error:
                if self._follow(error):
                    return await self.block(command, before, after)
                if after is None:  # what ends a wait by an error (a failover, a server that loads) ends the connection
                    raise WireLost(str(error)) from error
                if isinstance(error, WireSilent):
                    raise
                return await self.run(*after)
            else:
                self._resting.append(wire)
                return reply
            finally:
                self._blocking.discard(wire)
                if wire not in self._resting:
                    wire.close()  # replies may still come, and would be taken for those of the next command

    async def listen(self, channel: str, heard: Callable[[bytes], None]) -> Callable[[], bool]:
        """Subscribe to a channel over a connection of its own; `heard` is called with each message. What is returned
        says whether it is still listened to."""
        with _stated_errors():
            wire = await open_wire(self._nodes.url, heard)
            self._blocking = {each for each in self._blocking if not each.lost} | {wire}
            [subscribed] = wire.send(("SUBSCRIBE", channel))
            try:
                await subscribed
            except BaseException:
                self._blocking.discard(wire)
                wire.close()
                raise
        return lambda: not wire.lost

    async def _said(self, reply: asyncio.Future[Any], called: tuple[Any, ...]) -> None:
        """A script was called, or is now, if the server does not know it."""
        try:
            await reply
        except exceptions.ResponseError as error:
            if not str(error).startswith(_UNKNOWN_SCRIPT):
                raise
            await self.run(*called)

    def _by_digest(self, called: tuple[Any, ...] | None) -> tuple[tuple[Word, ...], ...]:
        if called is None:
            return ()
        script, *arguments = called
        return (("EVALSHA", _source(script)[0], 1, self.keys.prefix, *arguments),)

    async def close(self) -> None:
        """Close all connections."""
        for wire in (self._wire, *self._resting, *self._blocking):
            if wire is not None:
                wire.close()
        self._wire, self._resting = None, []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _retried(self, send: Callable[[Wire], list[asyncio.Future[Any]]]) -> list[Any]:
        for attempt in range(self._retries):
            try:
                return await self._followed(send)
            except WireSilent:
                raise
            except (WireLost, _Loading, _Elsewhere):
                pass
            await asyncio.sleep(_BACKOFF_S * 2**attempt)
        return await self._followed(send)

    async def _followed(self, send: Callable[[Wire], list[asyncio.Future[Any]]]) -> list[Any]:
        """From the node that has our keys. To be sent to another one is no loss, and is done at once."""
        try:
            return await self._replies(send)
        except _Elsewhere:
            return await self._replies(send)

    async def _replies(self, send: Callable[[Wire], list[asyncio.Future[Any]]]) -> list[Any]:
        wire = self._wire
        if wire is None or wire.lost:
            wire = await self._opened()
        futures = send(wire)
        try:
            return [await future for future in futures]
        except exceptions.ResponseError as error:
            if self._follow(error):
                raise _Elsewhere(str(error)) from error
            if str(error).startswith(_LOADING):
                raise _Loading(str(error)) from error
            if str(error).startswith(_HANG_UP):
                wire.close()
            raise

    def _follow(self, error: Exception) -> bool:
        """Whether a node of a cluster said that another one has our keys; from now on that one is asked."""
        if not isinstance(error, exceptions.ResponseError) or not self._nodes.follow(str(error)):
            return False
        for wire in (self._wire, *self._resting):
            if wire is not None:
                wire.close()
        self._wire, self._resting = None, []
        return True

    async def _opened(self) -> Wire:
        known = self._silences
        async with self._opening:
            if self._wire is None or self._wire.lost:
                if self._silences > known:
                    raise WireSilent("another who tried to connect meanwhile met silence")
                try:
                    wire = await open_wire(self._nodes.url)
                    await self._nodes.learn(wire)
                    self._wire = wire  # only now: others may turn to another node meanwhile
                except WireSilent:
                    self._silences += 1
                    self._nodes.try_another()
                    raise
                except WireLost:
                    self._nodes.try_another()
                    raise
            return self._wire


class _Loading(Exception):
    """The server is reading its file."""


class _Elsewhere(Exception):
    """Our keys are on another node of the cluster."""


@contextmanager
def _stated_errors() -> Iterator[None]:
    try:
        yield
    except (WireLost, _Loading, _Elsewhere, exceptions.ConnectionError) as error:
        # The text of the cause may hold a host or a path, which is not the client's business; the log has it.
        raise StoreUnavailable("the job store does not answer; try again in a few seconds") from error
    except exceptions.ResponseError as error:
        if str(error).startswith(_REFUSALS):
            raise StoreUnavailable("the job store has no room or takes no writes now; try again later") from error
        if str(error).startswith(_CANNOT_PERSIST):
            raise StoreUnavailable("the job store cannot write to its disk") from error
        if str(error).startswith(_FORBIDDEN):
            raise StoreUnavailable("the job store does not let the service in, or not do all that it needs") from error
        raise


@cache
def _source(script: str) -> tuple[str, str]:
    """The digest by which the server knows a script, and its text."""
    folder = files("attributor.storage") / "scripts"
    own = (folder / f"{script}.lua").read_text()
    # Flags are read from the first line only. Those of scripts that must run also where the store has no room left.
    flags, rest = own.split("\n", 1) if own.startswith("#!") else ("", own)
    shared = "".join((folder / f"_{part}.lua").read_text() for part in _SHARED_PARTS)
    text = f"{flags}\n" * bool(flags) + lua_constants() + shared + rest
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text
