"""A job while it is computed: its model, and one path per input, each with its integrator. No tensors of gradients."""

from collections import deque
from dataclasses import dataclass, field

from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.integrator import FixedIntegrator, Integrator, Node, Tolerance
from attributor.core.rules import FIXED_RULES
from attributor.engine.prediction import PredictionProbe
from attributor.jobs.job import JobKind, JobSpec, Progress, Quadrature, RuleName
from attributor.jobs.model import ModelInfo
from attributor.jobs.result import PathResult
from attributor.ports import GradientModel, PathSpec


def integrator_for(quadrature: Quadrature) -> Integrator:
    """The integrator that a request's quadrature names. Raises ValueError for counts that it cannot work with."""
    tolerance = Tolerance(quadrature.tolerance, quadrature.absolute_tolerance)
    if quadrature.rule is RuleName.ADAPTIVE:
        return AdaptiveIntegrator(tolerance, quadrature.max_evaluations)
    if quadrature.n_steps is None:
        raise ValueError("a fixed rule needs n_steps")
    return FixedIntegrator(FIXED_RULES[quadrature.rule](quadrature.n_steps), tolerance)


@dataclass(slots=True, eq=False)
class ActivePath:
    """One input's path. `waiting` holds the nodes asked for and not yet in a pass."""

    id: str
    integrator: Integrator
    waiting: deque[Node]
    forwards: int = 0
    backwards: int = 0

    def tell(self, node: Node, score: float, slope: float | None) -> None:
        """Pass on what a node gave, and queue what the integrator wants next. Raises its JobErrors."""
        self.forwards += 1
        self.backwards += node.gradient
        self.integrator.tell(node.index, score, slope)
        self.waiting.extend(self.integrator.ask())


@dataclass(slots=True, eq=False)
class ActiveJob:
    """One admitted job; `started_s` on the engine's clock. `results` fills by number of the input.

    It keeps the very model that holds its vectors, whatever becomes of the name in the meantime.
    """

    id: str
    spec: JobSpec
    model: GradientModel
    info: ModelInfo
    started_s: float
    paths: list[ActivePath]
    results: dict[int, PathResult] = field(default_factory=dict)
    _opened: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, job_id: str, spec: JobSpec, model: GradientModel, info: ModelInfo, now_s: float) -> "ActiveJob":
        """A job with one fresh path per input. Raises ValueError if the specification makes no sense."""
        if not spec.inputs:
            raise ValueError("a job needs at least one input")
        paths = []
        for i in range(len(spec.inputs)):
            prediction = spec.kind is JobKind.PREDICTION
            integrator = PredictionProbe() if prediction else integrator_for(spec.quadrature)
            paths.append(ActivePath(f"{job_id}/{i}", integrator, deque(integrator.ask())))
        return cls(job_id, spec, model, info, now_s, paths)

    def open(self) -> None:
        """Place every path's ends on the device. Raises whatever the model raises; `close` then frees the others."""
        for path, example in zip(self.paths, self.spec.inputs, strict=True):
            self.model.open(path.id, PathSpec(example, self.spec.baseline, self.spec.target))
            self._opened.add(path.id)

    def close_path(self, path: ActivePath) -> None:
        """Free a path's vectors, if it has any still."""
        if path.id in self._opened:
            self._opened.remove(path.id)
            self.model.close(path.id)

    def close(self) -> None:
        """Free all vectors."""
        for path in self.paths:
            self.close_path(path)

    @property
    def done(self) -> bool:
        """Whether every path is."""
        return all(path.integrator.done for path in self.paths)

    def name_of(self, path: ActivePath) -> str:
        """`inputs.<i>`, or nothing where there is only one."""
        return f"inputs.{self.paths.index(path)}" if len(self.paths) > 1 else ""

    def progress(self) -> Progress:
        """Evaluations so far, and the largest running completeness error over the inputs, relative."""
        errors = [error for path in self.paths if (error := path.integrator.error()) is not None]
        return Progress(
            evaluations=sum(path.backwards for path in self.paths),
            completeness_error=max(errors, default=None),
            inputs_done=sum(path.integrator.done for path in self.paths),
        )
