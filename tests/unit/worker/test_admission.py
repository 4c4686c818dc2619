"""Jobs that wait for their models: the whole worker loop and engine on real small bundles, a queue in memory."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import Failure, JobKind, JobSpec
from attributor.jobs.model import ModelReport, Readiness
from attributor.jobs.result import AttributionResult, PredictionResult
from attributor.registry.catalog import FolderCatalog
from attributor.registry.keeper import Keeper
from attributor.registry.registry import Registry
from attributor.runtimes.torch_runtime import configure_threads
from attributor.worker import admission, loop
from attributor.worker.loop import WorkerLoop
from attributor.worker.policy import WorkerPolicy
from bundles import LINEAR, write_bundle
from unit.worker.memory_queue import MemoryQueue, until

configure_threads()

POLICY = WorkerPolicy(max_active_jobs=8, max_comparators=1, beat_s=0.01, step_timeout_s=30, drain_s=5, rescan_s=0.05)
#: Is not built before a file exists.
GATED = """
import time
from pathlib import Path

def wait():
    while not Path({gate!r}).exists():
        time.sleep(0.01)
"""
BATCH_STATISTICS = LINEAR.replace("functional.linear(x,", "functional.linear(x - x.mean(0),")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(loop, "STORE_RETRY_S", 0.01)
    monkeypatch.setattr(loop, "BELL_S", 0.02)
    monkeypatch.setattr(admission, "RETRY_S", 0.01)


@dataclass
class Gate:
    """Of a model that is loading."""

    path: Path

    def open(self) -> None:
        self.path.touch()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of models: `pear`, which loads in no time."""
    write_bundle(tmp_path / "models", "pear")
    return tmp_path / "models"


@pytest.fixture
def gate(folder: Path, tmp_path: Path):
    """Of `apple`, which sorts before `pear`: its load lasts until the gate is opened, at the end at the latest."""
    gate = Gate(tmp_path / "gate")
    code = GATED.format(gate=str(gate.path)) + LINEAR.replace("def build():", "def build():\n    wait()")
    write_bundle(folder, "apple", code=code)
    yield gate
    gate.open()


class PromptComparator:
    """Answers at once."""

    async def explain(self, spec: JobSpec) -> AttributionResult | Failure:
        return AttributionResult(())


@dataclass
class Running:
    queue: MemoryQueue
    catalog: FolderCatalog
    registry: Registry
    stop: asyncio.Event
    task: asyncio.Task

    def put(self, job_id: str, ref: str, **changes: Any) -> None:
        self.queue.put(job_id, spec=prediction(self.catalog, ref, **changes))


def prediction(catalog: FolderCatalog, ref: str, **changes: Any) -> JobSpec:
    info = catalog.get(ref)
    row = {"features": np.array([1.0, 0.0], np.float32)}
    spec = JobSpec(JobKind.PREDICTION, info.name, info.version, info.digest, info.inputs, (row,), "")
    return replace(spec, **changes)


@asynccontextmanager
async def working(
    folder: Path, queue: MemoryQueue | None = None, memory_bytes: int | None = None, **policy: Any
) -> AsyncIterator[Running]:
    queue = queue or MemoryQueue()
    catalog, registry = FolderCatalog(folder), Registry(memory_bytes=memory_bytes)
    ports = (queue, queue, PromptComparator(), Keeper(catalog, registry, comparators=True))
    engine = Engine(registry, time.monotonic)
    worker = WorkerLoop("w", ports, engine, replace(POLICY, **policy), time.monotonic, lambda: None)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    try:
        yield Running(queue, catalog, registry, stop, task)
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


def told(queue: MemoryQueue, ref: str) -> list[str]:
    return [str(report.readiness) for report in queue.told if report.ref == ref]


def ready(queue: MemoryQueue, ref: str) -> Callable[[], bool]:
    return lambda: (report := queue.reports.get(ref)) is not None and report.readiness is Readiness.READY


