"""What a long job costs the short ones beside it: in milliseconds over HTTP, and in steps of an engine."""

import json
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, fixed_baseline
from attributor.jobs.job import JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import ModelInfo
from attributor.registry.catalog import FolderCatalog
from attributor.registry.registry import Registry

from benchmarks.serving import load
from benchmarks.serving.load import Pace, Run
from benchmarks.serving.questions import TOLERANCE, Questions

#: 5 inputs of 2,000 nodes each: a job of 10,000 evaluations.
_LONG_INPUTS = 5
_LONG_STEPS = 2_000
_LONG_OPTIONS = {"rule": "gauss_legendre", "n_steps": _LONG_STEPS}
#: The bar: a short job waits for so many steps more, p99.
MOST_STEPS_LATER = 3
_SHORT_JOBS = 200


@dataclass(frozen=True, slots=True)
class Fairness:
    """Short jobs over HTTP alone and beside a long job, steps of the engine by short job in both, and how many long
    jobs ended meanwhile."""

    model: str
    alone: Run
    beside: Run
    long_jobs: int
    steps_alone: tuple[int, ...]
    steps_beside: tuple[int, ...]

    @property
    def steps_later(self) -> float:
        """p99 of the steps beside a long job, less the p99 alone."""
        return float(np.quantile(self.steps_beside, 0.99) - np.quantile(self.steps_alone, 0.99))


def fairness(port: int, headers: str, asked: Questions, models: Path, seconds: float) -> Fairness:
    """One client of short jobs, without and beside one job of 10,000 evaluations that begins again when it ends."""
    requests = load.prepared("/v1/attributions", asked.bodies(1, ours=True), headers)
    pace = Pace(seconds / 4, seconds, answers_each=1)
    alone = load.run([port], requests, 1, pace)
    long = _LongJobs(port, asked.bodies(_LONG_INPUTS, ours=True, **_LONG_OPTIONS)[0])
    long.start()
    try:
        beside = load.run([port], requests, 1, pace)
    finally:
        long.end()
    return Fairness(asked.model, alone, beside, long.ended, *engine_steps(models, asked))


class _LongJobs(threading.Thread):
    """One long job after another, until it is told to end; the last is cancelled."""

    def __init__(self, port: int, body: bytes) -> None:
        super().__init__()
        self._url, self._body, self._stop_now = f"http://127.0.0.1:{port}/v1/attributions", body, threading.Event()
        self.ended = 0

    def run(self) -> None:
        while not self._stop_now.is_set():
            job = self._ask("POST", self._url, self._body)
            while not self._stop_now.wait(0.1):
                if self._ask("GET", f"{self._url}/{job['id']}")["state"] not in ("queued", "running"):
                    self.ended += 1
                    break
            else:
                self._ask("DELETE", f"{self._url}/{job['id']}")

    def end(self) -> None:
        self._stop_now.set()
        self.join()

    @staticmethod
    def _ask(method: str, url: str, body: bytes | None = None) -> dict:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")


def engine_steps(models: Path, asked: Questions) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Steps from the admission of a short job to its end: alone, and while a long job runs."""
    torch.set_num_threads(1)
    registry = Registry()
    catalog = FolderCatalog(models)
    registry.load_all(catalog)
    info = catalog.get(asked.model)

    engine = Engine(registry, time.monotonic)
    short = [
        job_spec(info, asked.values[number : number + 1], Quadrature(tolerance=TOLERANCE))
        for number in range(_SHORT_JOBS)
    ]
    long = job_spec(info, asked.values[:_LONG_INPUTS], Quadrature(rule=RuleName.GAUSS_LEGENDRE, n_steps=_LONG_STEPS))
    alone = [_steps(engine, one) for one in short]
    beside = []
    for one in short:
        if engine.idle:
            engine.admit("long", long)
            engine.step()
        beside.append(_steps(engine, one))
    return tuple(alone), tuple(beside)


def job_spec(info: ModelInfo, rows: np.ndarray, quadrature: Quadrature) -> JobSpec:
    """A job of these inputs (n, *shape), from the model's default baseline."""
    baseline = info.baselines[info.default_baseline]
    return JobSpec(
        kind=JobKind.ATTRIBUTION,
        model=info.name,
        version=info.version,
        digest=info.digest,
        declared=info.inputs,
        inputs=tuple({info.inputs[0].name: row} for row in rows),
        fingerprint="",
        explanation=Explanation(baselines=(fixed_baseline("default", baseline.tensors),)),
        quadrature=quadrature,
    )


def _steps(engine: Engine, spec: JobSpec) -> int:
    engine.admit("short", spec)
    for count in range(1, 100_000):
        if any(ended.job_id == "short" for ended in engine.step()):
            return count
    raise RuntimeError("a short job did not end")
