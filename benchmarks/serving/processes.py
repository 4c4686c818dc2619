"""A server as a tree of processes of its own: started, waited for, stopped, held still, and its memory summed."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE_S = 0.5
_KIB = 1024
#: Below this much free memory a server is ended before the machine ends something else, bytes.
_LEAST_FREE_BYTES = 1_500_000_000


class DidNotStart(Exception):
    """A server that is not there, with the end of what it said."""


@dataclass(slots=True)
class Server:
    """Running processes, and the ports on which they listen."""

    processes: list[subprocess.Popen[bytes]]
    ports: tuple[int, ...]
    log: Path

    def tree(self) -> list[psutil.Process]:
        """All of its processes that live."""
        found = []
        for process in self.processes:
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(process.pid)
                found += [parent, *parent.children(recursive=True)]
        return found

    def alive(self) -> bool:
        return all(process.poll() is None for process in self.processes)

    def stop(self) -> None:
        """By the kind signal, then by the other."""
        tree = self.tree()
        self.hold(still=False)
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(tree, timeout=15)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        for process in self.processes:
            process.wait()

    def hold(self, *, still: bool) -> None:
        """Stops its processes where they are, or lets them go on: what idles must not take the cores."""
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                process.suspend() if still else process.resume()

    def cpu_s(self) -> float:
        """Processor time that its processes have taken."""
        total = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def pss_bytes(self) -> int:
        """Proportional set size over all processes: pages that k processes share count 1/k in each."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
                total += _KIB * next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total


def start(
    commands: Sequence[Sequence[str]], ports: Sequence[int], folder: Path, environment: Mapping[str, str], log: Path
) -> Server:
    """Starts the commands in a folder; their output goes to a file."""
    with log.open("wb") as output:
        processes = [
            subprocess.Popen(
                list(command), cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
            )
            for command in commands
        ]
    return Server(processes, tuple(ports), log)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ending_of(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@dataclass(slots=True)
class Memory:
    """What was seen while it was watched. `short`: it was ended because the machine ran out."""

    peak_bytes: int = 0
    short: bool = False


@contextlib.contextmanager
def watched(server: Server) -> Iterator[Memory]:
    """Samples the memory of a server beside what is done within."""
    seen, done = Memory(), threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.peak_bytes = max(seen.peak_bytes, server.pss_bytes())
            if psutil.virtual_memory().available < _LEAST_FREE_BYTES:
                seen.short = True
                for process in server.tree():
                    with contextlib.suppress(psutil.Error):
                        process.kill()
            done.wait(_SAMPLE_S)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def wait_until(ready: Callable[[], bool], server: Server, seconds: float) -> None:
    """Calls `ready` until it is true; raises DidNotStart if the server ends or takes longer."""
    ends = time.monotonic() + seconds
    while not ready():
        if not server.alive() or time.monotonic() > ends:
            said = ending_of(server.log)
            server.stop()
            raise DidNotStart(said)
        time.sleep(0.2)
