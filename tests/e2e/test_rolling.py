"""A rolling restart under load: every process is told to end, one after the other, and no request is lost."""

import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress

import httpx
import psutil
import pytest
from e2e.live import ended, events, eventually, pair, slow, strange_tracebacks

pytestmark = pytest.mark.e2e

N_CLIENTS = 6


def processes(service, kind: str) -> list[int]:
    found = []
    for child in psutil.Process(service.process.pid).children():
        with suppress(psutil.Error):
            words = child.cmdline()
            if child.status() != psutil.STATUS_ZOMBIE and "attributor" in words:
                found += [child.pid] * (words[words.index("attributor") + 1] == kind)
    return found


def replaced(service, kind: str, before: list[int]) -> bool:
    """Whether another process has taken the place of the one that was told to end, and serves."""
    new = set(processes(service, kind)) - set(before)
    if kind == "worker":
        return len(new) == 1
    with suppress(psutil.Error):
        return any(each.status == "LISTEN" for pid in new for each in psutil.Process(pid).net_connections())
    return False


class Client:
    """Creates jobs without a pause, as an application does: a connection that ends meets one more try, under the same
    key; every other answer than success counts."""

    def __init__(self, url: str, number: int) -> None:
        self.answers: Counter[int] = Counter()
        self.lost_connections = 0
        self.paths: list[str] = []
        self._url, self._number = url, number
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20) as client:
            for i in iter(lambda: len(self.paths), None):
                if self._over.is_set():
                    return
                body = slow(4) if i % 10 == 0 else pair("raises", float(i % 90), 1.0)
                headers = {"Idempotency-Key": f"{self._number} {i}", "Prefer": "wait=10" if i % 2 else "wait=0"}
                try:
                    response = client.post("/v1/attributions", json=body, headers=headers)
                except httpx.TransportError:
                    self.lost_connections += 1
                    continue
                self.answers[response.status_code] += 1
                self.paths.append(response.headers.get("Location", ""))

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)


def test_no_request_is_lost_while_every_process_is_restarted(launch):
    service = launch(
        ATTRIBUTOR_API__PROCESSES="2",
        ATTRIBUTOR_WORKER__PROCESSES="2",
        ATTRIBUTOR_WORKER__MAX_POINTS="64",
        ATTRIBUTOR_WORKER__DRAIN_S="5",
    )
    clients = [Client(service.url, number) for number in range(N_CLIENTS)]
    for client in clients:
        client.__enter__()
    try:
        time.sleep(1)
        for kind in ("api", "api", "worker", "worker"):
            first = processes(service, kind)
            os.kill(first[0], signal.SIGTERM)
            eventually(lambda kind=kind, first=first: replaced(service, kind, first), 30)
            service.await_ready(workers=2)
    finally:
        for client in clients:
            client.__exit__()
    paths = [path for client in clients for path in client.paths]
    answers = sum((client.answers for client in clients), Counter())
    assert set(answers) <= {200, 202}, answers
    assert len(set(paths)) == len(paths) > 100
    # One for each connection that an API process held when it was told to end, at the most.
    assert sum(client.lost_connections for client in clients) <= 2 * N_CLIENTS
    with httpx.Client(base_url=service.url, timeout=20) as client:
        jobs = [ended(client, path) for path in paths]
    assert Counter(job["state"] for job in jobs) == {"succeeded": len(paths)}
    assert Counter(job["attempts"] for job in jobs) == {1: len(paths)}, "what a worker gave back was charged"
    assert not strange_tracebacks(service.log())


def test_a_stream_that_its_api_process_ends_ends_as_http_has_it_and_goes_on_at_the_next(launch):
    service = launch(ATTRIBUTOR_API__PROCESSES="1")
    with httpx.Client(base_url=service.url, timeout=20) as client:
        path = client.post("/v1/attributions", json=slow(80)).headers["Location"]
        told = []
        for event in events(client, path):  # raises if the stream were cut off
            told.append(event.name)
            if len(told) == 2:
                os.kill(service.pid("api"), signal.SIGTERM)
        assert "end" not in told
        service.await_ready()
        rest = list(events(client, path))
        assert (rest[-1].name, rest[-1].data["state"]) == ("end", "succeeded")
