"""The path of Guided integrated gradients: features with small gradients move first.

Kapishnikov, Venugopalan, Avci, Wedin, Terry and Bolukbasi 2021, algorithm 1. Only the walk, whose points then stand:
the integral along them is taken like that of any polyline, instead of by the paper's Riemann sum.
"""

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Node
from attributor.core.integrator import Seal
from attributor.engine.route import Route, Vectors
from attributor.engine.steps import Steps, evaluated
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Gamma
from attributor.jobs.model import Tensors

Vector = NDArray[np.float64]


def guided_vertices(route: Route, baseline: Tensors, example: Tensors, gamma: Gamma) -> Steps[list[Tensors]]:
    """The inner vertices of the path in order, at most `gamma.steps` - 1, by as many gradients of the first target.

    After step t of T the L1 distance to the example is (1 - t/T) of the whole, over all attributed inputs together; no
    feature ever turns back. Features with equal gradients move together. A step too small for float32 gives no vertex.
    The route is used as it is opened, without a layer. Raises UnsupportedByModel with field "path" if tokens change.
    """
    moving = [name for name, end in example.items() if not np.array_equal(baseline[name], end)]
    if any(np.issubdtype(example[name].dtype, np.integer) for name in moving):
        raise UnsupportedByModel("a guided path moves numbers one by one, and tokens are none", field="path")
    if not moving or gamma.steps <= 1:
        return []
    yield from evaluated(route, [Node(0, route.add_curve(example, example), 1.0)], gradient=False)
    inner: list[Tensors] = []
    here, place = baseline, _flat(baseline, moving)
    end = _flat(example, moving)
    whole = float(np.abs(end - place).sum())
    for step in range(1, gamma.steps):
        gradient = yield from _gradient(route, here, step)
        # The share is of all features that have a gradient, those at their end included: the paper gives these an
        # infinite one, and takes the quantile over all.
        among = int(gamma.fraction * (sum(each.size for each in gradient.values()) - 1)) + 1
        excess = float(np.abs(end - place).sum()) - whole * (1 - step / gamma.steps)
        place = _moved(place, end, np.abs(_flat(gradient, moving)), excess, among)
        vertex = _shaped(place, example, moving)
        if _differ(vertex, here, moving) and _differ(vertex, example, moving):
            inner.append(vertex)
            here = vertex
    return inner


def _gradient(route: Route, point: Tensors, number: int) -> Steps[Vectors]:
    """dF/dx at a point, by attributed input."""
    curve = route.add_curve(point, point, plain=True)
    yield from evaluated(route, [Node(number, curve, 1.0)], gradient=True)
    gradient = route.attributions(0, {number: 1.0})
    route.seal(Seal((), (), (number,)))  # one vector at a time is kept
    return gradient


def _moved(place: Vector, end: Vector, sizes: Vector, excess: float, among: int) -> Vector:
    """The place, nearer to the end by `excess` in L1: of those not at their end, the `among` smallest gradients
    (and their equals) go all the way, then the next so many; the last that are needed go an equal share of it."""
    place = place.copy()
    unfinished = np.flatnonzero(place != end)
    # A gradient that is not finite is the largest there is.
    sizes = np.where(np.isfinite(sizes), sizes, np.inf)
    order = unfinished[np.argsort(sizes[unfinished], kind="stable")]
    ascending = sizes[order]
    first = 0
    while first < len(order) and excess > 0:
        largest = ascending[min(first + among, len(order)) - 1]
        last = int(np.searchsorted(ascending, largest, side="right"))
        chosen = order[first:last]
        way = end[chosen] - place[chosen]
        reach = float(np.abs(way).sum())
        if reach > excess:
            place[chosen] += excess / reach * way
        else:
            place[chosen] = end[chosen]
        excess -= reach
        first = last
    return place


def _flat(tensors: Tensors, names: list[str]) -> Vector:
    return np.concatenate([tensors[name].ravel().astype(np.float64) for name in names])


def _shaped(flat: Vector, example: Tensors, names: list[str]) -> Tensors:
    """An input again: the numbers of `names` in their shapes, all else as in the example."""
    parts = np.split(flat, np.cumsum([example[name].size for name in names])[:-1])
    moved = {
        name: part.reshape(example[name].shape).astype(example[name].dtype)
        for name, part in zip(names, parts, strict=True)
    }
    return {**example, **moved}


def _differ(one: Tensors, other: Tensors, names: list[str]) -> bool:
    return any(not np.array_equal(one[name], other[name]) for name in names)
