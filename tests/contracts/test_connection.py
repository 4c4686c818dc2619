"""How the store is reached, against real servers."""

import asyncio

import pytest
from attributor.errors import StoreUnavailable
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore


@pytest.mark.parametrize("protocol", [2, 3])
async def test_replies_have_one_shape_whatever_protocol_an_address_names(store_url, protocol):
    more = "&" if "?" in store_url else "?"
    async with RedisStore(f"{store_url}{more}protocol={protocol}", namespace="test-shapes") as store:
        await store.call("HSET", store.keys.key("counters"), "a", 1)
        assert await store.call("HGETALL", store.keys.key("counters")) == [b"a", b"1"]
        await store.call("DEL", store.keys.key("counters"))


async def test_passwords_and_databases_of_an_address_are_used(tmp_path):
    server = EmbeddedStore(tmp_path)
    server.start()
    try:
        async with RedisStore(f"{server.url}?db=3") as third, RedisStore(server.url) as first:
            await third.call("SET", "x", 3)
            assert await first.call("GET", "x") is None
            await third.call("CONFIG", "SET", "requirepass", "secret")
        path = server.url.removeprefix("unix://")
        async with RedisStore(f"unix://:secret@{path}?db=3") as knowing:
            assert await knowing.call("GET", "x") == b"3"
            assert await knowing.block(("BLPOP", "nothing", 0.01)) is None
        async with RedisStore(f"unix://:wrong@{path}") as guessing:
            with pytest.raises(StoreUnavailable):
                await guessing.unretried().call("PING")
    finally:
        server.stop()


async def test_many_callers_share_one_connection(store, store_url):
    async def clients() -> int:
        said = dict(line.split(b":") for line in (await store.call("INFO", "clients")).splitlines() if b":" in line)
        return int(said[b"connected_clients"])

    before = await clients()
    async with RedisStore(store_url, namespace=store.keys.namespace) as busy:
        replies = await asyncio.gather(*(busy.call("ECHO", str(n)) for n in range(200)))
        assert replies == [str(n).encode() for n in range(200)]
        assert await clients() == before + 1


async def test_a_script_that_the_server_forgot_is_sent_again(store, queue, make_spec):
    await queue.enqueue(make_spec())
    await store.call("SCRIPT", "FLUSH")
    await queue.enqueue(make_spec())
    assert len(await queue.claim(9)) == 2
