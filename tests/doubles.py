"""Stand-ins for the engine's ports, with arithmetic in numpy float64: a recording model, its provider, a clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from attributor.engine.engine import Engine
from attributor.errors import ModelNotReady, UnknownModel
from attributor.jobs.job import Failure, JobKind, JobSpec, Quadrature, RuleName, Target
from attributor.jobs.model import Baseline, Feature, InputKind, InputSpec, ModelInfo, OutputSpec
from attributor.jobs.result import AttributionResult, JobResult, PathResult
from attributor.ports import Evaluation, PathSpec, Point
from numpy.typing import NDArray
from problems import Floats, Problem

#: The one input of every model here, a row of features.
INPUT = "x"
LABELS = ("no", "yes")
#: The class that a RecordingModel predicts, whose score is the problem's value.
PREDICTED = 1


@dataclass
class RecordingModel:
    """A GradientModel on a problem's value and gradient. It keeps to the port's promises and insists on the caller's:

    a path is opened once, closed once, and its alpha 1 comes first. `raising`: paths (ids) whose points make a pass
    raise; `spoilt`: (path id, alpha) to what comes back there in place of the truth.
    """

    problem: Problem
    max_points: int = 64
    passes: list[tuple[Point, ...]] = field(default_factory=list)
    raising: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    spoilt: dict[tuple[str, float], Evaluation] = field(default_factory=dict)
    vectors_factor: float = 1.0
    paths: dict[str, PathSpec] = field(default_factory=dict)
    _vectors: dict[str, dict[int, Floats]] = field(default_factory=dict)
    _resolved: set[str] = field(default_factory=set)

    def open(self, path: str, spec: PathSpec) -> None:
        assert path not in self.paths, f"{path} is open already"
        if path in self.refusing:
            raise MemoryError("no room on the device")
        self.paths[path] = spec
        self._vectors[path] = {}

    def evaluate(self, points: Sequence[Point]) -> list[Evaluation]:
        assert 0 < len(points) <= self.max_points
        for point in points:
            assert point.path in self.paths, f"{point.path} is not open"
            assert point.path in self._resolved or point.alpha == 1, "alpha 1 comes first"
            self._resolved.add(point.path)
        self.passes.append(tuple(points))
        if broken := self.raising & {point.path for point in points}:
            raise RuntimeError(f"shapes do not match\n{sorted(broken)}")
        return [self._evaluation(point) for point in points]

    def _evaluation(self, point: Point) -> Evaluation:
        spec = self.paths[point.path]
        end = np.asarray(spec.example[INPUT], dtype=float)
        start = end if spec.baseline is None else np.asarray(spec.baseline[INPUT], dtype=float)
        at = (start + point.alpha * (end - start))[None]
        score = float(self.problem.value(at)[0])
        slope = None
        if point.gradient:
            with np.errstate(all="ignore"):
                vector = self.problem.gradient(at)[0] * (end - start)
                slope = float(vector.sum())
            self._vectors[point.path][point.node] = vector
        return self.spoilt.get((point.path, point.alpha), Evaluation(score, slope))

    def target_class(self, path: str) -> tuple[int, bool]:
        index = self.paths[path].target.class_index
        return (PREDICTED, True) if index is None else (index, index == PREDICTED)

    def outputs(self, path: str) -> NDArray[np.float32]:
        score = self.problem.value(np.asarray(self.paths[path].example[INPUT], dtype=float)[None])[0]
        return np.array([-score, score], dtype=np.float32)

    def attributions(self, path: str, weights: Mapping[int, float]) -> Mapping[str, Floats]:
        # In the order of the nodes, so that the sum does not depend on the order of the passes.
        kept = self._vectors[path]
        return {INPUT: self.vectors_factor * sum(weights[node] * kept[node] for node in sorted(weights))}

    def close(self, path: str) -> None:
        del self.paths[path], self._vectors[path]

    def points_of(self, job_id: str) -> list[Point]:
        """All points that a job has had evaluated, in order."""
        return [point for points in self.passes for point in points if point.path.startswith(f"{job_id}/")]


def model_info(problem: Problem, name: str = "net", features: tuple[Feature, ...] | None = None) -> ModelInfo:
    """A tabular model's description, version 1, with the problem's baseline."""
    count = len(problem.example)
    features = features or tuple(Feature(f"f{i}") for i in range(count))
    baseline = Baseline("zero", "absence", {INPUT: np.array(problem.baseline, dtype=np.float32)})
    return ModelInfo(
        name=name,
        version="1",
        digest="d1",
        title=name,
        description="",
        licence="",
        source="",
        inputs=(InputSpec(INPUT, InputKind.TABULAR, (count,), features),),
        output=OutputSpec("score", LABELS),
        baselines={"zero": baseline},
        default_baseline="zero",
    )


@dataclass
class FakeProvider:
    """A ModelProvider: models and descriptions by `name@version`; those in `not_ready` have failed their proof."""

    models: dict[str, RecordingModel]
    infos: dict[str, ModelInfo]
    not_ready: set[str] = field(default_factory=set)

    def get(self, ref: str, digest: str) -> RecordingModel:
        if ref in self.not_ready:
            raise ModelNotReady(f"{ref} failed its proof")
        if digest != self.info(ref).digest:
            raise ModelNotReady(f"{ref} has another digest")
        return self.models[ref]

    def info(self, ref: str) -> ModelInfo:
        if ref not in self.infos:
            raise UnknownModel(ref)
        return self.infos[ref]


def one_model(model: RecordingModel, info: ModelInfo | None = None) -> FakeProvider:
    """A provider of one model, `net@1`."""
    info = info or model_info(model.problem)
    return FakeProvider({info.ref: model}, {info.ref: info})


@dataclass
class FakeClock:
    """A Clock that moves when it is told to."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def job_spec(problem: Problem, *inputs: Sequence[float], model: str = "net", **changes: Any) -> JobSpec:
    """A job on a problem: its own input and baseline unless others are given."""
    rows = inputs or (problem.example,)
    return JobSpec(
        **{
            "kind": JobKind.ATTRIBUTION,
            "model": model,
            "version": "1",
            "digest": "d1",
            "declared": model_info(problem).inputs,
            "inputs": tuple({INPUT: np.array(row, dtype=np.float32)} for row in rows),
            "fingerprint": "",
            "baseline_name": "zero",
            "baseline": {INPUT: np.array(problem.baseline, dtype=np.float32)},
            "target": Target(),
            **changes,
        }
    )


