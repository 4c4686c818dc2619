"""The vertices of a path made of straight pieces. Knows the points asked for; no model."""

from collections.abc import Mapping

import numpy as np

from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Gamma, GammaKind
from attributor.jobs.model import Tensors


def vertices(gamma: Mapping[str, Gamma], baseline: Tensors, example: Tensors) -> list[Tensors]:
    """The inner vertices of the path in order, from the baseline's side; none for a straight path.

    All inputs pass their points together: where one has a polyline, the others go straight, a piece as long as the
    next. Raises UnsupportedByModel with field "path" where inputs have different numbers of points, or where one would
    have to stand between two tokens or follow a curve meanwhile.
    """
    points = {name: each.points for name, each in gamma.items() if each.kind is GammaKind.POLYLINE}
    counts = {name: len(each) for name, each in points.items()}
    if not any(counts.values()):
        return []
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of '{name}'" for name, count in counts.items())
        raise UnsupportedByModel(f"polylines of one path need equal numbers of points; got {listed}", field="path")
    for name in example:
        if name not in points:
            _require_straight(name, gamma.get(name, Gamma()), baseline, example)
    n = max(counts.values())
    return [
        {
            name: np.asarray(points[name][k], dtype=end.dtype)
            if name in points
            else _between(baseline, example, name, (k + 1) / (n + 1))
            for name, end in example.items()
        }
        for k in range(n)
    ]


def _require_straight(name: str, gamma: Gamma, baseline: Tensors, example: Tensors) -> None:
    if gamma.kind is not GammaKind.STRAIGHT:
        detail = f"the path of '{name}' is {gamma.kind}: beside a polyline an input can only go straight"
        raise UnsupportedByModel(detail, field="path")
    if _are_tokens(example, name) and not np.array_equal(baseline[name], example[name]):
        detail = f"'{name}' has tokens, and there is nothing between two of them: only a straight path can move them"
        raise UnsupportedByModel(detail, field="path")


def _between(baseline: Tensors, example: Tensors, name: str, share: float) -> np.ndarray:
    start, end = baseline[name], example[name]
    if _are_tokens(example, name):
        return end
    return ((1 - share) * start.astype(np.float64) + share * end.astype(np.float64)).astype(end.dtype)


def _are_tokens(example: Tensors, name: str) -> bool:
    return np.issubdtype(example[name].dtype, np.integer)
