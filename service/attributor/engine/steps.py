"""Procedures that need the model: generators that yield evaluations wanted and are sent what they gave.

So a search, a walk or an integration reads from top to bottom, while the engine gathers the wishes of many into one
pass. Knows ports and the core; no torch.
"""

from collections.abc import Generator, Sequence
from typing import TypeVar

from attributor.core.integrator import Ask, Integral, Integrator, Node
from attributor.engine.route import Route
from attributor.ports import Evaluation, Point

T = TypeVar("T")

#: Yields points of any of its routes, is sent an evaluation for each, in their order, and returns its answer.
Steps = Generator[tuple[Point, ...], Sequence[Evaluation], T]


def integrate(route: Route, integrator: Integrator) -> Steps[Integral]:
    """Serve an integrator whose curves are the route's first ones, in its order. Raises its JobErrors."""
    route.integrator = integrator
    while not integrator.done:
        asks = integrator.ask()
        if asks:
            evaluations = yield tuple(Point(route.id, ask) for ask in asks)
            for ask, evaluation in zip(asks, evaluations, strict=True):
                integrator.tell(ask, evaluation.scores, evaluation.slopes)
        elif check := integrator.check():
            weights = zip(check.weights, check.coarse_weights, strict=True)
            integrator.tell_errors([route.attribution_error(k, *both) for k, both in enumerate(weights)])
        else:
            raise RuntimeError("an integrator that is not done wants nothing. This is a bug.")
    return integrator.result()


def evaluated(route: Route, nodes: Sequence[Node], *, gradient: bool) -> Steps[Sequence[Evaluation]]:
    """Evaluations at nodes of the route's curves, without an integrator."""
    return (yield tuple(Point(route.id, Ask((node,), gradient)) for node in nodes))


def together(procedures: Sequence[Steps[T]]) -> Steps[list[T]]:
    """Run several procedures at once, wish by wish: none goes on before all have been told. Answers in their order."""
    answers: dict[int, T] = {}
    wanted: dict[int, tuple[Point, ...]] = {}

    def advance(i: int, evaluations: Sequence[Evaluation] | None) -> None:
        try:
            wanted[i] = next(procedures[i]) if evaluations is None else procedures[i].send(evaluations)
        except StopIteration as stop:
            wanted.pop(i, None)
            answers[i] = stop.value

    for i in range(len(procedures)):
        advance(i, None)
    while wanted:
        asked = dict(wanted)
        evaluations = yield tuple(point for points in asked.values() for point in points)
        first = 0
        for i, points in asked.items():
            advance(i, evaluations[first : first + len(points)])
            first += len(points)
    return [answers[i] for i in range(len(procedures))]
