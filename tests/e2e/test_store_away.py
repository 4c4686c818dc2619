"""A store that goes away under a running service: what the API says meanwhile, and what workers do.

How long it is away: ATTRIBUTOR_TEST_AWAY_S seconds, a minute in `make away`.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from attributor.storage.embedded import find_server
from contracts.servers import answers, free_port, process
from e2e.conftest import SETTINGS
from e2e.live import (
    READY_WITHIN_S,
    Service,
    created,
    ended,
    eventually,
    explained,
    pair,
    problem,
    running,
    slow,
    start,
    strange_tracebacks,
)
from redis import Redis

pytestmark = pytest.mark.e2e

AWAY_S = float(os.environ.get("ATTRIBUTOR_TEST_AWAY_S", "8"))
#: A frozen store is waited for, before those who ask are told; see SILENCE_S in storage/wire.py.
FROZEN_S = max(AWAY_S, 14.0)
#: Of those who may not enter, or do enough: no connection is tried in vain.
UNWANTED_S = max(AWAY_S, 4.0)
RULES = ("on", ">word", "~*", "&*", "+@all")


class Server:
    """A Redis 7, else a Valkey, at one address all its life, with a user for the service."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._program = shutil.which("redis-server") or find_server()
        self._acl = folder / "users.acl"
        self._acl.write_text(f"user default on nopass ~* &* +@all\nuser service {' '.join(RULES)}\n")
        self._running = ExitStack()
        self.url = f"redis://service:word@127.0.0.1:{self._port}"
        self.admin = Redis(port=self._port)

    def start(self) -> None:
        options = ("--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes")
        files = ("--dir", str(self._folder), "--aclfile", str(self._acl))
        self._process = self._running.enter_context(process(self._program, *options, *files))
        answers(self.admin)

    def kill(self) -> None:
        self._running.close()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def service(server: Server, small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Starts before its store does, and waits for it. Two workers with a job each, so that the first to come back could
    take the other's."""
    more = {"ATTRIBUTOR_WORKER__PROCESSES": "2", "ATTRIBUTOR_WORKER__MAX_ACTIVE_JOBS": "1"}
    environment = SETTINGS | more | {"ATTRIBUTOR_STORE__REDIS_URL": server.url}
    service = start(small_models, tmp_path_factory.mktemp("service"), environment)
    try:
        with httpx.Client(base_url=service.url, timeout=20) as client:
            eventually(lambda: is_live(client), READY_WITHIN_S)
            not_ready(client)
            eventually(lambda: service.log().count("cannot begin") > 1, READY_WITHIN_S)
        server.start()
        service.await_ready(workers=2)
        yield service
    finally:
        status = service.stop()
    assert status == 0
    assert not strange_tracebacks(service.log()), strange_tracebacks(service.log())[0]


def is_live(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/health/live").status_code == 200
    return False


def refused(client: httpx.Client, path: str, job: str) -> None:
    """Every way to ask says that the store is away, and when to come back."""
    for method, to, body in (
        ("POST", "/v1/attributions", pair("raises")),
        ("POST", "/v1/attributions:estimate", pair("raises")),
        ("POST", "/v1/models/raises:predict", {"inputs": pair("raises")["inputs"]}),
        ("GET", "/v1/attributions", None),
        ("GET", "/v1/quarantine", None),
        ("GET", job, None),
        ("GET", path, None),
        ("GET", f"{path}/results", None),
        ("GET", f"{path}/events", None),
        ("DELETE", path, None),
    ):
        response = client.request(method, to, json=body)
        problem(response, 503, "store_unavailable")
        assert int(response.headers["Retry-After"]) > 0, to


def not_ready(client: httpx.Client) -> None:
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/accepting").status_code == 503
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()["store"]) == (503, False)
    assert "attributor_store_up 0.0" in client.get("/metrics").text


def stream_of(client: httpx.Client, path: str) -> list[str]:
    """The lines of a job's event stream, until the service ends it."""
    with client.stream("GET", f"{path}/events") as response:
        return list(response.iter_lines())


def descendants(service: Service) -> list[int]:
    return sorted(child.pid for child in psutil.Process(service.process.pid).children(recursive=True))


def outage(
    service: Service, away: Callable[[], Any], back: Callable[[], Any], for_s: float, meanwhile: Callable[..., None]
) -> None:
    """Two jobs are computed while the store goes and comes back; they are delivered, each by who had it."""
    undelivered = service.log().count("cannot store 1 answers")
    with httpx.Client(base_url=service.url, timeout=40) as client, ThreadPoolExecutor() as threads:
        before = explained(client, pair("raises"))
        pids = descendants(service)
        paths = [created(client, slow(60)) for _ in range(2)]
        for path in paths:
            running(client, path)
        streams = [threads.submit(stream_of, client, path) for path in paths]
        waits = threads.submit(client.post, "/v1/attributions", json=slow(5), headers={"Prefer": "wait=30"})
        eventually(lambda: len(client.get("/v1/attributions?state=queued").json()["attributions"]) == 1, 5)
        ends_s = time.monotonic() + for_s
        away()
        meanwhile(client, paths[0], before["links"]["self"])
        for stream in streams:
            assert "retry: 1000" in stream.result(), "it is asked to come back"
        told = waits.result()
        problem(told, 503, "store_unavailable")
        time.sleep(max(ends_s - time.monotonic(), 0))
        back()
        eventually(lambda: client.get("/health/ready").status_code == 200, 20)
        for path in paths:
            job = ended(client, path, within_s=30)
            assert (job["state"], job["attempts"]) == ("succeeded", 1)
        assert ended(client, told.headers["Location"])["state"] == "succeeded", "it was told where its job is"
        assert client.get(before["links"]["self"]).json() == before
        assert explained(client, pair("raises"))["state"] == "succeeded"
        assert descendants(service) == pids, "no process ended of it"
    assert service.log().count("cannot store 1 answers") > undelivered, "a job ended while the store was away"


def test_a_store_that_ends_and_comes_back_is_waited_for(service: Service, server: Server):
    def meanwhile(client: httpx.Client, path: str, job: str) -> None:
        refused(client, path, job)
        not_ready(client)

    outage(service, server.kill, server.start, AWAY_S, meanwhile)


def test_a_store_that_is_frozen_is_waited_for(service: Service, server: Server):
    def meanwhile(client: httpx.Client, path: str, job: str) -> None:
        not_ready(client)
        with ThreadPoolExecutor() as threads:
            found = list(threads.map(lambda _: client.post("/v1/attributions", json=pair("raises")), range(4)))
            found += threads.map(client.get, (path, job))
        for response in found:
            problem(response, 503, "store_unavailable")

    outage(service, server.freeze, server.thaw, FROZEN_S, meanwhile)


def test_a_user_who_is_not_let_in_any_more_is_waited_for(service: Service, server: Server):
    change = partial(server.admin.execute_command, "ACL")
    outage(
        service, lambda: change("DELUSER", "service"), lambda: change("SETUSER", "service", *RULES), UNWANTED_S, refused
    )


def test_a_user_who_may_not_do_enough_any_more_is_waited_for(service: Service, server: Server):
    change = partial(server.admin.execute_command, "ACL", "SETUSER", "service")
    outage(service, lambda: change("-@scripting", "-@read"), lambda: change("+@all"), UNWANTED_S, refused)
