"""What the check of a store says of real servers with something wrong with them."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from attributor.storage import checkup
from attributor.storage.checkup import Finding, Level, check_store, without_secret
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.keys import Keys
from redis import Redis, exceptions

NAMESPACE = "attributor"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedStore]:
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
        ("~* &* +@all -@transaction", "rights", "MULTI"),
        ("~* resetchannels +@all", "channels", "fetched"),
        ("~* &* +@all -info", "state", "not known"),
    ],
)
def test_missing_rights_are_named(server, admin, rules, about, said):
    admin.execute_command("ACL", "SETUSER", "user", "on", ">word", *rules.split())
    found = wrong(as_user(server, "user", "word"))
    assert list(found) == [about]
    assert said in found[about].said
    assert found[about].remedy


def test_the_rights_that_it_advises_are_enough(server, admin):
    rules = ["~{attributor}:*", "&{attributor}:*", "+@all", "-@dangerous", "-@admin", "+info"]
    admin.execute_command("ACL", "SETUSER", "user", "on", ">word", *rules)
    assert wrong(as_user(server, "user", "word")) == {}


def test_a_server_that_is_not_there_is_named(tmp_path):
    assert wrong(f"unix://{tmp_path}/none.sock")["store"].level is Level.PROBLEM
    assert "does not answer" in wrong("redis://127.0.0.1:1/0")["store"].said


def test_every_command_that_the_store_is_sent_is_tried():
    folder = Path(str(files("attributor.storage")))
    scripts = (folder / "scripts").glob("*.lua")
    of_scripts = {name for path in scripts for name in re.findall(r"call\('([A-Z]+)'", path.read_text())}
    of_adapters = {
        name for path in folder.glob("redis_*.py") for name in re.findall(r"\(\"([A-Z]{3,})\"", path.read_text())
    }
    tried = {command[0] for command in checkup._commands(*"abcdef")} | {"PUBLISH", "SUBSCRIBE", "EXEC"}
    assert len(of_scripts) > 20
    assert len(of_adapters) > 5
    assert of_scripts | of_adapters <= tried


@pytest.mark.parametrize(
    ("version", "level"), [("6.2.14", Level.PROBLEM), ("7.0.15", Level.OK), ("10.1", Level.OK), ("", Level.PROBLEM)]
)
def test_an_old_redis_is_named(version, level):
    assert checkup._version({"redis_version": version}).level is level


def test_a_server_that_cannot_write_its_file_is_named():
    (found,) = checkup._persistence({"aof_enabled": 1, "aof_last_write_status": "err"})
    assert (found.level, "aof_last_write_status" in found.said) == (Level.PROBLEM, True)


@pytest.mark.parametrize(
    ("error", "about"),
    [
        (exceptions.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "certificate"),
        (exceptions.ConnectionError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS"),
        (exceptions.NoPermissionError("NOPERM"), "rights"),
        (exceptions.TimeoutError("Timeout reading from socket"), "store"),
    ],
)
def test_what_keeps_it_from_being_reached_is_told_apart(error, about):
    assert checkup._unreachable("rediss://host", Keys(NAMESPACE), error).about == about


def test_one_that_reads_its_file_is_waited_for():
    assert (
        checkup._unreachable("redis://host", Keys(NAMESPACE), exceptions.BusyLoadingError("LOADING")).level
        is Level.WARNING
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:1/0", "redis://host:1/0"),
        ("rediss://me:word@host:1/0?a=b", "rediss://me:***@host:1/0?a=b"),
        ("redis://:word@host", "redis://:***@host"),
    ],
)
def test_a_password_is_never_shown(url, shown):
    assert without_secret(url) == shown