def logits(outcome: object) -> list[float]:
    assert isinstance(outcome, PredictionResult), outcome
    return outcome.outputs["logits"][0].tolist()


async def test_a_job_waits_under_its_lease_while_its_model_loads(folder, gate):
    async with working(folder) as worker:
        queue = worker.queue
        worker.put("waits", "apple")
        await until(lambda: told(queue, "apple@1") == ["loading"] and queue.renewed["waits"] > 3)
        assert queue.outcomes == {}
        gate.open()
        await until(lambda: "waits" in queue.outcomes)
    assert logits(queue.outcomes["waits"]) == [2.5, 0.0]
    assert told(queue, "apple@1") == ["loading", "ready"]


async def test_what_is_in_memory_is_served_while_another_model_loads(folder, tmp_path):
    async with working(folder) as worker:
        queue = worker.queue
        await until(ready(queue, "pear@1"))
        gate = Gate(tmp_path / "gate")
        code = GATED.format(gate=str(gate.path)) + LINEAR.replace("def build():", "def build():\n    wait()")
        write_bundle(folder, "apple", code=code)
        try:
            await until(lambda: told(queue, "apple@1") == ["loading"])
            worker.catalog.refresh()
            worker.put("waits", "apple")
            await until(lambda: "waits" in queue.leases)
            for number in range(5):
                worker.put(f"job {number}", "pear")
            await until(lambda: len(queue.outcomes) == 5)
            assert "waits" in queue.leases
        finally:
            gate.open()
        await until(lambda: len(queue.outcomes) == 6)


async def test_a_waiting_job_can_be_cancelled(folder, gate):
    async with working(folder) as worker:
        queue = worker.queue
        worker.put("waits", "apple")
        await until(lambda: queue.renewed["waits"] > 0)
        queue.stop.add("waits")
        await until(lambda: "waits" in queue.outcomes)
        assert queue.outcomes == {"waits": None}
        assert told(queue, "apple@1") == ["loading"]
        gate.open()
        worker.put("next", "apple")
        await until(lambda: "next" in queue.outcomes)
        await until(lambda: not worker.registry.in_use("apple@1"))


async def test_a_job_whose_deadline_passes_while_it_waits_fails_then(folder, gate):
    async with working(folder) as worker:
        queue = worker.queue
        queue.waited_s = 10.0
        worker.put("late", "apple", deadline_s=10.2)
        worker.put("waits", "apple", deadline_s=60.0)
        await until(lambda: queue.renewed["late"] > 3)
        assert queue.outcomes == {}
        await until(lambda: "late" in queue.outcomes)
        assert queue.outcomes["late"].code == "deadline_exceeded"
        gate.open()
        await until(lambda: "waits" in queue.outcomes)
    assert logits(queue.outcomes["waits"]) == [2.5, 0.0]


async def test_a_waiting_job_whose_model_fails_gets_the_reason(folder):
    write_bundle(folder, "plum", code=BATCH_STATISTICS)
    async with working(folder) as worker:
        worker.put("a", "plum")
        await until(lambda: "a" in worker.queue.outcomes)
        worker.put("b", "plum")
        await until(lambda: "b" in worker.queue.outcomes)
    for failure in worker.queue.outcomes.values():
        assert (failure.code, "influence each other" in failure.detail) == ("model_not_ready", True)


async def test_a_waiting_job_that_is_claimed_again_is_answered_once(folder, gate):
    async with working(folder) as worker:
        queue = worker.queue
        worker.put("waits", "apple")
        await until(lambda: queue.renewed["waits"] > 0)
        first = queue.leases.pop("waits")
        worker.put("waits", "apple")
        await until(lambda: queue.leases.get("waits", first) != first)
        gate.open()
        await until(lambda: "waits" in queue.outcomes)
    assert logits(queue.outcomes["waits"]) == [2.5, 0.0]


