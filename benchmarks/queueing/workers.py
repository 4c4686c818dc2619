"""Worker processes, each a group of its own, so that all of one can be killed at once."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.queueing.party import environment

STOP_S = 10


class Workers:
    """So many workers of one party, on a store."""

    def __init__(self, command: Sequence[str], n: int, store_url: str, log: Path) -> None:
        self._command, self._store_url, self._log = command, store_url, log
        self._started = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        for _ in range(n):
            self.add()

    def add(self) -> None:
        """One more."""
        words = [word.replace("{number}", str(self._started)) for word in self._command]
        self._started += 1
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                words, env=environment(self._store_url), stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(process)

    def kill(self, pid: int) -> None:
        """The worker to which that process belongs, with all its processes, by SIGKILL."""
        leader = os.getpgid(pid)
        [killed] = [each for each in self._processes if each.pid == leader]
        os.killpg(leader, signal.SIGKILL)
        killed.wait()
        self._processes.remove(killed)

    def cpu_s(self) -> float:
        """Processor time of all their processes."""
        total = 0.0
        for process in self._processes:
            parent = psutil.Process(process.pid)
            for each in (parent, *parent.children(recursive=True)):
                with suppress(psutil.Error):
                    times = each.cpu_times()
                    total += times.user + times.system
        return total

    def stop(self) -> None:
        """By the kind signal, then by the other."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes = []
