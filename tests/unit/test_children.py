import os
import signal
import subprocess
import sys
import time

import pytest
from attributor.children import spawn, stop

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_child_is_asked_to_end():
    child = spawn(SLEEP)
    stop(child, 10)
    assert child.returncode == -signal.SIGTERM


def test_a_child_that_does_not_listen_is_ended(tmp_path):
    # Not by `spawn`, whose output is ours: this test must know when the child has gone deaf.
    with subprocess.Popen(DEAF, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"deaf\n"
        stop(child, 0.2)
    assert child.returncode == -signal.SIGKILL


def test_stopping_a_child_that_has_ended_is_no_error():
    child = spawn([sys.executable, "-c", ""])
    child.wait(20)
    stop(child, 1)
    assert child.returncode == 0


def test_ctrl_c_reaches_the_parent_only():
    child = spawn(SLEEP)
    try:
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    finally:
        stop(child, 10)


def test_a_quiet_child_writes_nowhere(capfd, tmp_path):
    child = spawn([sys.executable, "-c", "import os; print(os.getcwd())"], cwd=tmp_path, quiet=True)
    assert child.wait(20) == 0
    assert capfd.readouterr().out == ""
    child = spawn([sys.executable, "-c", "import os; print(os.getcwd())"], cwd=tmp_path)
    assert child.wait(20) == 0
    assert capfd.readouterr().out == f"{tmp_path.resolve()}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_child_ends_with_a_killed_parent():
    code = (
        "import sys, time; from attributor.children import spawn;"
        f"print(spawn({SLEEP!r}).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    end = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < end
        time.sleep(0.02)
