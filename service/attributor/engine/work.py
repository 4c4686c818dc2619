"""What one input of a job is computed with: its routes on the model, its source of random numbers, its counts."""

from dataclasses import dataclass, field

import numpy as np

from attributor.engine.route import Route
from attributor.jobs.explanation import Explanation, Target
from attributor.jobs.job import JobSpec
from attributor.jobs.keeping import DEFAULT_JOB_VECTOR_BYTES
from attributor.jobs.model import ModelInfo, Tensors
from attributor.jobs.result import Estimate
from attributor.model_port import GradientModel, RouteSpec

#: What random numbers are drawn for: streams of their own, so that none depends on how many another took.
PURPOSES = ("baselines", "alphas", "orders", "noise")


@dataclass(frozen=True, slots=True)
class Memory:
    """What the vectors of a job may take on the device. `inputs` of it are under way at a time, of each `copies`."""

    job_bytes: int = DEFAULT_JOB_VECTOR_BYTES
    inputs: int = 1
    copies: int = 1

    @property
    def part_bytes(self) -> int:
        """What one copy of one input may take."""
        return self.job_bytes // (self.inputs * self.copies)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of input `number` of a job, and of which model."""

    number: int
    spec: JobSpec
    info: ModelInfo

    @property
    def example(self) -> Tensors:
        """x."""
        return self.spec.inputs[self.number]

    @property
    def explanation(self) -> Explanation:
        """How it is to be explained."""
        return self.spec.explanation

    @property
    def name(self) -> str:
        """`inputs.<i>`, or nothing where there is only one."""
        return f"inputs.{self.number}" if len(self.spec.inputs) > 1 else ""

    def generator(self, purpose: str, *numbers: int) -> np.random.Generator:
        """Random numbers by the request's seed, the input's number, one of PURPOSES and numbers within it."""
        key = (PURPOSES.index(purpose), *numbers)
        return np.random.default_rng(np.random.SeedSequence([self.explanation.seed, self.number], spawn_key=key))


@dataclass(slots=True)
class Costs:
    """What was spent: gradient evaluations, forward passes of points, backward passes (one per target)."""

    evaluations: int = 0
    forwards: int = 0
    backwards: int = 0

    def count(self, n_points: int, n_targets: int, *, gradient: bool) -> None:
        """Note evaluated points."""
        self.forwards += n_points
        if gradient:
            self.evaluations += n_points
            self.backwards += n_points * n_targets


@dataclass(slots=True, eq=False)
class Work:
    """One input. It keeps the very model that holds its vectors, whatever becomes of the name in the meantime.

    `started_s` is on the engine's clock.
    """

    id: str
    question: Question
    model: GradientModel
    reference: Tensors
    started_s: float
    memory: Memory = Memory()
    #: First rounds whose nodes are known when it begins; the first one is made by itself else.
    rounds_made: int = 1
    costs: Costs = field(default_factory=Costs)
    routes: dict[str, Route] = field(default_factory=dict)
    _last_error: float | None = None

    @property
    def example(self) -> Tensors:
        """x."""
        return self.question.example

    @property
    def explanation(self) -> Explanation:
        """What is asked."""
        return self.question.explanation

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        return self.question.info

    def open(self, word: str, example: Tensors, targets: tuple[Target, ...]) -> Route:
        """A fresh route in the inputs, closed with the work at the latest. Raises what the model raises."""
        return self.open_as(word, RouteSpec(example, targets, precision=self.explanation.precision))

    def open_as(self, word: str, spec: RouteSpec) -> Route:
        """The same, of any kind."""
        route = Route(f"{self.id}/{word}", self.model, spec)
        self.routes[route.id] = route
        return route.open()

    def error(self) -> float | None:
        """The largest relative completeness error of the input's integrations, as far as it is known."""
        known = (route.integrator.error() for route in self.routes.values() if route.integrator)
        return max((error for error in known if error is not None), default=self._last_error)

    def estimate(self) -> Estimate:
        """What is known now of the first target: the weighted sum at the last round of the first integration."""
        known = [(route, weights) for route in self.routes.values() if (weights := route.weights_now()) is not None]
        attributions = None
        if known and not self.explanation.smoothing:
            route, weights = known[0]
            found = route.attributions(0, weights)
            attributions = {name: values.astype(np.float32) for name, values in found.items()}
        return Estimate(self.question.number, self.costs.evaluations, self.error(), attributions)

    def close(self) -> None:
        """Free all vectors."""
        self._last_error = self.error()
        for route in self.routes.values():
            route.close()
        self.routes.clear()
