"""Starts the whole service as a person does, finds its processes, speaks HTTP to it. Knows nothing of its insides."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
#: Several services start at once on a few cores, some with nets of which each takes seconds to be proven.
READY_WITHIN_S = 150.0
#: Of a service that needs no more than one process of each kind.
ALONE = {"ATTRIBUTOR_API__PROCESSES": "1", "ATTRIBUTOR_WORKER__PROCESSES": "1"}
#: By then every API process knows what one has said of a model.
KNOWN_TO_ALL_S = 0.3
T = TypeVar("T")
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Service:
    """A running `attributor serve`."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def await_ready(self, workers: int = 1) -> None:
        """Until it says so itself: see `/health/ready`; and all its models have been put to the proof."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the service ended:\n{self.log()}"
            try:
                found = httpx.get(f"{self.url}/health/ready", timeout=5)
            except httpx.TransportError:
                return False
            health = found.json()
            return (
                found.status_code == 200 and health["workers"] >= workers and "loading" not in health["models"].values()
            )

        eventually(ready, READY_WITHIN_S)
        time.sleep(KNOWN_TO_ALL_S)

    def children(self) -> dict[str, int]:
        """The pids of `api`, `worker` and `store`."""
        return children_of(self.process.pid)

    def command_lines(self) -> list[str]:
        """The words on the command lines of the API and the worker."""
        found = self.children()
        return [word for name in ("api", "worker") for word in psutil.Process(found[name]).cmdline()]

    def pid(self, name: str, *, other_than: int | None = None) -> int:
        """The pid of a child; with `other_than`, of the one that replaced it."""
        return eventually(lambda: ((pid := self.children().get(name)) != other_than and pid) or None, 20)

    def stop(self, signum: int = signal.SIGINT) -> int:
        """End it as Ctrl-C does; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(30)


def start(models: Path, folder: Path, environment: Mapping[str, str] | None = None, port: int | None = None) -> Service:
    """Start a service that keeps its data and its log in `folder`; does not wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    log_file = folder / "service.log"
    command = ["serve", "--port", str(port), "--data-dir", str(folder / "data"), "--models", str(models)]
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "attributor", *command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return Service(process, port, folder / "data", log_file)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(found: Callable[[], T | None], within_s: float) -> T:
    """What `found` returns once it is true; fails after `within_s`."""
    end = time.monotonic() + within_s
    while not (value := found()):
        assert time.monotonic() < end, f"not so within {within_s} s"
        time.sleep(0.05)
    return value


def children_of(parent: int) -> dict[str, int]:
    """The pids of a supervisor's children that live, by what they are."""
    found = {}
    for child in psutil.Process(parent).children():
        if child.status() != psutil.STATUS_ZOMBIE:
            words = child.cmdline()
            found[words[words.index("attributor") + 1] if "attributor" in words else "store"] = child.pid
    return found


def gone(pids: list[int]) -> bool:
    """Whether none of them lives. Zombies have ended; only their parent has not looked."""

    def lives(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return not any(lives(pid) for pid in pids)


def strange_tracebacks(log: str) -> list[str]:
    """Records with a traceback other than that of a model, which the operator wants to see."""
    records = re.split(r"^(?=\d{4}-\d\d-\d\d )", log, flags=re.MULTILINE)
    return [record for record in records if "Traceback" in record and "a model raised" not in record.splitlines()[0]]


def example(name: str) -> dict[str, Any]:
    """A request of docs/examples."""
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def pair(model: str, a: float = 1.0, b: float = 1.0, **more: Any) -> dict[str, Any]:
    """A request on one of the small models of the tests, which take two features."""
    return {"model": model, "inputs": [{"features": {"a": a, "b": b}}], **more}


def slow(passes: int, **more: Any) -> dict[str, Any]:
    """A request that takes the slow model so many passes, 50 ms each."""
    return pair("slow", rule="right_riemann", n_steps=passes * 8, **more)


def explained(client: httpx.Client, body: dict[str, Any], wait_s: int = 30, **headers: str) -> dict[str, Any]:
    """The job of a request, ended."""
    response = client.post("/v1/attributions", json=body, headers={"Prefer": f"wait={wait_s}", **headers})
    assert response.status_code == 200, response.text
    return response.json()


def created(client: httpx.Client, body: dict[str, Any], **headers: str) -> str:
    """The path of a job that was just queued."""
    response = client.post("/v1/attributions", json=body, headers=headers)
    assert response.status_code == 202, response.text
    return response.headers["Location"]


def ended(client: httpx.Client, path: str, within_s: float = 20) -> dict[str, Any]:
    """The job there, once it has ended."""
    end = time.monotonic() + within_s
    while (job := client.get(path, headers={"Prefer": "wait=5"}).raise_for_status().json())["state"] not in ENDED:
        assert time.monotonic() < end, job
    return job


def computing_path(client: httpx.Client, path: str) -> None:
    """Wait until a job has shown progress."""
    eventually(lambda: (job := client.get(path).json())["progress"] and job["progress"]["evaluations"], 20)


def running(client: httpx.Client, path: str) -> dict[str, Any]:
    """The job there, once it computes."""
    return eventually(lambda: (job := client.get(path).json())["state"] == "running" and job, 20)


@dataclass(frozen=True)
class Event:
    name: str
    data: dict[str, Any]
    id: str


def events(client: httpx.Client, path: str) -> Iterator[Event]:
    """The server-sent events of a job, as they come, until the server ends the stream."""
    with client.stream("GET", f"{path}/events") as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in response.iter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif not line and "data" in fields:
                yield Event(fields["event"], json.loads(fields["data"]), fields["id"])
                fields = {}


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of a refused request."""
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json"), (
        response.status_code,
        response.text,
    )
    document = response.json()
    assert (document["code"], document["status"], document["type"]) == (code, status, f"/problems/{code}")
    return document
