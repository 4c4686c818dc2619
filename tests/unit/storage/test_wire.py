"""A shared connection: order, losses, silence, cancellations, against a server that does what the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from attributor.errors import StoreUnavailable
from attributor.storage import wire as wires
from attributor.storage.connection import RedisStore
from attributor.storage.wire import WireLost, open_wire


class Obedient:
    """Speaks just enough of the protocol: agrees to how redis-py greets it, then answers as it is told."""

    def __init__(self) -> None:
        self.heard = b""
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while data := await reader.read(65536):
            greetings = data.count(b"SETINFO")
            if greetings:
                writer.write(b"+OK\r\n" * greetings)
            else:
                self.heard += data

    def say(self, data: bytes) -> None:
        self.writers[-1].write(data)

    def hang_up(self) -> None:
        self.writers[-1].close()

    async def hears(self, words: bytes) -> None:
        async with asyncio.timeout(5):
            while words not in self.heard:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def obedient(tmp_path) -> AsyncIterator[tuple[Obedient, str]]:
    server = Obedient()
    listening = await asyncio.start_unix_server(server.serve, tmp_path / "s")
    try:
        yield server, f"unix://{tmp_path}/s"
    finally:
        listening.close()
        for writer in server.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_replies_go_to_who_asked_also_where_somebody_no_longer_waits(tmp_path):
    async with obedient(tmp_path) as (server, url):
        wire = await open_wire(url)
        first, second, third = wire.send(("A",), ("B",), ("C",))
        await server.hears(b"C\r\n")
        second.cancel()
        server.say(b"+one\r\n:2\r\n*2\r\n$-1\r\n$1\r\nx\r\n")
        assert await first == b"one"
        assert await third == [None, b"x"]
        wire.close()


async def test_a_reply_in_pieces_is_put_together(tmp_path):
    async with obedient(tmp_path) as (server, url):
        wire = await open_wire(url)
        [future] = wire.send(("GET", "x"))
        await server.hears(b"x\r\n")
        for piece in (b"$1", b"0\r\n01234", b"56789\r", b"\n"):
            server.say(piece)
            await asyncio.sleep(0.005)
        assert await future == b"0123456789"
        wire.close()


async def test_what_is_asked_in_one_turn_goes_out_in_one_piece(tmp_path):
    async with obedient(tmp_path) as (server, url):
        wire = await open_wire(url)
        for word in "abc":
            wire.send((word,))
        await server.hears(b"c\r\n")
        assert server.heard == b"*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n*1\r\n$1\r\nc\r\n"
        wire.close()


async def test_a_lost_connection_ends_all_that_is_awaited_and_takes_no_more(tmp_path):
    async with obedient(tmp_path) as (server, url):
        wire = await open_wire(url)
        futures = wire.send(("A",), ("B",))
        await server.hears(b"B\r\n")
        server.hang_up()
        for future in futures:
            with pytest.raises(WireLost):
                await future
        assert wire.lost
        with pytest.raises(WireLost):
            wire.send(("C",))


async def test_a_server_that_says_nothing_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(wires, "SILENCE_S", 0.05)
    async with obedient(tmp_path) as (server, url):
        wire = await open_wire(url)
        first, second = wire.send(("A",), ("B",))
        await server.hears(b"B\r\n")
        await asyncio.sleep(0.03)
        server.say(b"+slow\r\n")  # it is not silent, so it gets as long again
        assert await first == b"slow"
        with pytest.raises(WireLost, match="nothing for"):
            await asyncio.wait_for(second, 1)


async def test_a_command_whose_reply_was_lost_is_sent_again(tmp_path):
    async with obedient(tmp_path) as (server, url), RedisStore(url) as store:
        asking = asyncio.create_task(store.call("GET", "x"))
        await server.hears(b"x\r\n")
        server.heard = b""
        server.hang_up()
        await server.hears(b"x\r\n")
        server.say(b"$1\r\ny\r\n")
        assert await asking == b"y"
        assert server.connections == 2


async def test_silence_is_measured_from_the_last_that_was_heard(tmp_path, monkeypatch):
    monkeypatch.setattr(wires, "SILENCE_S", 0.3)
    async with obedient(tmp_path) as (server, url):
        wire = await open_wire(url)
        [first] = wire.send(("A",))
        await server.hears(b"A\r\n")
        server.say(b"+prompt\r\n")
        await first
        [second] = wire.send(("B",))
        with pytest.raises(WireLost, match="nothing for"):
            await asyncio.wait_for(second, 0.45)


async def test_a_silent_server_is_not_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(wires, "SILENCE_S", 0.1)
    async with obedient(tmp_path) as (server, url), RedisStore(url) as store:
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(store.call("GET", "x"), 1)
        assert (server.connections, server.heard.count(b"GET")) == (1, 1)
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(store.block(("BLPOP", "x", 1), after=("claim", 1)), 0.15)


async def test_all_who_wait_for_a_connection_to_a_silent_server_are_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(wires, "_CONNECT_TIMEOUT_S", 0.1)
    monkeypatch.setattr(Obedient, "serve", lambda self, reader, writer: self.writers.append(writer))
    async with obedient(tmp_path) as (server, url), RedisStore(url) as store:
        outcomes = asyncio.gather(*(store.call("GET", str(n)) for n in range(20)), return_exceptions=True)
        assert {type(each) for each in await asyncio.wait_for(outcomes, 1)} == {StoreUnavailable}
        assert len(server.writers) == 1


@pytest.mark.parametrize("reply", [b"-OOM no room\r\n", b"-MISCONF no disk\r\n", b"-READONLY replica\r\n"])
async def test_a_server_that_cannot_serve_is_stated(tmp_path, reply):
    async with obedient(tmp_path) as (server, url), RedisStore(url) as store:
        asking = asyncio.create_task(store.call("SET", "x", 1))
        await server.hears(b"x\r\n")
        server.say(reply)
        with pytest.raises(StoreUnavailable):
            await asking


async def test_a_server_that_reads_its_file_is_asked_again(tmp_path):
    async with obedient(tmp_path) as (server, url), RedisStore(url) as store:
        asking = asyncio.create_task(store.call("GET", "x"))
        await server.hears(b"x\r\n")
        server.heard = b""
        server.say(b"-LOADING the dataset\r\n")
        await server.hears(b"x\r\n")
        server.say(b"$1\r\ny\r\n")
        assert await asking == b"y"


async def test_a_wait_that_is_cancelled_leaves_no_reply_to_the_next(tmp_path):
    async with obedient(tmp_path) as (server, url), RedisStore(url) as store:
        waiting = asyncio.create_task(store.block(("BLPOP", "bell", 1)))
        await server.hears(b"bell")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        again = asyncio.create_task(store.block(("BLPOP", "other", 1)))
        await server.hears(b"other")
        server.say(b"$1\r\nz\r\n")
        assert await again == b"z"
        assert server.connections == 2


async def test_a_wait_uses_a_connection_of_its_own_and_keeps_it(tmp_path):
    async with obedient(tmp_path) as (server, url), RedisStore(url) as store:
        for n in range(3):
            waiting = asyncio.create_task(store.block(("BLPOP", f"bell{n}", 1)))
            await server.hears(b"bell%d" % n)
            server.say(b"*-1\r\n")
            assert await waiting is None
        assert server.connections == 1
