"""How the store is reached, against real servers."""

import asyncio
from collections.abc import Iterator

import pytest
from attributor.errors import StoreUnavailable
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from contracts.servers import server
from redis import Redis


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose users may be changed."""
    with server(request.param, tmp_path_factory.mktemp("users")) as url:
        yield url


@pytest.fixture
def admin(server_url: str) -> Iterator[Redis]:
    with Redis.from_url(server_url) as client:
        yield client


@pytest.fixture
def user_url(server_url: str, admin: Redis) -> str:
    """Of a user with all rights."""
    admin.execute_command("ACL", "SETUSER", "user", "reset", "on", ">word", "~*", "&*", "+@all")
    return server_url.replace("://", "://user:word@")


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


@pytest.mark.parametrize(
    "rules",
    ["-get -evalsha -eval", "resetkeys ~elsewhere", "-time", "-zrangebyscore"],
    ids=["commands", "keys", "one command", "one command in a script"],
)
async def test_rights_that_are_taken_away_meanwhile_are_missed_until_they_are_back(admin, user_url, rules):
    async with RedisStore(user_url) as store:
        await both(store)
        admin.execute_command("ACL", "SETUSER", "user", *rules.split())
        with pytest.raises(StoreUnavailable, match="does not let"):
            await both(store)
        admin.execute_command("ACL", "SETUSER", "user", "~*", "+@all")
        await both(store)


@pytest.mark.parametrize("rules", ["reset", "resetpass", "off", "resetpass >newer"])
async def test_credentials_that_expire_meanwhile_are_missed_until_they_are_valid_again(admin, user_url, rules):
    async with RedisStore(user_url, retries=0) as store:
        await both(store)
        admin.execute_command("ACL", "SETUSER", "user", *rules.split())
        admin.execute_command("CLIENT", "KILL", "USER", "user")
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await both(store)
        admin.execute_command("ACL", "SETUSER", "user", "on", ">word", "~*", "&*", "+@all")
        await both(store)


async def test_a_password_that_is_asked_for_meanwhile_is_missed(admin, server_url):
    async with RedisStore(server_url, retries=0) as store:
        await both(store)
        admin.execute_command("CONFIG", "SET", "requirepass", "word")
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(StoreUnavailable):
            await both(store)
        admin.execute_command("CONFIG", "SET", "requirepass", "")
        await both(store)


async def both(store: RedisStore) -> None:
    """A command and a script."""
    await store.call("GET", store.keys.key("seq"))
    await store.run("reap", 1, 1, b"", b"")


async def test_a_primary_that_has_become_a_replica_is_left_for_who_has_its_address_now(tmp_path):
    """As where a name leads to the new primary after a failover, while connections stay at the old one."""
    with server("valkey", tmp_path / "old") as old, server("valkey", tmp_path / "new") as new:
        address = tmp_path / "primary"
        address.symlink_to(old.removeprefix("unix://"))
        async with RedisStore(f"unix://{address}") as store:
            await store.call("SET", store.keys.key("seq"), 1)
            await store.call("REPLICAOF", "127.0.0.1", "1")
            address.unlink()
            address.symlink_to(new.removeprefix("unix://"))
            with pytest.raises(StoreUnavailable):
                await store.call("INCR", store.keys.key("seq"))
            assert await store.call("INCR", store.keys.key("seq")) == 1
