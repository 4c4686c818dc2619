"""The lives of real small models in a folder, step by step, as a worker takes them."""

import shutil
import sys
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
from attributor.errors import ModelNotReady
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.model import ModelInfo, Readiness
from attributor.registry.catalog import FolderCatalog
from attributor.registry.keeper import Keeper
from attributor.registry.registry import Registry
from attributor.runtimes.torch_runtime import configure_threads
from bundles import LINEAR, write_bundle

configure_threads()

#: Eight thousand bytes and some.
HEAVY = LINEAR.replace("super().__init__()", "super().__init__(); self.register_buffer('ballast', torch.zeros(2000))")
BATCH_STATISTICS = LINEAR.replace("functional.linear(x,", "functional.linear(x - x.mean(0),")


class Worker:
    """A keeper, and the steps of a worker without jobs of its own."""

    def __init__(self, folder, memory_bytes=None):
        self.catalog = FolderCatalog(folder)
        self.registry = Registry(memory_bytes=memory_bytes)
        self.keeper = Keeper(self.catalog, self.registry, comparators=False)
        self.reports = {}
        self.history = []

    def tell(self, news):
        for ref, report in news.items():
            self.history.append((ref, report and str(report.readiness)))
            self.reports[ref] = report

    def step(self, *wanted: JobSpec) -> str | None:
        due = self.keeper.due(wanted)
        if due is not None:
            self.tell({due: starting} if (starting := self.keeper.starting(due)) else {})
            self.tell(self.keeper.attend(due))
        return due

    def settle(self, *wanted: JobSpec) -> list[str]:
        return list(iter(lambda: self.step(*wanted), None))

    def rescan(self):
        self.tell(self.keeper.rescan())

    def loaded(self) -> set[str]:
        return {ref for ref, report in self.reports.items() if report is not None and report.loaded}

    def job(self, ref: str, **changes) -> JobSpec:
        return job(self.catalog.get(ref), **changes)


def in_a_thread(work, *args) -> None:
    thread = threading.Thread(target=work, args=args)
    thread.start()
    thread.join()


def job(info: ModelInfo, **changes) -> JobSpec:
    given = ({"features": np.zeros(2, np.float32)},)
    return replace(JobSpec(JobKind.PREDICTION, info.name, info.version, info.digest, info.inputs, given, ""), **changes)


@pytest.fixture
def folder(tmp_path):
    for name in ("apple", "pear", "plum"):
        write_bundle(tmp_path, name, code=HEAVY)
    return tmp_path


def test_models_are_proven_one_at_a_time_in_the_order_of_their_names(folder):
    worker = Worker(folder)
    assert worker.settle() == ["apple@1", "pear@1", "plum@1"]
    assert worker.history[:2] == [("apple@1", "loading"), ("apple@1", "ready")]
    report = worker.reports["plum@1"]
    assert (report.readiness, report.loaded, report.memory_bytes) == (Readiness.READY, True, 8024)
    assert not report.comparators


def test_those_that_jobs_wait_for_come_first(folder):
    worker = Worker(folder)
    wanted = worker.job("plum")
    assert not worker.keeper.hold("j", wanted)
    assert worker.step(wanted) == "plum@1"
    assert worker.keeper.hold("j", wanted)
    assert worker.settle() == ["apple@1", "pear@1"]


def test_what_was_used_the_longest_ago_makes_room_and_comes_back_without_a_second_proof(folder):
    worker = Worker(folder, memory_bytes=17_000)
    worker.settle()
    assert worker.loaded() == {"apple@1", "pear@1"}, "a proof alone pushes nothing out"
    proven = worker.reports["plum@1"]
    assert (proven.readiness, proven.loaded) == (Readiness.READY, False)
    wanted = worker.job("plum")
    assert not worker.keeper.hold("j", wanted)
    assert worker.settle(wanted) == ["plum@1"]
    assert worker.loaded() == {"pear@1", "plum@1"}
    assert ("plum@1", "loading") not in worker.history[-2:]
    assert worker.reports["plum@1"] == replace(proven, loaded=True)
    assert worker.keeper.hold("j", wanted)
    worker.registry.get("plum@1", wanted.digest)
    assert worker.settle(worker.job("apple")) == ["apple@1"]
    assert worker.loaded() == {"apple@1", "plum@1"}, "plum is in use"


