"""The supervisor with children that a test can make die; the real ones are watched in tests/e2e."""

import os
import signal
import sys
import time

import psutil
import pytest
from attributor.bootstrap import supervisor as module
from attributor.bootstrap.exits import EXIT_CONFIG, EXIT_RECYCLED
from attributor.bootstrap.supervisor import Child, Supervisor


@pytest.fixture(autouse=True)
def handlers_restored(monkeypatch):
    """Run sets them for its process, which is the tests' here."""
    monkeypatch.setattr(module, "RESTART_PAUSE_S", 0.001)
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


SLEEPS = "import time; time.sleep(60)"
STOPS_ALL = f"import os, signal, time; os.kill({os.getpid()}, signal.SIGTERM); time.sleep(60)"


class Programs:
    """In place of a child's own."""

    def __init__(self, **programs: str) -> None:
        self.children = [Child(name, [name], 2.0) for name in programs]
        self.supervisor = Supervisor(self.children)
        self.supervisor._command = lambda child: [sys.executable, "-S", "-c", programs[child.name]]

    def run(self) -> int:
        status = self.supervisor.run()
        assert all(child.process.poll() is not None for child in self.children), "a child outlived its supervisor"
        return status


def at_first(folder, program: str, then: str) -> str:
    """Does one thing the first time it is started, and another from then on."""
    return f"""
import os, pathlib, signal, sys, time
first = pathlib.Path({str(folder)!r}, "first")
if not first.exists():
    first.touch()
    {program}
{then}
"""


def test_a_child_that_cannot_live_ends_the_service(caplog):
    assert Programs(api=SLEEPS, worker="raise SystemExit(3)").run() == 1
    assert f"the worker process ended {module.MOST_STILLBIRTHS} times in a row" in caplog.text


def test_a_child_whose_settings_are_wrong_ends_it_at_once(caplog):
    assert Programs(api=f"raise SystemExit({EXIT_CONFIG})", worker=SLEEPS).run() == EXIT_CONFIG
    assert "starting another" not in caplog.text


def test_a_child_that_dies_once_is_replaced(tmp_path, caplog):
    once = at_first(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)", STOPS_ALL)
    assert Programs(api=SLEEPS, worker=once).run() == 0
    assert caplog.text.count("starting another") == 1


def test_one_that_has_had_its_time_is_replaced_at_once_and_as_often_as_it_asks(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "RESTART_PAUSE_S", 1000)
    counted = f"""
import os, pathlib, signal, sys, time
lives = pathlib.Path({str(tmp_path)!r}, "lives")
with lives.open("a") as file:
    file.write("x")
if len(lives.read_text()) <= {module.MOST_STILLBIRTHS + 2}:
    sys.exit({EXIT_RECYCLED})
{STOPS_ALL}
"""
    began = time.monotonic()
    assert Programs(worker=counted).run() == 0
    assert time.monotonic() - began < 20
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_a_child_has_its_own_environment_beside_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("OURS", "1")
    said = tmp_path / "said"
    program = f"import os, pathlib; pathlib.Path({str(said)!r}).write_text(os.environ['OURS'] + os.environ['DEVICE'])"
    child = Child("worker", [], 2.0, {"DEVICE": "cuda:1"})
    child.start([sys.executable, "-S", "-c", program])
    assert child.process.wait(20) == 0
    assert said.read_text() == "1cuda:1"
    assert "DEVICE" not in os.environ


def test_what_stands_beside_begins_first_is_looked_after_and_ends_last():
    told = []

    class Beside:
        def begin(self):
            told.append(("begin", len(psutil.Process().children())))

        def look(self):
            told.append(("look", len(psutil.Process().children())))
            if len(told) > 3:
                os.kill(os.getpid(), signal.SIGTERM)

        def end(self):
            told.append(("end", len(psutil.Process().children())))

    before = len(psutil.Process().children())
    made = Supervisor([Child("worker", [], 2.0)], Beside())
    made._command = lambda child: [sys.executable, "-S", "-c", SLEEPS]
    assert made.run() == 0
    assert [what for what, _ in told] == ["begin", "look", "look", "look", "end"]
    assert [n - before for _, n in told] == [0, 1, 1, 1, 0]


def test_the_command_of_a_child_does_not_take_modules_from_where_it_is_started():
    assert Child("worker 2", ["worker", "--one"], 1.0).command == [
        sys.executable, "-P", "-m", "attributor", "worker", "--one",
    ]  # fmt: skip


def test_one_that_is_killed_again_and_again_does_not_end_the_others(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "RESTART_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.02)
    often = f"""
import os, pathlib, signal, sys, time
lives = pathlib.Path({str(tmp_path)!r}, "lives")
lives.write_text(lives.read_text() + "x" if lives.exists() else "x")
if len(lives.read_text()) < {2 * module.MOST_STILLBIRTHS}:
    os.kill(os.getpid(), signal.SIGKILL)
{STOPS_ALL}
"""
    assert Programs(api=SLEEPS, worker=often).run() == 0
    assert caplog.text.count("starting another") == 2 * module.MOST_STILLBIRTHS - 1
