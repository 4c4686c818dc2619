"""A worker at work between a queue in memory and a real engine, for the tests of the loop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from attributor.engine.engine import Engine
from attributor.worker.loop import WorkerLoop
from attributor.worker.policy import WorkerPolicy
from doubles import RecordingModel, fixed, job_spec, one_model
from problems import named
from unit.worker.memory_queue import AllThere, MemoryQueue

PROBLEM = named("product")
#: Takes several passes of the model's 64 points.
LONG = job_spec(PROBLEM, quadrature=fixed(300))
POLICY = WorkerPolicy(max_active_jobs=4, max_comparators=1, beat_s=0.01, step_timeout_s=30, drain_s=5, rescan_s=5)


@dataclass
class HeldModel(RecordingModel):
    """Passes wait while `gate` is closed."""

    gate: threading.Event = field(default_factory=threading.Event)
    #: After so many passes it closes by itself.
    closes_after: int | None = None

    def evaluate(self, points):
        if len(self.passes) == self.closes_after:
            self.closes_after = None
            self.gate.clear()
        assert self.gate.wait(20)
        return super().evaluate(points)


class NoComparator:
    """No job of these tests is a comparator's."""

    async def explain(self, spec):
        raise AssertionError("the engine's jobs are no comparator's")


@dataclass
class Running:
    worker: WorkerLoop
    stop: asyncio.Event
    task: asyncio.Task
    hangs: list[float]


@asynccontextmanager
async def working(queue: MemoryQueue, model: RecordingModel | None = None, **policy: Any) -> AsyncIterator[Running]:
    model = model or RecordingModel(PROBLEM)
    engine = Engine(one_model(model), time.monotonic)
    changed = WorkerPolicy(**{name: policy.get(name, getattr(POLICY, name)) for name in WorkerPolicy.__slots__})
    hangs: list[float] = []
    stop = asyncio.Event()
    ports = (queue, queue, NoComparator(), AllThere())
    worker = WorkerLoop("w", ports, engine, changed, time.monotonic, lambda: hangs.append(time.monotonic()))
    task = asyncio.create_task(worker.run(stop))
    try:
        yield Running(worker, stop, task, hangs)
    finally:
        stop.set()
        if isinstance(model, HeldModel):
            model.gate.set()
        async with asyncio.timeout(10):
            await task