def test_a_model_in_use_is_not_evicted_and_who_waits_for_it_is_not_starved(folder):
    worker = Worker(folder, memory_bytes=10_000)
    worker.settle()
    apple, pear = worker.job("apple"), worker.job("pear")
    worker.settle(apple)
    assert worker.keeper.hold("first", apple)
    assert worker.step(pear) is None
    assert worker.loaded() == {"apple@1"}
    assert not worker.keeper.hold("second", apple), "else pear would wait for as long as apples are asked for"
    worker.keeper.release("first")
    assert worker.step(pear, apple) == "pear@1"
    assert worker.keeper.hold("third", pear)
    assert worker.loaded() == {"pear@1"}
    assert worker.step(apple) is None
    worker.keeper.release("third")
    assert worker.step(apple) == "apple@1"


def test_a_model_that_was_cancelled_while_it_waited_for_room_holds_up_nobody(folder):
    worker = Worker(folder, memory_bytes=10_000)
    worker.settle()
    apple, pear = worker.job("apple"), worker.job("pear")
    worker.settle(apple)
    worker.keeper.hold("first", apple)
    assert worker.step(pear) is None
    assert worker.step() is None
    assert worker.keeper.hold("second", apple)


def test_an_evicted_model_leaves_memory_and_its_code_pythons_table_of_modules(folder):
    def imported():
        new = sys.modules.keys() - before
        return {name.split("_")[2] for name in new if name.startswith("attributor_bundle_")}

    before = set(sys.modules)
    worker = Worker(folder, memory_bytes=10_000)
    worker.settle(worker.job("pear"))
    assert imported() == {"pear"}
    model = weakref.ref(worker.registry.get("pear@1", worker.job("pear").digest))
    assert model() is not None
    worker.settle(worker.job("plum"))
    assert imported() == {"plum"}
    assert model() is None


def test_a_model_larger_than_the_whole_memory_fails_with_that_reason(folder):
    write_bundle(folder, "melon", code=HEAVY.replace("2000", "3000"))
    worker = Worker(folder, memory_bytes=10_000)
    worker.settle()
    report = worker.reports["melon@1"]
    assert (report.readiness, report.loaded) == (Readiness.FAILED, False)
    assert "12024 bytes of memory; all models together may take 10000 (worker.model_memory_bytes)" in report.reason
    with pytest.raises(ModelNotReady, match="12024 bytes"):
        worker.keeper.hold("j", worker.job("melon"))


def test_a_file_that_changed_while_its_model_was_unloaded_fails_the_model(folder):
    worker = Worker(folder, memory_bytes=10_000)
    worker.settle()
    wanted = worker.job("plum")
    (folder / "plum" / "1" / "model.py").write_text("raise SystemExit")
    assert worker.settle(wanted) == ["plum@1"]
    assert worker.reports["plum@1"].readiness is Readiness.FAILED
    with pytest.raises(ModelNotReady, match=r"could not be loaded again: model.py has 16 bytes"):
        worker.keeper.hold("j", wanted)
    assert worker.settle(wanted) == []


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


def test_a_new_version_is_proven_and_the_old_one_stays(folder):
    worker = Worker(folder)
    worker.settle()
    write_bundle(folder, "pear", "2", code=BATCH_STATISTICS)
    assert worker.settle() == []
    worker.rescan()
    assert worker.settle() == ["pear@2"]
    assert worker.reports["pear@2"].readiness is Readiness.FAILED
    assert worker.keeper.hold("j", worker.job("pear@1"))


def test_a_removed_model_drains_and_is_forgotten(folder):
    worker = Worker(folder)
    worker.settle()
    wanted = worker.job("pear")
    worker.keeper.hold("j", wanted)
    shutil.rmtree(folder / "pear")
    worker.rescan()
    assert worker.reports["pear@1"].readiness is Readiness.DRAINING
    assert worker.step() is None
    worker.registry.get("pear@1", wanted.digest)
    assert not worker.keeper.hold("k", wanted)
    worker.rescan()
    with pytest.raises(ModelNotReady, match="its bundle is gone"):
        worker.keeper.hold("k", wanted)
    worker.keeper.release("j")
    assert worker.step() == "pear@1"
    assert worker.reports["pear@1"] is None
    assert not worker.registry.in_memory("pear@1")
    with pytest.raises(ModelNotReady):
        worker.registry.info("pear@1")


