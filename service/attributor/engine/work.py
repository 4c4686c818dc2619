"""What one input of a job is computed with: its routes on the model, its source of random numbers, its counts."""

from dataclasses import dataclass, field

import numpy as np

from attributor.engine.route import Route
from attributor.jobs.explanation import Explanation, Layer, Target
from attributor.jobs.job import JobSpec
from attributor.jobs.model import ModelInfo, Tensors
from attributor.ports import GradientModel, RouteSpec

#: What random numbers are drawn for: streams of their own, so that none depends on how many another took.
PURPOSES = ("baselines", "alphas", "orders", "noise")


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

    def count(self, n_targets: int, *, gradient: bool) -> None:
        """Note one evaluated point."""
        self.forwards += 1
        self.evaluations += gradient
        self.backwards += n_targets * gradient


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

    def open(
        self,
        word: str,
        example: Tensors,
        targets: tuple[Target, ...],
        layer: Layer | None = None,
        observed: tuple[str, ...] | None = None,
    ) -> Route:
        """A fresh route, closed with the work at the latest. Raises what the model raises."""
        route = Route(f"{self.id}/{word}", self.model, RouteSpec(example, targets, layer, observed))
        self.routes[route.id] = route
        return route.open()

    def error(self) -> float | None:
        """The largest relative completeness error of the input's integrations, as far as it is known."""
        known = (route.integrator.error() for route in self.routes.values() if route.integrator)
        return max((error for error in known if error is not None), default=self._last_error)

    def close(self) -> None:
        """Free all vectors."""
        self._last_error = self.error()
        for route in self.routes.values():
            route.close()
        self.routes.clear()