async def test_a_comparators_job_waits_for_the_proof(folder, gate):
    async with working(folder) as worker:
        queue = worker.queue
        compared = {"kind": JobKind.ATTRIBUTION, "explanation": Explanation(method=Method.LIME)}
        worker.put("one", "apple", **compared)
        worker.put("two", "apple", **compared)
        await until(lambda: queue.renewed["one"] > 3)
        assert queue.leases.keys() == {"one"}, "the other waits in the queue, for there is one place"
        gate.open()
        await until(lambda: len(queue.outcomes) == 2)
    assert queue.outcomes["one"] == AttributionResult(())


async def test_at_the_end_a_load_under_way_is_not_waited_for(folder, gate):
    async with working(folder, drain_s=0.1) as worker:
        worker.put("waits", "apple")
        await until(lambda: worker.queue.renewed["waits"] > 0)
        began = time.monotonic()
        worker.stop.set()
        await worker.task
        assert time.monotonic() - began < 2
    assert worker.queue.released == ["waits"]
    assert told(worker.queue, "apple@1") == ["loading"]


async def test_models_that_do_not_fit_together_take_turns(folder):
    heavy = LINEAR.replace("super().__init__()", "super().__init__(); self.register_buffer('b', torch.zeros(2000))")
    for name, weight in (("plum", "3.0"), ("quince", "4.0")):
        write_bundle(folder, name, code=heavy.replace("2.0", weight))
    async with working(folder, memory_bytes=10_000) as worker:
        queue = worker.queue
        for number in range(12):
            worker.put(f"plum {number}", "plum")
            worker.put(f"quince {number}", "quince")
        await until(lambda: len(queue.outcomes) == 24)
    firsts = {job_id.split()[0]: logits(outcome)[0] for job_id, outcome in queue.outcomes.items()}
    assert firsts == {"plum": 3.5, "quince": 4.5}


async def test_new_and_removed_versions_are_reported_while_it_works(folder):
    async with working(folder) as worker:
        queue = worker.queue
        await until(ready(queue, "pear@1"))
        write_bundle(folder, "pear", "2")
        await until(ready(queue, "pear@2"))
        shutil.rmtree(folder / "pear" / "1")
        await until(lambda: "pear@1" not in queue.reports)
        assert queue.reports.keys() == {"pear@2"}


async def test_reports_that_the_store_did_not_take_are_told_later(folder):
    queue = MemoryQueue(away=True)
    async with working(folder, queue):
        await asyncio.sleep(0.3)
        assert queue.reports == {}
        queue.away = False
        await until(ready(queue, "pear@1"))


async def test_a_model_that_another_worker_serves_is_not_reported_as_loading(folder):
    (info,) = FolderCatalog(folder).all()
    other = ModelReport(info.ref, info.digest, Readiness.READY, None, (), {}, 1.0)
    queue = MemoryQueue(reports={info.ref: other})
    async with working(folder, queue):
        await until(lambda: queue.told)
    assert told(queue, "pear@1") == ["ready"]
    queue = MemoryQueue(reports={info.ref: replace(other, digest="0" * 64)})
    async with working(folder, queue):
        await until(lambda: len(queue.told) == 2)
    assert told(queue, "pear@1") == ["loading", "ready"]


async def test_code_that_raises_what_is_no_exception_holds_up_no_other_model(folder):
    write_bundle(folder, "evil", code="raise type('Panic', (BaseException,), {})('over')")
    async with working(folder) as worker:
        worker.put("e", "evil")
        worker.put("p", "pear")
        await until(lambda: len(worker.queue.outcomes) == 2)
    assert "over" in worker.queue.outcomes["e"].detail
    assert logits(worker.queue.outcomes["p"]) == [2.5, 0.0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, StopIteration, GeneratorExit, ValueError])
async def test_whatever_the_thread_of_models_raises_arrives(error):
    def work() -> None:
        raise error("over")

    async with asyncio.timeout(10):
        with pytest.raises(ValueError if error is ValueError else RuntimeError) as caught:
            await admission._unless(asyncio.Event(), work)
    assert error is ValueError or isinstance(caught.value.__cause__, error)