def fixed(n_steps: int, rule: RuleName = RuleName.RIGHT_RIEMANN) -> Quadrature:
    """A fixed rule of so many nodes."""
    return Quadrature(rule=rule, n_steps=n_steps)


def run_to_end(engine: Engine, most_steps: int = 5000) -> dict[str, JobResult | Failure]:
    """Step until the engine is idle; the outcomes by job id."""
    outcomes: dict[str, JobResult | Failure] = {}
    for _ in range(most_steps):
        if engine.idle:
            return outcomes
        for finished in engine.step():
            assert finished.job_id not in outcomes, "a job ends once"
            outcomes[finished.job_id] = finished.outcome
    raise AssertionError(f"not idle after {most_steps} steps")


def engine_on(model: RecordingModel) -> Engine:
    """An engine with this one model, `net@1`."""
    return Engine(one_model(model), FakeClock())


def alone(problem: Problem, spec: JobSpec) -> JobResult | Failure:
    """How a job ends with nobody beside it."""
    engine = engine_on(RecordingModel(problem))
    engine.admit("alone", spec)
    return run_to_end(engine)["alone"]


def only(outcome: JobResult | Failure) -> PathResult:
    """The one result of a job with one input."""
    assert isinstance(outcome, AttributionResult), outcome
    (result,) = outcome.results
    return result


def assert_same_answer(one: PathResult, other: PathResult) -> None:
    """The same nodes, and attributions equal but for the last digits of float64."""
    assert one.nodes == other.nodes
    assert one.evaluations == other.evaluations
    a, b = one.attributions[INPUT], other.attributions[INPUT]
    assert np.abs(a - b).sum() <= 1e-12 * np.abs(b).sum()
