"""The same on a machine with CUDA: evaluations per second against plain passes, and how many jobs share one pass."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from attributor.engine.engine import Engine
from attributor.jobs.job import Quadrature
from attributor.registry.catalog import FolderCatalog
from attributor.registry.registry import Registry

from benchmarks.serving import bundles, load
from benchmarks.serving.bars import SHARE_OF_LIMIT, Bar
from benchmarks.serving.cells import say
from benchmarks.serving.fairness import job_spec
from benchmarks.serving.load import Pace
from benchmarks.serving.parties import Question, ours
from benchmarks.serving.passes import limit
from benchmarks.serving.questions import TOLERANCE, Questions, checked, questions

MODELS = ("resnet50", "googlenet", "encoder")
#: The bar.
_JOBS_IN_A_PASS = 16
_JOBS = 32
_CLIENTS = 64
_INPUTS = 128


def accelerated(work: Path, weights: Path, seconds: float) -> tuple[list[Bar], list[str]]:
    """The bars, or what could not be run."""
    if not torch.cuda.is_available():
        return [], [f"{name} on CUDA: there is no such device here" for name in MODELS]
    verdicts: list[Bar] = []
    for name in MODELS:
        models = work / f"models-{name}"
        bundles.make_bundle(models, weights, name)
        asked = questions(models, name, _INPUTS)
        verdicts += [_throughput(models, asked, work, seconds), _sharing(models, asked)]
        say(f"{name} on CUDA: {verdicts[-2].measured}; {verdicts[-1].measured} jobs in a pass")
    return verdicts, []


def _throughput(models: Path, asked: Questions, work: Path, seconds: float) -> Bar:
    bodies = asked.bodies(1, ours=True)
    plain = limit(models / asked.model / "1", 1, seconds, "cuda")
    question = Question(models, asked.model, work, workers=1, threads=0, steps=0, body=bodies[0], device="cuda")
    party = ours()
    server = party.start(question, "")
    try:
        run = load.run(
            server.ports, load.prepared(party.path, bodies, party.headers), _CLIENTS, Pace(seconds, 2 * seconds, 1)
        )
    finally:
        server.stop()
    check = checked(run, asked)
    share = check.evaluations / run.seconds / plain.gradients_per_s
    what = f"{asked.model} on CUDA: evaluations/s at {_CLIENTS} clients against plain passes at batch {plain.batch}"
    return Bar(what, f"{SHARE_OF_LIMIT:.0%}", f"{share:.0%}, {check.violations} violations", share >= SHARE_OF_LIMIT)


def _sharing(models: Path, asked: Questions, device: str = "cuda") -> Bar:
    """Admits jobs of one input each, and sees how many are in the fullest pass."""
    registry = Registry(device=device)
    catalog = FolderCatalog(models)
    registry.load_all(catalog)
    watching = _Watching(registry)
    engine = Engine(watching, time.monotonic)
    for number in range(_JOBS):
        engine.admit(
            str(number),
            job_spec(catalog.get(asked.model), asked.values[number : number + 1], Quadrature(tolerance=TOLERANCE)),
        )
    while not engine.idle:
        engine.step()
    most = watching.most
    return Bar(
        f"{asked.model} on CUDA: jobs in the fullest pass", f"{_JOBS_IN_A_PASS}", str(most), most >= _JOBS_IN_A_PASS
    )


class _Watching:
    """A provider of models that counts the routes of each pass: one for each job of one input."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._models: dict[str, _Watched] = {}  # one each: passes are shared by jobs of the same object
        self.most = 0

    def get(self, ref: str, digest: str) -> Any:
        if ref not in self._models:
            self._models[ref] = _Watched(self._registry.get(ref, digest), self)
        return self._models[ref]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)


class _Watched:
    """A model, watched while it evaluates."""

    def __init__(self, model: Any, watching: _Watching) -> None:
        self._model, self._watching = model, watching

    def evaluate(self, points: Sequence[Any]) -> Any:
        self._watching.most = max(self._watching.most, len({each.route for each in points}))
        return self._model.evaluate(points)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
