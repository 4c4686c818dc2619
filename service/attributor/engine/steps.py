"""Procedures that need the model: generators that yield evaluations wanted and are sent what they gave.

So a search, a walk or an integration reads from top to bottom, while the engine gathers the wishes of many into one
pass. Knows ports and the core; no torch.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from attributor.core.asks import Ask, Asks, Node
from attributor.core.integrator import Integral, Integrator
from attributor.engine.route import Route
from attributor.model_port import Evaluations, Points

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Integrating:
    """An integral that is wanted: an integrator, whose curves are the route's first ones, in its order."""

    route: Route
    integrator: Integrator

    def asks(self) -> Asks:
        """The evaluations that it wants now; none: its result is there. Raises its JobErrors."""
        while not self.integrator.done:
            if seal := self.integrator.seal():
                self.route.seal(seal)
            if asks := self.integrator.ask():
                return asks
            check = self.integrator.check()
            if check is None:
                raise RuntimeError("an integrator that is not done wants nothing. This is a bug.")
            weights = zip(check.weights, check.coarse_weights, strict=True)
            self.integrator.tell_errors([self.route.attribution_error(k, *both) for k, both in enumerate(weights)])
        return Asks()


#: What a procedure may wish, and what it is sent for it.
Wanted = Points | Integrating
Told = Evaluations | Integral

#: Yields wishes, is sent what each came to, in their order, and returns its answer.
Steps = Generator[tuple[Wanted, ...], Sequence[Told], T]


def integrate(route: Route, integrator: Integrator) -> Steps[Integral]:
    """The integral that an integrator finds on the route's first curves. Raises its JobErrors."""
    route.integrator = integrator
    (integral,) = yield (Integrating(route, integrator),)
    if not isinstance(integral, Integral):
        raise TypeError("an integral was wanted. This is a bug.")
    return integral


def evaluated(route: Route, nodes: Sequence[Node], *, gradient: bool) -> Steps[Evaluations]:
    """Evaluations at nodes of the route's curves, without an integrator."""
    (told,) = yield (Points(route.id, Asks(Ask((node,), gradient) for node in nodes)),)
    if not isinstance(told, Evaluations):
        raise TypeError("evaluations were wanted. This is a bug.")
    return told


def in_parts(procedures: Sequence[Steps[T]], at_once: int) -> Steps[list[T]]:
    """Run several procedures, so many of them at once. Answers in their order."""
    answers: list[T] = []
    while len(answers) < len(procedures):
        answers += yield from together(procedures[len(answers) : len(answers) + at_once])
    return answers


def together(procedures: Sequence[Steps[T]]) -> Steps[list[T]]:
    """Run several procedures at once, wish by wish: none goes on before all have been told. Answers in their order."""
    answers: dict[int, T] = {}
    wanted: dict[int, tuple[Wanted, ...]] = {}

    def advance(i: int, told: Sequence[Told] | None) -> None:
        try:
            wanted[i] = next(procedures[i]) if told is None else procedures[i].send(told)
        except StopIteration as stop:
            wanted.pop(i, None)
            answers[i] = stop.value

    for i in range(len(procedures)):
        advance(i, None)
    while wanted:
        asked = dict(wanted)
        told = yield tuple(wish for of_one in asked.values() for wish in of_one)
        first = 0
        for i, of_one in asked.items():
            advance(i, told[first : first + len(of_one)])
            first += len(of_one)
    return [answers[i] for i in range(len(procedures))]
