"""One connection to the server that many callers share: commands go out together, replies come back in their order.

Knows the protocol's framing and nothing of what is said. redis-py opens the connection (addresses, TLS, names and
passwords, databases); what follows is done here, because its calls cost ten times as much processor time as these:
a checkout of a connection, a task switch and a system call for each command (0.2 ms, measured), where these share one
system call per turn of the event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

#: redis-py 8 gives up on a silent server after 5 s; ours is longer than a save of the server's file takes (the server
#: itself waits 2 s for the disk before it holds up its clients), and no longer than a client would wait.
SILENCE_S = 10.0
#: Ours: a server that cannot take and greet a connection for so long is as good as down.
_CONNECT_TIMEOUT_S = 5.0

Word = str | int | float | bytes | memoryview


class WireLost(Exception):
    """The connection is gone, or was never made; whether the server acted on what was sent is unknown."""


class WireSilent(WireLost):
    """The server is there, but says nothing. To ask again would take as long again."""


class Wire(asyncio.Protocol):
    """An open connection. `send` from the event loop's thread only."""

    def __init__(self, connection: Any, heard: Callable[[bytes], None] | None = None) -> None:
        """Takes over what redis-py has opened; nothing has been asked of it whose reply is still to come. `heard` is
        called with each message of the channels that the connection subscribes to."""
        self._writer = connection._writer  # which would close the connection when it is collected
        self._transport: asyncio.WriteTransport = self._writer.transport
        self._transport.set_protocol(self)
        connection._reader = connection._writer = None  # else it warns of what was not closed
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=exceptions.ResponseError)
        self._unsent: list[bytes] = []
        self._awaited: deque[asyncio.Future[Any]] = deque()
        self._heard = heard
        #: When something was last heard, or first waited for, by the loop's clock.
        self._heard_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.lost = False

    def send(self, *commands: tuple[Word, ...]) -> list[asyncio.Future[Any]]:
        """A future per command: its reply (bytes, numbers, lists, None), or ResponseError or WireLost."""
        futures = [self._loop.create_future() for _ in commands]
        if self.lost:
            raise WireLost("the connection was lost")
        if not self._unsent:
            self._loop.call_soon(self._flush)  # after all that is ready to run now, and may send, too
        self._unsent.extend(hiredis.pack_command(command) for command in commands)  # type: ignore[arg-type]  # its stub says one word
        if not self._awaited:
            self._heard_s = self._loop.time()
        self._awaited.extend(futures)
        if self._watch is None:
            self._watch = self._loop.call_later(SILENCE_S, self._look)
        return futures

    def close(self) -> None:
        """Hang up; what is awaited ends as WireLost."""
        self._end("the connection was closed")

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        self._heard_s = self._loop.time()
        self._reader.feed(data)
        while (self._awaited or self._heard) and (reply := self._reader.gets()) is not False:
            if self._heard and type(reply) is list and reply[0] == b"message":
                self._heard(reply[2])
                continue
            future = self._awaited.popleft()
            if future.done():
                continue  # whoever asked was cancelled
            if isinstance(reply, Exception):
                future.set_exception(reply)
                future.exception()  # nobody may be waiting for it any more
            else:
                future.set_result(reply)

    def eof_received(self) -> None:
        """Called by the transport, which then closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        self._end(f"the connection was lost: {exc or 'the server hung up'}")

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not self.lost:
            self._transport.write(b"".join(unsent))

    def _look(self) -> None:
        """Whether the server has been silent for too long; looks again when that may be."""
        self._watch = None
        left_s = self._heard_s + SILENCE_S - self._loop.time()
        if self._awaited and left_s <= 0:
            self._end(f"the server has said nothing for {SILENCE_S:.0f} s", WireSilent)
        elif self._awaited:
            self._watch = self._loop.call_later(left_s, self._look)

    def _end(self, why: str, lost: type[WireLost] = WireLost) -> None:
        if self.lost:
            return
        self.lost = True
        if self._watch is not None:
            self._watch.cancel()
        self._transport.abort()
        for future in self._awaited:
            if not future.done():
                future.set_exception(lost(why))
                future.exception()  # nobody may be waiting for it any more
        self._awaited.clear()


async def open_wire(url: str, heard: Callable[[bytes], None] | None = None) -> Wire:
    """A connection to `url` as redis-py reads it, whatever protocol it names: replies are of RESP2, whose shapes are
    the same for all servers. `heard`: see Wire. Raises WireLost, also where the server refuses the password;
    WireSilent."""
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=SILENCE_S,
        socket_connect_timeout=SILENCE_S,
        retry=Retry(NoBackoff(), 0),
    )
    pool.connection_kwargs["protocol"] = 2
    connection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):  # for the whole of it; redis-py's are for each step
            await connection.connect()
    except TimeoutError as error:
        await connection.disconnect(nowait=True)
        raise WireSilent(f"no connection within {_CONNECT_TIMEOUT_S:.0f} s") from error
    except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
        raise WireLost(str(error)) from error
    except asyncio.CancelledError:
        await connection.disconnect(nowait=True)
        raise
    return Wire(connection, heard)
