"""What an integrator asks for and is told: curves and their vertices, nodes, and evaluations in bulk.

Knows numbers of curves and nodes, alphas, scores and slopes; no tensor of a model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count
from math import isfinite, isnan

import numpy as np
from numpy.typing import NDArray

from attributor.errors import NonFiniteGradient, NonFiniteScore

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: The vertex that every path ends at: the example itself.
EXAMPLE = 0


@dataclass(frozen=True, slots=True)
class Curve:
    """A smooth piece of a path, from vertex `start` to vertex `end`; its own alpha runs from 0 to 1.

    A straight path is one curve, a polyline a chain of them, several baselines a star whose curves all end at EXAMPLE.
    No rule reaches across a vertex: the slope may jump there. `line` numbers the baseline that the curve belongs to,
    and `weight` is that baseline's share in the answer.
    """

    start: int
    end: int
    line: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """A point of a curve under the number by which its vector is kept; numbers are unique in an integration."""

    index: int
    curve: int
    alpha: float


@dataclass(frozen=True, slots=True)
class Ask:
    """One evaluation wanted: the score and, if `gradient`, a slope per node.

    There is more than one node where curves meet: it is the same point of the input, and costs one evaluation, but
    every curve has a slope (and a vector) of its own there.
    """

    nodes: tuple[Node, ...]
    gradient: bool


@dataclass(frozen=True, slots=True)
class NodeArrays:
    """Nodes as arrays, in the order of their asks, all of shape (nodes,).

    `point`: the number of the ask that a node belongs to. `wanted`: whether its gradient is asked for. `inside`:
    whether that, and 0 < alpha < 1.
    """

    index: Indices
    curve: Indices
    alpha: Floats
    point: Indices
    wanted: NDArray[np.bool_]
    inside: NDArray[np.bool_]


class Asks(tuple[Ask, ...]):
    """Evaluations wanted together: a tuple, and the same as arrays for whoever takes them in bulk.

    Asks of first rounds are the same objects from job to job, so what is derived from them is computed once.
    """

    @cached_property
    def arrays(self) -> NodeArrays:
        """All nodes."""
        nodes = [(number, ask.gradient, node) for number, ask in enumerate(self) for node in ask.nodes]
        alpha = np.array([node.alpha for _, _, node in nodes])
        wanted = np.array([gradient for _, gradient, _ in nodes], bool)
        return NodeArrays(
            index=np.array([node.index for _, _, node in nodes], np.intp),
            curve=np.array([node.curve for _, _, node in nodes], np.intp),
            alpha=alpha,
            point=np.array([number for number, _, _ in nodes], np.intp),
            wanted=wanted,
            inside=wanted & (alpha > 0) & (alpha < 1),
        )

    @cached_property
    def kinds(self) -> tuple["Asks", ...]:
        """Those of one kind, with gradients or without, and those of the other; the kind of the first ask first."""
        first = self[0].gradient if self else False
        same = Asks(ask for ask in self if ask.gradient is first)
        return (self,) if len(same) == len(self) else (same, Asks(ask for ask in self if ask.gradient is not first))

    @cached_property
    def places(self) -> tuple[tuple[Indices, Indices], ...]:
        """Per kind, where its asks and its nodes stand among all."""
        first = np.array([ask.gradient is self[0].gradient for ask in self], bool)
        at = self.arrays.point
        masks = (first,) if first.all() else (first, ~first)
        return tuple((np.flatnonzero(mask), np.flatnonzero(mask[at])) for mask in masks)


def one_node_each(curve: int, alphas: Sequence[float], first_index: int, *, gradient: bool) -> Asks:
    """Asks of one node each on one curve, numbered from `first_index`."""
    return Asks(Ask((Node(first_index + n, curve, alpha),), gradient) for n, alpha in enumerate(alphas))


class Awaited:
    """The asks that were handed out and not yet told of."""

    def __init__(self) -> None:
        self._whole: Asks | None = None
        self._parts: set[int] = set()

    def __bool__(self) -> bool:
        return self._whole is not None or bool(self._parts)

    def add(self, asks: Asks) -> None:
        """Note what is handed out."""
        if asks and not self:
            self._whole = asks  # mostly all of them are told together
        elif asks:
            self._parts |= {ask.nodes[0].index for ask in asks}

    def remove(self, asks: Asks) -> None:
        """Note what is told. Raises KeyError for what is not awaited."""
        if asks is self._whole:
            self._whole = None
            return
        if self._whole is not None:
            self._parts, self._whole = {ask.nodes[0].index for ask in self._whole}, None
        for ask in asks:
            self._parts.remove(ask.nodes[0].index)


@dataclass(frozen=True, slots=True)
class Told:
    """A node with what was told of it, per target; a slope is None where none was asked for or it was not finite."""

    node: Node
    scores: tuple[float, ...]
    slopes: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Evaluated nodes, by curve, then alpha. `index`, `curve`, `alpha`: shape (nodes,). `scores`, `slopes`: (nodes,
    targets); NaN for a slope that was not asked for or not finite."""

    index: Indices
    curve: Indices
    alpha: Floats
    scores: Floats
    slopes: Floats

    def one_by_one(self) -> tuple[Told, ...]:
        """The same, node by node."""
        return tuple(
            Told(Node(*place), tuple(scores), tuple(None if isnan(slope) else slope for slope in slopes))
            for place, scores, slopes in zip(
                zip(self.index.tolist(), self.curve.tolist(), self.alpha.tolist(), strict=True),
                self.scores.tolist(),
                self.slopes.tolist(),
                strict=True,
            )
        )


