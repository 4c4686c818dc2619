"""The store goes away while jobs are computed, and comes back: ended and started again, and frozen.

ATTRIBUTOR_TEST_AWAY_S: for how long, seconds; a minute is for a person to run.
"""

import os
import signal
import time
from contextlib import contextmanager
from subprocess import DEVNULL, Popen

import httpx
import pytest
import redis
from attributor.storage.embedded import find_server
from e2e.live import computing_path, created, ended, events, eventually, free_port, pair, problem, slow, start

pytestmark = pytest.mark.e2e

AWAY_S = float(os.environ.get("ATTRIBUTOR_TEST_AWAY_S", "6"))


class Server:
    """A store of the test's own, whose file outlives it."""

    def __init__(self, folder) -> None:
        self.port = free_port()
        self._command = [find_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--appendonly", "yes", "--save", ""]
        self.process: Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.process = Popen(self._command, stdout=DEVNULL, stderr=DEVNULL)
        client = redis.Redis(port=self.port)
        eventually(lambda: self._answers(client), 20)
        client.close()

    @staticmethod
    def _answers(client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    @contextmanager
    def away(self, how: str):
        if how == "ended":
            self.process.kill()
            self.process.wait()
            yield
            self.start()
        else:
            self.process.send_signal(signal.SIGSTOP)
            yield
            self.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def both(small_models, tmp_path_factory):
    from e2e.conftest import SETTINGS

    (folder := tmp_path_factory.mktemp("away")).joinpath("store").mkdir()
    server = Server(folder / "store")
    url = {"ATTRIBUTOR_STORE__REDIS_URL": f"redis://127.0.0.1:{server.port}"}
    service = start(small_models, folder / "service", SETTINGS | url)
    try:
        service.await_ready()
        yield server, service
    finally:
        assert service.stop() == 0
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("how", ["ended", "frozen"])
def test_a_store_that_goes_away_costs_requests_and_no_job(both, how):
    server, service = both
    passes = int((AWAY_S + 1) / 0.05)
    with httpx.Client(base_url=service.url, timeout=30) as client:
        kept = ended(client, created(client, pair("raises", 5.0)))
        running = created(client, slow(passes))
        waiting = [created(client, pair("raises", float(i), 2.0)) for i in range(3)]
        computing_path(client, running)
        began = time.monotonic()
        with server.away(how):
            for ask in (
                lambda: client.post("/v1/attributions", json=pair("raises")),
                lambda: client.get(running),
                lambda: client.post("/v1/models/raises:predict", json={"inputs": pair("raises")["inputs"]}),
                lambda: client.get("/v1/attributions"),
            ):
                answer = ask()
                problem(answer, 503, "store_unavailable")
                assert int(answer.headers["Retry-After"]) >= 1
            assert client.get("/health/ready").status_code == 503
            assert client.get("/health/accepting").status_code == 503
            assert client.get("/health/live").status_code == 200
            assert "attributor_store_up 0.0" in client.get("/metrics").text
            time.sleep(max(0.0, AWAY_S - (time.monotonic() - began)))
        eventually(lambda: client.get("/health/ready").status_code == 200, 15)
        assert client.get(kept["links"]["self"]).json() == kept
        done = ended(client, running, within_s=60)
        assert (done["state"], done["attempts"]) == ("succeeded", 1), "what was computed meanwhile was thrown away"
        assert {ended(client, path)["state"] for path in waiting} == {"succeeded"}
        path = created(client, slow(4))
        assert [event.name for event in events(client, path)][-1] == "end"
