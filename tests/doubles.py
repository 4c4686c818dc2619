"""Stand-ins for the engine's ports, with arithmetic in numpy float64: a recording model, its provider, a clock."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from attributor.core.asks import Ask, Node
from attributor.core.integrator import Seal
from attributor.engine.active_job import ActiveJob
from attributor.engine.engine import Engine
from attributor.engine.steps import Integrating
from attributor.engine.task import Pick
from attributor.errors import ModelNotReady, UnknownModel
from attributor.jobs.explanation import Explanation, Target, Term, fixed_baseline
from attributor.jobs.job import Failure, JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import Baseline, Feature, InputKind, InputSpec, ModelInfo, OutputSpec, Tensors
from attributor.jobs.result import AttributionResult, JobResult, PathResult
from attributor.model_port import CurveSpec, Evaluations, Observation, Points, RouteSpec
from numpy.typing import NDArray
from problems import Floats, Problem

#: The one input of every model here, a row of features.
INPUT = "x"
LABELS = ("no", "yes")
#: The class that a RecordingModel predicts, whose score is the problem's value.
PREDICTED = 1


@dataclass(frozen=True)
class Seen:
    """A point that a model was asked for: `path` is `<job>/<input>`, `alpha` that of its first node."""

    path: str
    alpha: float
    gradient: bool
    nodes: tuple[Node, ...]


def told(score: float, slope: float | None) -> Evaluations:
    """What a pass says of a point with one node and one target."""
    return Evaluations(np.array([[score]]), np.array([[np.nan if slope is None else slope]]), np.array([PREDICTED]))


@dataclass
class RecordingModel:
    """A GradientModel on a problem's value and gradient, straight curves only; class 0 scores minus what class 1 does.

    It keeps to the port's promises and insists on the caller's: a route is opened once, closed once, and its first
    point is at the example; a pass is of one lane and of one kind, and a node is evaluated once. `raising`: paths whose
    points make a pass raise; `refusing`: paths that cannot be opened; `spoilt`: (path, alpha) to what comes back there
    in place of the truth.
    """

    problem: Problem
    max_points: int = 64
    passes: list[tuple[Seen, ...]] = field(default_factory=list)
    raising: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    spoilt: dict[tuple[str, float], Evaluations] = field(default_factory=dict)
    vectors_factor: float = 1.0
    routes: dict[str, RouteSpec] = field(default_factory=dict)
    _curves: dict[str, list[CurveSpec]] = field(default_factory=dict)
    _vectors: dict[str, dict[int, Floats]] = field(default_factory=dict)
    _resolved: set[str] = field(default_factory=set)
    _evaluated: dict[str, set[int]] = field(default_factory=dict)
    #: By route, target and whether of the coarse rule: weights that are final, and the vectors' sum with them.
    _sealed: dict[tuple[str, int, bool], tuple[dict[int, float], Floats]] = field(default_factory=dict)

    @property
    def paths(self) -> set[str]:
        """`<job>/<input>` of all open routes."""
        return {_path_of(route) for route in self.routes}

    looks, stacks = True, False

    def pass_points(self, lane: Hashable) -> int:
        return self.max_points

    def lane(self, spec: RouteSpec) -> Hashable:
        return spec.layer, spec.observed

    def open(self, route: str, spec: RouteSpec) -> None:
        assert route not in self.routes, f"{route} is open already"
        if _path_of(route) in self.refusing:
            raise MemoryError("no room on the device")
        self.routes[route] = spec
        self._curves[route], self._vectors[route], self._evaluated[route] = [], {}, set()

    def vector_bytes(self, route: str) -> int:
        spec = self.routes[route]
        return 8 * len(spec.targets) * len(spec.example[INPUT])

    def vertex_bytes(self, route: str) -> int:
        return 8 * len(self.routes[route].example[INPUT])

    def add_curve(self, route: str, spec: CurveSpec) -> int:
        assert not spec.bends
        self._curves[route].append(spec)
        return len(self._curves[route]) - 1

    def start(self, route: str, curve: int) -> Tensors:
        return self._curves[route][curve].start

    def evaluate(self, points: Sequence[Points]) -> list[Evaluations]:
        asked = [(each.route, ask) for each in points for ask in each.asks]
        assert all(each.asks for each in points)
        assert 0 < len(asked) <= self.max_points
        assert len({ask.gradient for _, ask in asked}) == 1, "one pass, one kind"
        for route, ask in asked:
            assert route in self.routes, f"{route} is not open"
            at_example = np.array_equal(self._position(route, ask.nodes[0]), self.routes[route].example[INPUT])
            assert route in self._resolved or at_example, "the example comes first"
            self._resolved.add(route)
        assert len({self.lane(self.routes[route]) for route, _ in asked}) == 1, "one pass, one lane"
        self.passes.append(
            tuple(Seen(_path_of(route), ask.nodes[0].alpha, ask.gradient, ask.nodes) for route, ask in asked)
        )
        if broken := self.raising & {_path_of(route) for route, _ in asked}:
            raise RuntimeError(f"shapes do not match\n{sorted(broken)}")
        return [joined([self._evaluations(each.route, ask) for ask in each.asks]) for each in points]

    def _position(self, route: str, node: Node) -> Floats:
        start, end = self._ends(route, node)
        return end if node.alpha == 1 else start + node.alpha * (end - start)

    def _ends(self, route: str, node: Node) -> tuple[Floats, Floats]:
        spec = self._curves[route][node.curve]
        return np.asarray(spec.start[INPUT], dtype=float), np.asarray(spec.end[INPUT], dtype=float)

    def _evaluations(self, route: str, ask: Ask) -> Evaluations:
        position = self._position(route, ask.nodes[0])[None]
        factors = [sum(_SIGN[t.index] * t.weight for t in target.terms) for target in self.targets(route)]
        scores = [factor * float(self.problem.value(position)[0]) for factor in factors]
        slopes = [[np.nan] * len(factors)] * len(ask.nodes)
        assert self._evaluated[route].isdisjoint(node.index for node in ask.nodes), "a node is evaluated once"
        self._evaluated[route] |= {node.index for node in ask.nodes}
        if ask.gradient:
            with np.errstate(all="ignore"):
                gradient = self.problem.gradient(position)[0]
                slopes = [self._keep(route, node, gradient, factors) for node in ask.nodes]
        truth = Evaluations(np.array([scores]), np.array(slopes), np.array([PREDICTED]))
        return self.spoilt.get((_path_of(route), ask.nodes[0].alpha), truth)

    def _keep(self, route: str, node: Node, gradient: Floats, factors: Sequence[float]) -> list[float]:
        start, end = self._ends(route, node)
        plain = self._curves[route][node.curve].plain
        self._vectors[route][node.index] = gradient if plain else gradient * (end - start)
        return [factor * float((gradient * (end - start)).sum()) for factor in factors]

    def targets(self, route: str) -> tuple[Target, ...]:
        return tuple(
            target if target.terms else replace(target, terms=(Term((PREDICTED - target.rank) % 2),))
            for target in self.routes[route].targets
        )

    def outputs(self, route: str) -> NDArray[np.float32]:
        score = self.problem.value(np.asarray(self.routes[route].example[INPUT], dtype=float)[None])[0]
        return np.array([-score, score], dtype=np.float32)

    def attributions(
        self, route: str, target: int, weights: Mapping[int, float], *, coarse: bool = False
    ) -> Mapping[str, Floats]:
        # In the order of the nodes, so that the sum does not depend on the order of the passes.
        factor = sum(_SIGN[term.index] * term.weight for term in self.targets(route)[target].terms)
        sealed, total = self._sealed.get((route, target, coarse), ({}, 0.0))
        still = {node: weight - sealed.get(node, 0.0) for node, weight in weights.items()}
        assert sealed.keys() <= still.keys(), "what was sealed is asked for"
        return {INPUT: self.vectors_factor * factor * (total + self._sum(route, still))}

    def seal(self, route: str, seal: Seal) -> None:
        for coarse, per_target in ((False, seal.weights), (True, seal.coarse_weights)):
            for target, weights in enumerate(per_target):
                before, total = self._sealed.get((route, target, coarse), ({}, 0.0))
                known = defaultdict(float, before)
                for node, weight in (weights or {}).items():
                    known[node] += weight
                self._sealed[route, target, coarse] = dict(known), total + self._sum(route, weights or {})
        for node in seal.dropped:
            del self._vectors[route][node]

    def _sum(self, route: str, weights: Mapping[int, float]) -> Floats:
        kept = self._vectors[route]
        return sum((weight * kept[node] for node, weight in sorted(weights.items()) if weight), np.zeros(()))

    def observations(self, route: str) -> Sequence[Observation]:
        raise NotImplementedError

    def layer_is_cut(self, route: str, baseline: Tensors) -> bool:
        raise NotImplementedError

    def close(self, route: str) -> None:
        del self.routes[route], self._vectors[route], self._curves[route], self._evaluated[route]
        self._resolved.discard(route)
        self._sealed = {key: sealed for key, sealed in self._sealed.items() if key[0] != route}

    def points_of(self, job_id: str) -> list[Seen]:
        """All points that a job has had evaluated, in order."""
        return [point for points in self.passes for point in points if point.path.startswith(f"{job_id}/")]


#: What the classes make of the problem's value.
_SIGN = (-1.0, 1.0)


def _path_of(route: str) -> str:
    return "/".join(route.split("/")[:2])


def joined(parts: Sequence[Evaluations]) -> Evaluations:
    """What several passes say of points of one route, one after the other."""
    scores, slopes, tops = ([getattr(part, name) for part in parts] for name in ("scores", "slopes", "tops"))
    return Evaluations(np.concatenate(scores), np.concatenate(slopes), np.concatenate(tops))


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
    references: dict[str, Tensors] = field(default_factory=dict)

    def get(self, ref: str, digest: str) -> RecordingModel:
        if digest != self.info(ref).digest:
            raise ModelNotReady(f"{ref} has another digest")
        return self.models[ref]

    def info(self, ref: str) -> ModelInfo:
        if ref in self.not_ready:
            raise ModelNotReady(f"{ref} failed its proof")
        if ref not in self.infos:
            raise UnknownModel(ref)
        return self.infos[ref]

    def reference_set(self, ref: str) -> Tensors:
        return self.references.get(ref, {})


def one_model(model: RecordingModel, info: ModelInfo | None = None) -> FakeProvider:
    """A provider of one model, `net@1`."""
    info = info or model_info(model.problem)
    return FakeProvider({info.ref: model}, {info.ref: info})


@dataclass
class FakeClock:
    """A Clock that moves when it is told to, and by `tick_s` whenever it is looked at."""

    now_s: float = 0.0
    tick_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += self.tick_s
        return self.now_s


def job_spec(problem: Problem, *inputs: Sequence[float], model: str = "net", **changes: Any) -> JobSpec:
    """A job on a problem: its own input and baseline unless others are given.

    `target`, `baseline` (its tensors), `layer`: short for an explanation with these; `explanation`: the whole of it.
    """
    rows = inputs or (problem.example,)
    baseline = changes.pop("baseline", {INPUT: np.array(problem.baseline, dtype=np.float32)})
    explanation = Explanation(
        baselines=(fixed_baseline("zero", baseline),),
        targets=(changes.pop("target", Target()),),
        layer=changes.pop("layer", None),
    )
    return JobSpec(
        **{
            "kind": JobKind.ATTRIBUTION,
            "model": model,
            "version": "1",
            "digest": "d1",
            "declared": model_info(problem).inputs,
            "inputs": tuple({INPUT: np.array(row, dtype=np.float32)} for row in rows),
            "fingerprint": "",
            "explanation": explanation,
            "cost": len(rows) * (changes.get("quadrature", Quadrature()).n_steps or 16),
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
    """An engine with this one model, `net@1`, all of whose passes take a millisecond."""
    return Engine(one_model(model), FakeClock(tick_s=0.001))


def alone(problem: Problem, spec: JobSpec) -> JobResult | Failure:
    """How a job ends with nobody beside it."""
    engine = engine_on(RecordingModel(problem))
    engine.admit("alone", spec)
    return run_to_end(engine)["alone"]


def absorb(job: ActiveJob, pick: Pick, told: Evaluations) -> None:
    """Tell a job what a pass gave; after the last of a round, go on, each integrator told by itself."""
    known = job.tell(pick, told)
    if known is None:
        return
    task, wish = known
    if isinstance(wish.wanted, Integrating):
        assert wish.told is not None
        wish.wanted.integrator.tell(wish.asks, wish.told.scores, wish.told.slopes)
    job.settle(task, wish)


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
