"""What the check of a store says of real servers with something wrong with them."""

import re
import shutil
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from attributor.jobs.job import Progress
from attributor.jobs.result import PartialResult
from attributor.jobs.state import JobState
from attributor.storage import checkup, embedded, rights
from attributor.storage.checkup import check_store, shown
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.findings import Finding, Level
from attributor.storage.keys import Keys
from attributor.storage.redis_fleet import RedisFleet
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_queue import RedisJobQueue
from contracts.servers import redis_server
from redis import Redis, exceptions

NAMESPACE = "attributor"


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedStore]:
    if request.param == "redis":
        monkeypatch.setattr(embedded, "find_server", redis_server)
    server = EmbeddedStore(tmp_path)
    assert server.start()
    yield server
    server.stop()


@pytest.fixture
def admin(server: EmbeddedStore) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        yield client


def wrong(url: str) -> dict[str, Finding]:
    """What is not as it should be, by what it is about."""
    return {each.about: each for each in check_store(url, NAMESPACE) if each.level is not Level.OK}


def as_user(server: EmbeddedStore, name: str, password: str) -> str:
    return server.url.replace("unix://", f"unix://{name}:{password}@")


def test_the_embedded_server_is_as_it_should_be_and_nothing_is_left_on_it(server, admin):
    found = list(check_store(server.url, NAMESPACE))
    assert {each.level for each in found} == {Level.OK}, found
    assert {each.about for each in found} > {"store", "version", "role", "eviction", "memory", "persistence", "rights"}
    assert admin.dbsize() == 0


@pytest.mark.parametrize(("most", "level"), [("100mb", Level.PROBLEM), ("0", Level.WARNING)])
def test_an_eviction_policy_is_named(server, admin, most, level):
    admin.config_set("maxmemory", most)
    admin.config_set("maxmemory-policy", "allkeys-lru")
    found = wrong(server.url)["eviction"]
    assert found.level is level
    assert "allkeys-lru" in found.said
    assert "noeviction" in found.remedy


def test_a_full_server_is_named(server, admin):
    admin.config_set("maxmemory", "1")
    found = wrong(server.url)
    assert found["memory"].level is Level.PROBLEM
    assert "full" in found["memory"].said
    assert "SET" in found["writing"].said
    assert admin.dbsize() == 0


def test_a_server_without_a_bound_is_named(server, admin):
    admin.config_set("maxmemory", 0)
    assert wrong(server.url)["memory"].level is Level.WARNING


def test_a_replica_is_named_with_its_primary(server, admin):
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    found = wrong(server.url)
    assert "127.0.0.1:1" in found["role"].remedy
    assert "read only replica" in found["writing"].said


def test_a_server_that_keeps_no_file_is_named(server, admin):
    admin.config_set("appendonly", "no")
    assert wrong(server.url)["persistence"].level is Level.WARNING


def test_wrong_and_missing_credentials_are_named_without_telling_them(server, admin):
    admin.execute_command("ACL", "SETUSER", "old", "on", ">secret", "~*", "&*", "+@all")
    assert wrong(as_user(server, "old", "secret")) == {}
    admin.execute_command("ACL", "SETUSER", "old", "resetpass", ">newer")
    found = wrong(as_user(server, "old", "secret"))
    assert list(found) == ["credentials"]
    assert "secret" not in str(found)
    admin.execute_command("ACL", "SETUSER", "default", "resetpass", ">closed")
    assert list(wrong(server.url)) == ["credentials"]


@pytest.mark.parametrize(
    ("rules", "about", "said"),
    [
        ("~* &* +@all -zpopmin", "rights", "ZPOPMIN"),
        ("~other* &* +@all", "rights", "SET on keys of '{attributor}:'"),
        ("~* &* +@all -@scripting", "rights", "EVAL"),
        ("~* &* +@all -@transaction", "rights", "MULTI and EXEC"),
        ("~* &* +@all -exec", "rights", "MULTI and EXEC"),
        ("~* &* +@all -time", "rights", "not allowed: TIME"),
        ("~* &* +@all -del", "rights", "not allowed: DEL"),
        ("~* &* -@all", "rights", "ping"),
        ("~* resetchannels +@all", "channels", "fetched"),
        ("~* &* +@all -info", "state", "not known"),
    ],
)
def test_missing_rights_are_named(server, admin, rules, about, said):
    admin.execute_command("ACL", "SETUSER", "keymaker", "on", ">word", *rules.split())
    found = wrong(as_user(server, "keymaker", "word"))
    assert list(found) == [about]
    assert said in found[about].said
    assert found[about].remedy
    assert all(admin.pttl(key) > 0 for key in admin.scan_iter())  # what it may not take away goes by itself


@pytest.fixture
def advised(server: EmbeddedStore, admin: Redis) -> str:
    """The URL of a user with the rights that are advised."""
    rules = rights.RIGHTS.format(keys="{attributor}:").split()[3:]
    assert len(rules) > 4
    admin.execute_command("ACL", "SETUSER", "user", "on", ">word", *rules)
    return as_user(server, "user", "word")


def test_with_the_rights_that_it_advises_nothing_is_wrong(advised):
    assert wrong(advised) == {}


