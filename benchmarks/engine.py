"""How near the engine comes to the physical limit: the same forward and backward passes in plain torch.

One run, one process, one thread: both bundles, 64 jobs of one input at 5 % and 1 %, against plain passes at batch 256.
Prints a table; figures are kept in RESULTS.md.  Run: .venv/bin/python -m benchmarks.engine
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, fixed_baseline
from attributor.jobs.job import JobKind, JobSpec, Quadrature
from attributor.jobs.model import ModelInfo
from attributor.jobs.result import AttributionResult
from attributor.registry.catalog import FolderCatalog
from attributor.registry.loader import load_module
from attributor.registry.registry import Registry
from sklearn.datasets import load_breast_cancer, load_digits

MODELS = Path(__file__).resolve().parent.parent / "models"
N_JOBS = 64
BATCH = 256
REPEATS = 7


def main() -> None:
    torch.set_num_threads(1)
    catalog = FolderCatalog(MODELS)
    registry = Registry(max_points=BATCH)
    registry.load_all(catalog)
    print(f"{'model':<16}{'tolerance':>10}{'evaluations, median':>21}{'ours, /s':>12}{'torch, /s':>12}{'share':>8}")
    for name, rows in (
        ("breast-cancer", load_breast_cancer().data),
        ("digits", load_digits().images[:, None] / 16),
    ):
        info = catalog.get(name)
        inputs = rows[:N_JOBS].astype(np.float32)
        limit = plain_passes(load_module(catalog.bundle(name)), inputs)
        for tolerance in (0.05, 0.01):
            specs = [job(info, row, tolerance) for row in inputs]
            counts, rate = engine_rate(registry, specs)
            median = statistics.median(counts)
            print(f"{name:<16}{tolerance:>10.0%}{median:>21g}{rate:>12,.0f}{limit:>12,.0f}{rate / limit:>8.0%}")


def job(info: ModelInfo, row: np.ndarray, tolerance: float) -> JobSpec:
    return JobSpec(
        kind=JobKind.ATTRIBUTION,
        model=info.name,
        version=info.version,
        digest=info.digest,
        declared=info.inputs,
        inputs=({info.inputs[0].name: row},),
        fingerprint="",
        explanation=Explanation(baselines=(fixed_baseline("default", info.baselines[info.default_baseline].tensors),)),
        quadrature=Quadrature(tolerance=tolerance),
    )


def engine_rate(registry: Registry, specs: list[JobSpec]) -> tuple[list[int], float]:
    """Evaluations per job, and evaluations per second over all of them."""
    counts: list[int] = []

    def run() -> None:
        counts.clear()
        engine = Engine(registry, time.monotonic)
        for i, spec in enumerate(specs):
            engine.admit(str(i), spec)
        while not engine.idle:
            for ended in engine.step():
                assert isinstance(ended.outcome, AttributionResult)
                counts.extend(result.evaluations for result in ended.outcome.results)

    seconds = fastest(run)
    return counts, sum(counts) / seconds


def plain_passes(module: torch.nn.Module, inputs: np.ndarray) -> float:
    """Gradient evaluations per second of the bare module at a full batch."""
    batch = torch.from_numpy(np.resize(inputs, (BATCH, *inputs.shape[1:])))

    def run() -> None:
        for _ in range(20):
            points = batch.detach().requires_grad_(True)
            torch.autograd.grad(module(points).softmax(1)[:, 0].sum(), points)

    return 20 * BATCH / fastest(run)


def fastest(run: Callable[[], None]) -> float:
    """Seconds of the fastest of some runs: what the machine can do when nobody else has it."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main()
