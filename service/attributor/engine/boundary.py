"""The nearest input of another class, as a baseline: what would have to change for the decision to change.

Boundary attribution (Wang, Fredrikson and Datta 2022), with the reference set to search in, so that what lies across is
an input that can be, and not an adversarial one. Knows scores and classes, no gradients.
"""

import numpy as np

from attributor.core.asks import Node
from attributor.engine.route import Route
from attributor.engine.steps import Steps, evaluated
from attributor.engine.visits import room, visit
from attributor.errors import NoOtherClass, UnsupportedByModel
from attributor.jobs.model import OutputScale, Tensors

#: Reference inputs looked at together, at most. Ours: the nearest of another class is mostly among the first few, and
#: one pass over more costs more than a second one seldom does.
CHUNK = 64
#: Halvings of the segment to the example: the baseline lies within 2^-12 of its length of the boundary. Ours: a change
#: of 1/4096 of the way is below one step of an 8-bit picture.
HALVINGS = 12


def other_class_baseline(route: Route, example: Tensors, reference: Tensors, most: int = 1024) -> Steps[Tensors]:
    """The last point before the boundary on the straight way from the nearest reference input of another class to x.

    `reference`: per input, shape (count, *input shape); inputs that it lacks are held at the example. Nearest: by L2
    over features in units of their standard deviation in the reference set; at most `most` inputs are looked at. The
    point itself was evaluated, in float32, and is of another class than x.
    Raises UnsupportedByModel with field "baseline" without classes, numbers or reference inputs; NoOtherClass.
    """
    _require_classes(route, example, reference)
    order = _nearest(example, reference)[:most]
    size = min(CHUNK, room(route))
    for first in range(0, len(order), size):
        candidates = [_row(example, reference, int(row)) for row in order[first : first + size]]
        told = yield from visit(route, candidates)
        own, *others = told.tops.tolist()
        across = (each for each, top in zip(candidates, others, strict=True) if top != own)
        if nearest := next(across, None):
            return (yield from _at_boundary(route, nearest, example, own))
    raise NoOtherClass(
        f"the {len(order)} nearest inputs of the reference set are all of the class predicted for this one"
    )


def _at_boundary(route: Route, other: Tensors, example: Tensors, top: int) -> Steps[Tensors]:
    """The point nearest to the example, among those halved to, that is not of class `top`; `other` is none."""
    found, near, far = other, 1.0, 0.0
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        point = _between(other, example, middle)
        curve = route.add_curve(point, point)
        told = yield from evaluated(route, [Node(curve, curve, 1.0)], gradient=False)
        if told.tops[0] == top:
            near = middle
        else:
            found, far = point, middle
    return found


def _require_classes(route: Route, example: Tensors, reference: Tensors) -> None:
    if any(target.scale is OutputScale.VALUE for target in route.spec.targets):
        raise _refused("the model's outputs are values, not classes: other_class needs classes")
    names = [name for name in example if name in reference and len(reference[name])]
    if not names:
        raise _refused("other_class searches the reference set, and the model has none")
    for name in names:
        if np.issubdtype(example[name].dtype, np.integer):
            raise _refused(f"the input '{name}' has tokens, and no boundary can be met between two of them")


def _refused(detail: str) -> UnsupportedByModel:
    return UnsupportedByModel(detail, field="baseline")


def _nearest(example: Tensors, reference: Tensors) -> np.ndarray:
    """Row numbers by ascending distance. A feature that never varies in the reference set tells no rows apart."""
    squares = np.zeros(len(next(iter(reference.values()))))
    for name, rows in reference.items():
        deviation = rows.std(axis=0, dtype=np.float64)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        squares += [float((((row - example[name]) * scale) ** 2).sum()) for row in rows]
    return np.argsort(squares, kind="stable")


def _row(example: Tensors, reference: Tensors, number: int) -> Tensors:
    return {
        name: reference[name][number].astype(value.dtype) if name in reference else value
        for name, value in example.items()
    }


def _between(other: Tensors, example: Tensors, share: float) -> Tensors:
    """The input at a share of the straight way to the example."""
    return {
        name: end
        if np.array_equal(other[name], end)
        else ((1 - share) * other[name].astype(np.float64) + share * end.astype(np.float64)).astype(end.dtype)
        for name, end in example.items()
    }
