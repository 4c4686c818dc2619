"""Child processes that never outlive their parent. Knows nothing of what they do. POSIX only."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

#: prctl(2): the signal a process gets when the thread that started it ends.
_PR_SET_PDEATHSIG = 1


def spawn(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    quiet: bool = False,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own, so that Ctrl-C reaches its parent first, who stops it in order.

    `environment`: in place of this process's. Call from the main thread: on Linux the child gets SIGTERM when the
    thread that started it ends, even by kill -9.
    """
    output = subprocess.DEVNULL if quiet else None
    return subprocess.Popen(
        list(command),
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        process_group=0,
        preexec_fn=dies_with_parent(),
    )


def stop(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask a child to end, and end it after `grace_s`."""
    process.terminate()
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def dies_with_parent() -> Callable[[], None] | None:
    """To run in the child before its program (`preexec_fn`): then it gets SIGTERM when the thread that starts it ends.

    None where only its parent can end it. Made here, because after a fork nothing may be imported or loaded.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return arm
