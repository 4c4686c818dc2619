"""Which panels are sealed for new nodes to have room, over all curves. Knows no tolerance and no budget."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Indices
from attributor.core.integrator import Seal
from attributor.core.panels import CurvePanels


def sealed_for(curves: Sequence[CurvePanels], order: Indices, needed: int) -> Seal | None:
    """Seal panels until `needed` vectors can go, as few as it takes, or all there are; None where no vector can.

    `order`: the panels that may be sealed, numbered over all curves, those to be sealed first in front.
    """

    def gained(count: int) -> int:
        marks = _marks(curves, order[:count])
        return sum(curve.droppable(mark) for curve, mark in zip(curves, marks, strict=True))

    count = bisect_left(range(len(order)), needed, key=lambda n: gained(n + 1)) + 1
    if not gained(count):
        return None
    parts = [curve.seal(mark) for curve, mark in zip(curves, _marks(curves, order[:count]), strict=True) if mark.any()]
    return Seal(
        weights=_joined([part.weights for part in parts]),
        coarse_weights=_joined([part.coarse_weights for part in parts]),
        dropped=tuple(index for part in parts for index in part.dropped),
    )


def _marks(curves: Sequence[CurvePanels], panels: Indices) -> list[NDArray[np.bool_]]:
    """Per curve, those of some panels that can be sealed together."""
    sizes = [len(curve.alpha) - 1 for curve in curves]
    marked = np.zeros(sum(sizes), bool)
    marked[panels] = True
    parts = np.split(marked, np.cumsum(sizes)[:-1])
    return [curve.sealable(part) for curve, part in zip(curves, parts, strict=True)]


def _joined(parts: Sequence[Sequence[dict[int, float]]]) -> tuple[dict[int, float], ...]:
    """Per target, what several curves add; no two have a node in common."""
    return tuple(
        {index: weight for mapping in of_target for index, weight in mapping.items()}
        for of_target in zip(*parts, strict=True)
    )