def test_a_folder_that_comes_back_while_it_drains_serves_on(folder):
    worker = Worker(folder)
    worker.settle()
    wanted = worker.job("pear")
    worker.keeper.hold("j", wanted)
    (folder / "pear").rename(folder / "_pear")
    worker.rescan()
    (folder / "_pear").rename(folder / "pear")
    worker.rescan()
    assert worker.reports["pear@1"].readiness is Readiness.READY
    assert worker.keeper.hold("k", wanted)


def test_a_bundle_changed_in_place_waits_for_the_jobs_of_the_old_one(folder):
    worker = Worker(folder)
    worker.settle()
    old = worker.job("pear")
    worker.keeper.hold("j", old)
    shutil.rmtree(folder / "pear")
    write_bundle(folder, "pear", code=HEAVY.replace("2.0", "3.0"))
    worker.rescan()
    new = worker.job("pear")
    assert (worker.reports["pear@1"].readiness, worker.reports["pear@1"].digest) == (Readiness.DRAINING, old.digest)
    assert not worker.keeper.hold("k", new)
    assert worker.step(new) is None
    worker.keeper.release("j")
    assert worker.step(new) == "pear@1"
    assert worker.keeper.hold("k", new)
    assert worker.reports["pear@1"].digest == new.digest


def test_a_bundle_changed_in_place_that_fails_says_that_versions_are_immutable(folder):
    worker = Worker(folder)
    worker.settle()
    shutil.rmtree(folder / "pear")
    write_bundle(folder, "pear", code=BATCH_STATISTICS)
    worker.rescan()
    worker.settle()
    report = worker.reports["pear@1"]
    assert report.readiness is Readiness.FAILED
    assert "influence each other" in report.reason
    assert "versions are immutable" in report.reason
    shutil.rmtree(folder / "pear")
    write_bundle(folder, "pear", code=HEAVY)
    worker.rescan()
    worker.settle()
    assert worker.reports["pear@1"].readiness is Readiness.READY, "put back, it serves again"


def test_a_job_that_saw_a_new_bundle_first_waits_for_the_next_look(folder):
    worker = Worker(folder)
    worker.settle()
    write_bundle(folder, "pear", "2")
    wanted = job(FolderCatalog(folder).get("pear@2"))
    assert not worker.keeper.hold("j", wanted)
    assert worker.step(wanted) is None
    worker.rescan()
    assert not worker.keeper.hold("j", wanted)
    assert worker.step(wanted) == "pear@2"
    assert worker.keeper.hold("j", wanted)


def test_a_job_for_an_old_or_a_broken_bundle_is_refused_after_one_more_look(folder):
    worker = Worker(folder)
    worker.settle()
    old = replace(worker.job("pear"), digest="0" * 64)
    assert not worker.keeper.hold("j", old)
    broken = worker.job("plum")
    (folder / "plum" / "1" / "model.py").write_text("")
    worker.rescan()
    with pytest.raises(ModelNotReady, match="was changed since this was asked for"):
        worker.keeper.hold("j", old)
    assert not worker.keeper.hold("k", broken)
    worker.rescan()
    with pytest.raises(ModelNotReady, match=r"plum@1 is not served: model.py has 0 bytes"):
        worker.keeper.hold("k", broken)


def test_a_comparators_job_needs_the_proof_and_not_the_memory(folder):
    worker = Worker(folder, memory_bytes=10_000)
    wanted = worker.job("plum", kind=JobKind.ATTRIBUTION, explanation=Explanation(method=Method.LIME))
    assert not worker.keeper.hold("j", wanted)
    worker.settle()
    assert worker.loaded() == {"apple@1"}
    assert worker.keeper.hold("j", wanted)
    assert worker.step(wanted) is None
    assert worker.registry.info("plum@1").digest == wanted.digest


def test_a_models_folder_that_is_gone_for_a_moment_changes_nothing(folder, tmp_path, caplog):
    worker = Worker(folder)
    worker.settle()
    away = tmp_path.with_name(tmp_path.name + "-away")
    folder.rename(away)
    worker.rescan()
    assert "does not exist" in caplog.text
    assert worker.keeper.hold("j", worker.job("pear"))
    away.rename(folder)
