"""Keeps child processes alive: one that ends is started again, one that cannot live ends the whole.

Whatever happens to the supervisor, no child outlives it. Knows nothing of what the children do.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from attributor.bootstrap.exits import EXIT_CONFIG, EXIT_RECYCLED
from attributor.children import spawn, stop

log = logging.getLogger(__name__)

#: How often the children are looked at, seconds.
WATCH_S = 0.1
#: A child that lived for so long was not stillborn. Ours: loading torch and the models takes two to four.
HEALTHY_AFTER_S = 15.0
#: So many stillbirths in a row end the service: something is wrong that starting again does not mend. Unless a signal
#: ended the child: it was killed, by the system for its memory or by a job, and the others must not end with it.
MOST_STILLBIRTHS = 5
#: Pause before a child is started again, doubled with each stillbirth up to the longest, seconds.
RESTART_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0


@dataclass(slots=True)
class Child:
    """One supervised process: `python -m attributor` with these arguments, and with `environment` beside its parent's.

    `name`: for the log. `grace_s`: how long it may take to end.
    """

    name: str
    arguments: Sequence[str]
    grace_s: float
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    stillbirths: int = 0
    restart_at_s: float | None = None

    @property
    def command(self) -> list[str]:
        """What is run. `-P`: what lies in the folder where it is started must not stand in for a module."""
        return [sys.executable, "-P", "-m", "attributor", *self.arguments]

    def start(self, command: Sequence[str]) -> None:
        """Start it, or start it again."""
        self.process = spawn(command, environment={**os.environ, **self.environment})
        self.started_s = time.monotonic()
        self.restart_at_s = None


class Beside(Protocol):
    """What a supervisor has to look after beside its children."""

    def begin(self) -> None:
        """Before the first child is started."""

    def look(self) -> None:
        """About ten times a second."""

    def end(self) -> None:
        """After the last child has ended."""


class Supervisor:
    """Keeps children alive until a signal comes."""

    def __init__(self, children: Sequence[Child], beside: Beside | None = None) -> None:
        self._children = children
        self._beside = beside
        self._signalled = False

    def run(self) -> int:
        """Until SIGINT or SIGTERM, or until a child cannot live; then ends all of them. Returns the exit status.

        Raises what `beside` raises when it begins.
        """
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._on_signal)
        if self._beside is not None:
            self._beside.begin()
        status = 0
        try:
            for child in self._children:
                child.start(self._command(child))
            while not self._signalled and status == 0:
                time.sleep(WATCH_S)
                status = self._watch()
            if self._signalled:
                log.info("stopping; running jobs get %.0f s", max(child.grace_s for child in self._children))
        finally:
            self._stop()
        return status

    def _on_signal(self, signum: int, frame: object) -> None:
        self._signalled = True

    def _command(self, child: Child) -> list[str]:
        return child.command

    def _watch(self) -> int:
        """Look after everything once; a non-zero status ends the service."""
        if self._beside is not None:
            self._beside.look()
        for child in self._children:
            if status := self._watch_child(child):
                return status
        return 0

    def _watch_child(self, child: Child) -> int:
        now = time.monotonic()
        if child.restart_at_s is not None:
            if now >= child.restart_at_s:
                child.start(self._command(child))
            return 0
        status = child.process.poll() if child.process is not None else None
        if status is None:
            return 0
        if status == EXIT_CONFIG:
            log.error("the %s process cannot start; see its message above", child.name)
            return EXIT_CONFIG
        if status == EXIT_RECYCLED:
            log.info("the %s process has had its time; starting another", child.name)
            child.stillbirths = 0
            child.start(self._command(child))
            return 0
        return self._mourn(child, status, now)

    def _mourn(self, child: Child, status: int, now_s: float) -> int:
        """A child that ended without being told to: another one later, unless it was the last of too many."""
        child.stillbirths = 0 if now_s - child.started_s > HEALTHY_AFTER_S else child.stillbirths + 1
        if child.stillbirths >= MOST_STILLBIRTHS and status > 0:
            log.error("the %s process ended %d times in a row; giving up", child.name, child.stillbirths)
            return 1
        log.warning("the %s process ended with status %d; starting another", child.name, status)
        child.restart_at_s = now_s + min(RESTART_PAUSE_S * 2**child.stillbirths, LONGEST_PAUSE_S)
        return 0

    def _stop(self) -> None:
        """All children together, each within its time; then what they needed."""
        running = [
            (child.process, child.grace_s)
            for child in self._children
            if child.process is not None and child.process.poll() is None
        ]
        for process, _ in running:
            process.terminate()
        for process, grace_s in running:
            stop(process, grace_s)
        if self._beside is not None:
            self._beside.end()
        log.info("stopped")
