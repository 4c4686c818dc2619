"""The lives of models whose code does what it should not, and those of jobs that come at the wrong moment."""

import threading

import pytest
from attributor.errors import ModelNotReady
from attributor.jobs.model import Readiness
from attributor.runtimes.torch_runtime import configure_threads
from bundles import write_bundle
from unit.registry.keeping import HEAVY, Worker

configure_threads()


def in_a_thread(work, *args) -> None:
    thread = threading.Thread(target=work, args=args)
    thread.start()
    thread.join()


@pytest.fixture
def folder(tmp_path):
    for name in ("apple", "pear", "plum"):
        write_bundle(tmp_path, name, code=HEAVY)
    return tmp_path


def test_code_that_ends_the_process_fails_its_model_only(folder):
    write_bundle(folder, "quince", code="raise SystemExit(3)")
    worker = Worker(folder)
    worker.settle()
    assert "tried to end the process (SystemExit: 3)" in worker.reports["quince@1"].reason
    assert worker.reports["pear@1"].readiness is Readiness.READY


@pytest.mark.parametrize(
    "raised", ["KeyboardInterrupt", "GeneratorExit", "StopIteration", "type('Panic', (BaseException,), {})"]
)
def test_code_that_raises_what_is_no_exception_fails_its_model_only(folder, raised):
    write_bundle(folder, "quince", code=f"raise {raised}('over')")
    worker = Worker(folder)
    in_a_thread(worker.settle)  # as a worker does: of its main thread, KeyboardInterrupt is the operator's word
    assert worker.reports["quince@1"].readiness is Readiness.FAILED
    assert "over" in worker.reports["quince@1"].reason
    assert worker.reports["pear@1"].readiness is Readiness.READY


def test_code_that_raises_what_is_no_exception_when_it_is_loaded_again_fails_its_model(folder, tmp_path_factory):
    spoilt = tmp_path_factory.mktemp("spoilt") / "spoilt"
    code = f"from pathlib import Path\nif Path({str(spoilt)!r}).exists():\n    raise KeyboardInterrupt('over')\n"
    write_bundle(folder, "quince", code=code + HEAVY)
    worker = Worker(folder, memory_bytes=10_000)
    worker.settle()
    wanted = worker.job("quince")
    spoilt.touch()
    in_a_thread(worker.settle, wanted)
    with pytest.raises(ModelNotReady, match=r"could not be loaded again: .*over"):
        worker.keeper.hold("j", wanted)


def test_a_person_may_end_a_check_of_models(folder):
    write_bundle(folder, "aardvark", code="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Worker(folder).settle()


def test_a_look_that_fails_is_logged_and_changes_nothing(folder, monkeypatch, caplog):
    worker = Worker(folder)
    worker.settle()

    def raises() -> None:
        raise RuntimeError("of a file that nobody thought of")

    monkeypatch.setattr(worker.catalog, "refresh", raises)
    worker.rescan()
    assert "nobody thought of" in caplog.text
    assert worker.keeper.hold("j", worker.job("pear"))


def test_a_job_that_is_admitted_between_the_decision_and_the_load_keeps_its_model_and_the_budget_holds(folder):
    worker = Worker(folder, memory_bytes=10_000)
    worker.settle()
    apple, pear = worker.job("apple"), worker.job("pear")
    worker.settle(apple)
    assert not worker.keeper.hold("waits", pear)
    assert worker.keeper.due([pear]) == "pear@1", "apple is not in use, and will make room"
    assert worker.keeper.hold("came between", apple)
    worker.tell(worker.keeper.attend("pear@1"))
    assert worker.loaded() == {"apple@1"}
    assert not worker.registry.in_memory("pear@1")
    worker.registry.get("apple@1", apple.digest)
    assert not worker.keeper.hold("waits", pear)
    assert worker.step(pear) is None
    worker.keeper.release("came between")
    assert worker.step(pear) == "pear@1"
    assert worker.keeper.hold("waits", pear)
    assert worker.loaded() == {"pear@1"}


def test_a_job_that_is_admitted_while_another_model_is_proven_keeps_its_own(folder):
    worker = Worker(folder, memory_bytes=10_000)
    apple, pear = worker.job("apple"), worker.job("pear")
    worker.settle(apple)
    write_bundle(folder, "quince", code=HEAVY)
    worker.rescan()
    quince = worker.job("quince")
    assert worker.keeper.due([quince]) == "quince@1"
    assert worker.keeper.hold("came between", apple)
    worker.tell(worker.keeper.attend("quince@1"))
    assert worker.loaded() == {"apple@1"}
    assert worker.reports["quince@1"].readiness is Readiness.READY
    worker.keeper.release("came between")
    assert worker.settle(quince) == ["quince@1"]
    assert worker.settle(pear) == ["pear@1"]


def test_what_only_has_to_be_loaded_again_goes_before_what_is_to_be_proven(folder):
    worker = Worker(folder, memory_bytes=10_000)
    worker.settle()
    write_bundle(folder, "quince", code=HEAVY)
    worker.rescan()
    assert worker.step(worker.job("quince"), worker.job("plum")) == "plum@1"
    assert worker.step(worker.job("quince"), worker.job("plum")) == "quince@1"
