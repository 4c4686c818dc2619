"""The lives of real small models in a folder, step by step, as a worker takes them."""

import shutil
import sys
import weakref
from dataclasses import replace

import pytest
from attributor.errors import ModelNotReady
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import JobKind
from attributor.jobs.model import Readiness
from attributor.registry.catalog import FolderCatalog
from attributor.runtimes.torch_runtime import configure_threads
from bundles import LINEAR, write_bundle
from unit.registry.keeping import HEAVY, Worker, job

configure_threads()

BATCH_STATISTICS = LINEAR.replace("functional.linear(x,", "functional.linear(x - x.mean(0),")


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
