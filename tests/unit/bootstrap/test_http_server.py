"""How an answer goes out: over real sockets, with the writes counted below."""

import asyncio
import socket

import pytest
from attributor.bootstrap.http_server import GatheringTransport


class Counting:
    """A transport's writes, passed on and counted."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes = 0

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def writelines(self, data):
        self.writes += 1
        self._transport.writelines(data)


@pytest.fixture
async def ends():
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    below = Counting(transport)
    yield GatheringTransport(below, loop), below, reader
    transport.close()
    writer.close()
    await writer.wait_closed()


async def test_what_is_written_in_a_turn_goes_out_together_and_in_order(ends):
    transport, below, reader = ends
    for part in (b"head ", b"", b"body"):
        transport.write(part)
    assert await reader.readexactly(9) == b"head body"
    assert below.writes == 1
    transport.write(b"more")
    assert await reader.readexactly(4) == b"more"
    assert below.writes == 2


async def test_what_is_held_is_sent_before_the_end(ends):
    transport, _, reader = ends
    transport.write(b"last words")
    transport.close()
    assert transport.is_closing()
    assert await reader.read() == b"last words"


async def test_an_abort_sends_nothing_more(ends):
    transport, _, reader = ends
    transport.write(b"last words")
    transport.abort()
    assert await reader.read() == b""
