"""One machine, one command: the embedded store, the API and one worker as children of a supervisor.

A child that ends is started again; one that cannot live ends the whole. Whatever happens to the supervisor, no child
outlives it.
"""

import errno
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

from attributor.bootstrap.api import EXIT_CONFIG
from attributor.children import spawn, stop
from attributor.settings import Settings
from attributor.storage.embedded import EmbeddedStore
from attributor.telemetry import configure_logging

log = logging.getLogger(__name__)

#: How often the children are looked at, seconds.
WATCH_S = 0.1
#: A child that lived for so long was not stillborn. Ours: loading torch and the models takes two to four.
HEALTHY_AFTER_S = 15.0
#: So many stillbirths in a row end the service: something is wrong that starting again does not mend.
MOST_STILLBIRTHS = 5
#: Pause before a child is started again, doubled with each stillbirth, seconds.
RESTART_PAUSE_S = 0.2


@dataclass(slots=True)
class Child:
    """One supervised process."""

    name: str
    grace_s: float
    process: subprocess.Popen[bytes] = field(init=False)
    started_s: float = field(init=False)
    stillbirths: int = 0
    restart_at_s: float | None = None

    def start(self, command: list[str]) -> None:
        """Start it, or start it again."""
        self.process = spawn(command)
        self.started_s = time.monotonic()
        self.restart_at_s = None


class Supervisor:
    """Keeps the children alive until a signal comes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = EmbeddedStore(settings.store.data_dir) if settings.store.redis_url is None else None
        self._redis_url = settings.store.redis_url or (self._store.url if self._store else "")
        self._children = [
            Child("api", settings.api.shutdown_grace_s + 1),
            Child("worker", settings.worker.drain_s + 1),
        ]
        self._signalled = False
        self._announced = False

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM; returns the exit status. Raises StoreUnavailable if the store cannot start."""
        if problem := address_problem(self._settings.api.host, self._settings.api.port):
            log.error("cannot listen: %s", problem)
            return EXIT_CONFIG
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._on_signal)
        if self._store is not None:
            how = "started" if self._store.start() else "joined one that another service runs"
            log.info("store in %s: %s; models in %s", self._settings.store.data_dir, how, self._settings.models_dir)
        os.environ.update(environment(self._settings) | {"ATTRIBUTOR_STORE__REDIS_URL": self._redis_url})
        status = 0
        try:
            for child in self._children:
                child.start(self._command(child))
            while not self._signalled and status == 0:
                time.sleep(WATCH_S)
                status = self._watch()
            if self._signalled:
                log.info("stopping; running jobs get %.0f s", self._settings.worker.drain_s)
        finally:
            self._stop()
        return status

    def _on_signal(self, signum: int, frame: object) -> None:
        self._signalled = True

    def _command(self, child: Child) -> list[str]:
        # The URL may hold a password: it goes by the environment, where `ps` does not show it to everyone.
        # -P: what lies in the folder where it is started must not stand in for a module.
        return [sys.executable, "-P", "-m", "attributor", child.name]

    def _watch(self) -> int:
        """Look after everything once; a non-zero status ends the service."""
        if self._store is not None and self._store.lost():
            log.warning("the embedded store ended; starting it again")
            self._store.start()
        for child in self._children:
            if status := self._watch_child(child):
                return status
        if not self._announced and self._ready():
            self._announced = True
            log.info("ready at http://%s:%d, API docs at /docs; Ctrl-C stops", *self._address())
        return 0

    def _watch_child(self, child: Child) -> int:
        now = time.monotonic()
        if child.restart_at_s is not None:
            if now >= child.restart_at_s:
                child.start(self._command(child))
            return 0
        status = child.process.poll()
        if status is None:
            return 0
        if status == EXIT_CONFIG:
            log.error("the %s process cannot start; see its message above", child.name)
            return EXIT_CONFIG
        child.stillbirths = 0 if now - child.started_s > HEALTHY_AFTER_S else child.stillbirths + 1
        if child.stillbirths >= MOST_STILLBIRTHS:
            log.error("the %s process ended %d times in a row; giving up", child.name, child.stillbirths)
            return 1
        log.warning("the %s process ended with status %d; starting another", child.name, status)
        child.restart_at_s = now + RESTART_PAUSE_S * 2**child.stillbirths
        return 0

    def _address(self) -> tuple[str, int]:
        host = self._settings.api.host
        return ("127.0.0.1" if host in ("0.0.0.0", "::") else host, self._settings.api.port)  # noqa: S104

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection(*self._address(), timeout=1)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _stop(self) -> None:
        """The API and the worker together, then the store that they write to."""
        running = [c for c in self._children if hasattr(c, "process") and c.process.poll() is None]
        for child in running:
            child.process.terminate()
        for child in running:
            stop(child.process, child.grace_s)
        if self._store is not None:
            self._store.stop()
        log.info("stopped")


def address_problem(host: str, port: int) -> str | None:
    """Why the API could not listen there, before anything is started; None if it could."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does: connections may linger
            probe.bind(address)
    except OSError as error:
        taken = " (choose another with --port)" if error.errno == errno.EADDRINUSE else ""
        return f"{host}:{port}: {error.strerror}{taken}"
    return None


def run_serve(settings: Settings) -> int:
    """Run the supervisor."""
    configure_logging(settings.log_level, "serve")
    return Supervisor(settings).run()


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, so that children have what the command line gave."""
    flat: dict[str, str] = {}
    for name, value in settings.model_dump(mode="json").items():
        nested = value.items() if isinstance(value, dict) else None
        for key, item in nested or [(None, value)]:
            variable = f"ATTRIBUTOR_{name}__{key}" if key else f"ATTRIBUTOR_{name}"
            if item is not None:
                flat[variable.upper()] = str(item)
    return flat
