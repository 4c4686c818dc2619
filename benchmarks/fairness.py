"""Short jobs beside a long one, in the real engine, against the same jobs without it: steps and seconds until the end.

One process, one thread. Short jobs (one input, 5 %) come one after the other; the long one is 20 inputs with 500 points
each, replaced when it ends, of the same tenant and of another. Steps are passes; the pass that a job is admitted before
is the first. Figures are kept in RESULTS.md.  Run: .venv/bin/python benchmarks/fairness.py
"""

import time
from itertools import count
from pathlib import Path

import numpy as np
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import Explanation, fixed_baseline
from attributor.jobs.job import JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import ModelInfo
from attributor.jobs.result import AttributionResult
from attributor.registry.catalog import FolderCatalog
from attributor.registry.registry import Registry
from sklearn.datasets import load_breast_cancer, load_digits

MODELS = Path(__file__).resolve().parent.parent / "models"
MAX_POINTS = 256
N_SHORT = 300
SHORT = Quadrature(tolerance=0.05)
LONG = Quadrature(rule=RuleName.GAUSS_LEGENDRE, n_steps=500)
LONG_INPUTS = 20


def main() -> None:
    torch.set_num_threads(1)
    catalog = FolderCatalog(MODELS)
    registry = Registry(max_points=MAX_POINTS)
    registry.load_all(catalog)
    print(f"{'model':<16}{'beside':<16}" + "".join(f"{head:>12}" for head in ("steps p50", "p99", "ms p50", "p99")))
    for name, rows in (
        ("breast-cancer", load_breast_cancer().data),
        ("digits", load_digits().images[:, None] / 16),
    ):
        info = catalog.get(name)
        inputs = rows.astype(np.float32)
        alone = np.empty(0)
        for beside in (None, "same tenant", "other tenant"):
            steps, seconds = serve(registry, info, inputs, beside)
            alone = steps if beside is None else alone
            figures = [np.quantile(steps, q) for q in (0.5, 0.99)] + [
                1000 * np.quantile(seconds, q) for q in (0.5, 0.99)
            ]
            delay = f"   delay p99: {np.quantile(steps - alone, 0.99):g} steps" if beside else ""
            print(f"{name:<16}{beside or 'nothing':<16}" + "".join(f"{figure:>12.4g}" for figure in figures) + delay)


def serve(registry: Registry, info: ModelInfo, rows: np.ndarray, beside: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Steps and seconds of each short job."""
    engine = Engine(registry, time.monotonic)
    long = spec(info, rows[:LONG_INPUTS], LONG, "other" if beside == "other tenant" else "default")
    numbers, steps, seconds = count(), [], []
    running = ""
    for i in range(N_SHORT):
        began, n_steps = time.perf_counter(), 0
        engine.admit(f"short {i}", spec(info, rows[i : i + 1], SHORT, "default"))
        ended: set[str] = set()
        while f"short {i}" not in ended:
            if beside and (not running or running in ended):
                running = f"long {next(numbers)}"
                engine.admit(running, long)
            finished = engine.step()
            assert all(isinstance(each.outcome, AttributionResult) for each in finished), finished
            ended = {each.job_id for each in finished}
            n_steps += 1
        if running in ended:
            running = ""
        steps.append(n_steps)
        seconds.append(time.perf_counter() - began)
    engine.cancel(running)
    return np.array(steps), np.array(seconds)


def spec(info: ModelInfo, rows: np.ndarray, quadrature: Quadrature, tenant: str) -> JobSpec:
    return JobSpec(
        kind=JobKind.ATTRIBUTION,
        model=info.name,
        version=info.version,
        digest=info.digest,
        declared=info.inputs,
        inputs=tuple({info.inputs[0].name: row} for row in rows),
        fingerprint="",
        explanation=Explanation(baselines=(fixed_baseline("default", info.baselines[info.default_baseline].tensors),)),
        quadrature=quadrature,
        tenant=tenant,
    )


if __name__ == "__main__":
    main()
