"""A job while it is computed: one path per input, each with its integrator. No tensors of gradients, no I/O."""

from collections import deque
from dataclasses import dataclass, field

from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.integrator import FixedIntegrator, Integrator, Node, Tolerance
from attributor.core.rules import FIXED_RULES
from attributor.engine.prediction import PredictionProbe
from attributor.jobs.job import JobKind, JobSpec, Progress, Quadrature, RuleName
from attributor.jobs.result import PathResult


def integrator_for(quadrature: Quadrature) -> Integrator:
    """The integrator that a request's quadrature names."""
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
    """One admitted job; `started_s` on the engine's clock. `results` fills in the order of the inputs."""

    id: str
    spec: JobSpec
    started_s: float
    paths: list[ActivePath]
    results: dict[int, PathResult] = field(default_factory=dict)

    @classmethod
    def start(cls, job_id: str, spec: JobSpec, now_s: float) -> "ActiveJob":
        """A job with one fresh path per input."""
        paths = []
        for i in range(len(spec.inputs)):
            prediction = spec.kind is JobKind.PREDICTION
            integrator = PredictionProbe() if prediction else integrator_for(spec.quadrature)
            paths.append(ActivePath(f"{job_id}/{i}", integrator, deque(integrator.ask())))
        return cls(job_id, spec, now_s, paths)

    @property
    def done(self) -> bool:
        """Whether every path is."""
        return all(path.integrator.done for path in self.paths)

    def progress(self) -> Progress:
        """Evaluations so far, and the largest running completeness error over the inputs, relative."""
        errors = [error for path in self.paths if (error := path.integrator.error()) is not None]
        return Progress(
            evaluations=sum(path.backwards for path in self.paths),
            completeness_error=max(errors, default=None),
            inputs_done=sum(path.integrator.done for path in self.paths),
        )
