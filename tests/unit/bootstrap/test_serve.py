"""The supervisor with children that a test can make die; the real ones are watched in tests/e2e."""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from attributor.bootstrap import serve
from attributor.bootstrap.api import EXIT_CONFIG
from attributor.bootstrap.serve import Supervisor, address_problem, environment
from attributor.settings import Settings


@pytest.fixture(autouse=True)
def handlers_restored(monkeypatch):
    """Run sets them for its process, which is the tests' here."""
    for name in list(os.environ):
        if name.startswith("ATTRIBUTOR_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(serve, "RESTART_PAUSE_S", 0.001)
    monkeypatch.setattr(serve, "WATCH_S", 0.01)
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def supervisor(port: int, **programs: str) -> Supervisor:
    """One whose children run these programs in place of their own; without a store."""
    made = Supervisor(Settings(api={"port": port}, store={"redis_url": "redis://unused.invalid"}))
    sleep = "import time; time.sleep(60)"
    made._command = lambda child: [sys.executable, "-S", "-c", programs.get(child.name, sleep)]
    return made


def test_the_children_get_what_the_command_line_gave(monkeypatch):
    settings = Settings(
        models_dir=Path("/some where/models"),
        api={"port": 9001, "max_wait_s": 2.5},
        store={"redis_url": "redis://host:1/2", "data_dir": Path("data")},
        worker={"threads": 3},
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_what_is_unset_stays_unset():
    assert not any("REDIS_URL" in name for name in environment(Settings()))


def test_a_free_address_is_no_problem_and_a_taken_one_is(port):
    assert address_problem("127.0.0.1", port) is None
    with socket.create_server(("127.0.0.1", port)):
        assert f"127.0.0.1:{port}: Address already in use" in address_problem("127.0.0.1", port)


def test_a_host_that_is_not_ours_is_a_problem(port):
    assert "192.0.2.1" in address_problem("192.0.2.1", port)  # RFC 5737: of no host
    assert "no-such-host.invalid" in address_problem("no-such-host.invalid", port)


def test_a_taken_port_ends_it_before_anything_is_started(port):
    with socket.create_server(("127.0.0.1", port)):
        assert supervisor(port).run() == EXIT_CONFIG


def test_a_child_that_cannot_live_ends_the_service(port, caplog):
    assert supervisor(port, worker="raise SystemExit(3)").run() == 1
    assert f"the worker process ended {serve.MOST_STILLBIRTHS} times in a row" in caplog.text


def test_a_child_whose_settings_are_wrong_ends_it_at_once(port, caplog):
    assert supervisor(port, api=f"raise SystemExit({EXIT_CONFIG})").run() == EXIT_CONFIG
    assert "starting another" not in caplog.text


def test_a_child_that_dies_once_is_replaced(port, tmp_path, caplog):
    once = f"""
import os, pathlib, signal, time
died = pathlib.Path({str(tmp_path)!r}, "died")
if not died.exists():
    died.touch()
    os.kill(os.getpid(), signal.SIGKILL)
os.kill({os.getpid()}, signal.SIGTERM)
time.sleep(60)
"""
    assert supervisor(port, worker=once).run() == 0
    assert caplog.text.count("starting another") == 1


@pytest.mark.parametrize("answer", [b"220 no HTTP\r\n", b"HTTP/1.1 503 Not yet\r\nContent-Length: 0\r\n\r\n", b""])
def test_another_answer_than_its_own_is_not_readiness(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve_once)
        thread.start()
        assert not supervisor(server.getsockname()[1])._ready()
        thread.join(5)