@lru_cache(maxsize=64)  # One straight curve and the usual rules: nearly every job begins with the same asks.
def laid_out(curves: tuple[Curve, ...], alphas: tuple[tuple[float, ...], ...]) -> Asks:
    """Asks for the ascending `alphas` of each curve and for all its ends, each vertex once with a node per curve there.

    The one at EXAMPLE first, then along one curve after the other; nodes are numbered in that order. A vertex has a
    gradient if `alphas` holds that end of one of its curves. Raises ValueError if no curve reaches EXAMPLE.
    """
    numbers = count()
    return Asks(
        Ask(
            tuple(Node(next(numbers), curve, alpha) for curve, alpha in places),
            gradient=any(alpha in alphas[curve] for curve, alpha in places),
        )
        for places in _places(curves, alphas)
    )


def _places(curves: Sequence[Curve], alphas: Sequence[Sequence[float]]) -> Iterator[Sequence[tuple[int, float]]]:
    """The points of `laid_out`, each as (curve, alpha) wherever it lies."""
    vertices: dict[int, list[tuple[int, float]]] = {}
    for number, curve in enumerate(curves):
        vertices.setdefault(curve.start, []).append((number, 0.0))
        vertices.setdefault(curve.end, []).append((number, 1.0))
    if EXAMPLE not in vertices:
        raise ValueError("no curve begins or ends at the example. This is a bug.")
    yield vertices.pop(EXAMPLE)
    for number, curve in enumerate(curves):
        if curve.start in vertices:
            yield vertices.pop(curve.start)
        yield from ([(number, alpha)] for alpha in alphas[number] if 0.0 < alpha < 1.0)
        if curve.end in vertices:
            yield vertices.pop(curve.end)


def checked(asks: Asks, scores: Floats, slopes: Floats) -> Floats:
    """The slopes told of some asks, NaN where they were not asked for, or are not finite at an end of a curve.

    Raises NonFiniteScore, and NonFiniteGradient inside a curve, naming the alpha.
    """
    arrays = asks.arrays
    if not np.isfinite(scores).all():
        wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))[0]
        score = next(score for score in scores[wrong].tolist() if not isfinite(score))
        raise NonFiniteScore(f"the model's score is {score} at {_place(asks[wrong].nodes[0])}")
    fine = np.isfinite(slopes).all(axis=1)
    if fine.all() and arrays.wanted.all():
        return slopes
    if (~fine & arrays.inside).any():
        wrong = np.flatnonzero(~fine & arrays.inside)[0]
        node = [node for ask in asks for node in ask.nodes][wrong]
        raise NonFiniteGradient(f"the gradient is not finite at {_place(node)}")
    return np.where(np.isfinite(slopes) & arrays.wanted[:, None], slopes, np.nan)


def _place(node: Node) -> str:
    return f"alpha = {node.alpha:g} of the path" + (f" (its curve {node.curve})" if node.curve else "")
