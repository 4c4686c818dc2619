"""One machine, one command: the embedded store, the API and the workers as children of a supervisor.

A child that ends is started again; one that cannot live ends the whole. Whatever happens to the supervisor, no child
outlives it.
"""

import errno
import http.client
import logging
import os
import socket
from contextlib import nullcontext

from attributor.bootstrap.exits import EXIT_CONFIG
from attributor.bootstrap.processes import api_children, environment, worker_children
from attributor.bootstrap.shared_port import reserved
from attributor.bootstrap.supervisor import Supervisor
from attributor.settings import Settings
from attributor.storage.embedded import EmbeddedStore
from attributor.telemetry.logs import configure_logging

log = logging.getLogger(__name__)


def run_serve(settings: Settings, devices: str | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status. `devices`: see `processes.worker_children`.

    Raises StoreUnavailable if the store cannot start, InvalidRequest for devices that are not there.
    """
    configure_logging(settings.log_level, "serve", settings.log_format)
    if problem := address_problem(settings.api.host, settings.api.port):
        log.error("cannot listen: %s", problem)
        return EXIT_CONFIG
    apis = api_children(settings)
    children = [*apis, *worker_children(settings, devices)]
    with reserved(settings.api.host, settings.api.port) if len(apis) > 1 else nullcontext():
        return Supervisor(children, StoreAndWord(settings)).run()


class StoreAndWord:
    """What a service on one machine has beside its processes: the embedded store, and the word that it is ready."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = EmbeddedStore(settings.store.data_dir) if settings.store.redis_url is None else None
        self._announced = False

    def begin(self) -> None:
        """Start the store; tell the children where it is. Raises StoreUnavailable."""
        store = self._settings.store
        redis_url, results_dir = store.redis_url, store.results_dir
        if self._store is not None:
            how = "started" if self._store.start() else "joined one that another service runs"
            log.info("store in %s: %s; models in %s", self._settings.store.data_dir, how, self._settings.models_dir)
            redis_url = self._store.url
            results_dir = results_dir or (store.data_dir / "results").absolute()
        told = {"ATTRIBUTOR_STORE__REDIS_URL": redis_url or ""}
        if results_dir is not None:
            told["ATTRIBUTOR_STORE__RESULTS_DIR"] = str(results_dir)
        os.environ.update(environment(self._settings) | told)

    def end(self) -> None:
        """End the store, which the children wrote to until now, unless another service uses it."""
        if self._store is not None:
            self._store.stop()

    def look(self) -> None:
        """Start the store again if it has ended; say once that the service is ready."""
        if self._store is not None and self._store.lost():
            log.warning("the embedded store ended; starting it again")
            self._store.start()
        if not self._announced and self.is_ready():
            self._announced = True
            log.info("ready at http://%s:%d, API docs at /docs; Ctrl-C stops", *self._address())

    def is_ready(self) -> bool:
        """Whether the API says so."""
        connection = http.client.HTTPConnection(*self._address(), timeout=1)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _address(self) -> tuple[str, int]:
        host = self._settings.api.host
        return ("127.0.0.1" if host in ("0.0.0.0", "::") else host, self._settings.api.port)  # noqa: S104


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