async def test_with_the_rights_that_it_advises_a_job_goes_its_way(advised, make_spec, answer):
    async with RedisStore(advised, namespace=NAMESPACE) as store:
        queue, jobs, fleet = RedisJobQueue(store), RedisJobStore(store), RedisFleet(store)
        spec = make_spec(deadline_s=60.0)
        asked = await queue.enqueue(spec, idempotency_key="k", content_key="c")
        [job] = await queue.claim(1, wait_s=0.1, keen=True)
        await queue.beat({job.lease: Progress(3, 0.1, 0)})
        await queue.publish(job.lease, PartialResult(()))
        await jobs.partial(asked.job_id)
        await queue.reap()
        assert await queue.finish(job.lease, answer)
        found = await jobs.answered(asked.job_id, tenant=spec.tenant)
        assert found is not None
        assert found[0].state is JobState.SUCCEEDED
        assert (await jobs.page(tenant=spec.tenant, limit=5, cursor=None, state=None, model=None)).records
        assert await jobs.erase(asked.job_id, tenant=spec.tenant)
        await fleet.beat_worker("w")
        assert await fleet.workers_alive() == 1
        await queue.leave()


def test_a_server_that_is_not_there_is_named(tmp_path):
    assert wrong(f"unix://{tmp_path}/none.sock")["store"].level is Level.PROBLEM
    assert "does not answer" in wrong("redis://127.0.0.1:1/0")["store"].said


def test_every_command_that_the_store_is_sent_is_tried():
    folder = Path(str(files("attributor.storage")))
    scripts = (folder / "scripts").glob("*.lua")
    of_scripts = {name for path in scripts for name in re.findall(r"call\([^)]*?'([A-Z]{3,})'", path.read_text())}
    of_adapters = {
        name for path in folder.glob("redis_*.py") for name in re.findall(r"\(\"([A-Z]{3,})\"", path.read_text())
    }
    tried = {command[0] for command in rights._commands(*"abcdef")} | {"PUBLISH", "SUBSCRIBE", "EXEC"}
    assert {"XADD", "ZPOPMIN"} < of_scripts
    assert len(of_adapters) > 5
    assert of_scripts | of_adapters | {"EVAL", "EVALSHA", "MULTI"} <= tried


@pytest.mark.parametrize(
    ("version", "level"), [("6.2.14", Level.PROBLEM), ("7.0.15", Level.OK), ("10.1", Level.OK), ("", Level.PROBLEM)]
)
def test_an_old_redis_is_named(version, level):
    assert checkup._version({"redis_version": version}).level is level


def test_a_server_that_cannot_write_its_file_is_named(server, admin):
    admin.set("key", "value")
    admin.config_set("save", "3600 1")  # for then it refuses writes after a snapshot that failed
    folder = Path(admin.config_get("dir")["dir"]) / admin.config_get("dbfilename")["dbfilename"]
    folder.mkdir()
    (folder / "so that it cannot be replaced").touch()
    admin.bgsave()
    while admin.info("persistence")["rdb_bgsave_in_progress"]:
        time.sleep(0.01)
    found = wrong(server.url)
    assert "rdb_last_bgsave_status" in found["persistence"].said
    assert "MISCONF" in found["writing"].said
    assert "store" not in found
    shutil.rmtree(folder)
    admin.config_set("save", "")  # so that it ends without


@pytest.mark.parametrize(
    ("error", "about"),
    [
        (exceptions.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "certificate"),
        (exceptions.ConnectionError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS"),
        (exceptions.NoPermissionError("NOPERM"), "rights"),
        (exceptions.TimeoutError("Timeout reading from socket"), "store"),
        (exceptions.ConnectionError("Error 111 connecting to ssl-cache.internal:6379."), "store"),
    ],
)
def test_what_keeps_it_from_being_reached_is_told_apart(error, about):
    assert checkup._unusable("rediss://host", Keys(NAMESPACE), error).about == about


def test_one_that_reads_its_file_is_waited_for():
    found = checkup._unusable("redis://host", Keys(NAMESPACE), exceptions.BusyLoadingError("LOADING"))
    assert (found.level, found.remedy[:4]) == (Level.PROBLEM, "wait")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://host:1/0", "redis://host:1/0"),
        ("rediss://me:hush@host:1/0?ssl_password=hush", "rediss://host:1/0"),
        ("redis://:hush@host", "redis://host"),
        ("unix://me:hush@/a/b.sock?password=hush", "unix:///a/b.sock"),
        ("redis://:hu/sh@host:1/0", None),
        ("redis://:12/hush@host", None),
        ("redis://:hu#sh@host", None),
        ("redis://:hu?sh@host", None),
        ("redis://:hu[sh]@host", None),
        ("redis://me:hush@host:port", None),
    ],
)
def test_a_password_is_never_shown(url, address):
    assert shown(url) == address
    found = [] if address else wrong(url)
    assert not any(part in str(found) for part in ("hu/", "sh@", "hush"))


@pytest.mark.parametrize("url", ["redis://h/0?ssl_ca_certs=x", "redis://h?socket_timeout=soon", "redis://a..b"])
def test_a_url_that_cannot_be_used_is_a_finding(url):
    (found,) = check_store(url, NAMESPACE)
    assert (found.level, found.about) == (Level.PROBLEM, "store")
