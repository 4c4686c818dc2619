"""What a path shows beside its integral: interior gradients and saturation (Sundararajan, Taly and Yan 2016, 2.2, 2.3).

Both are of the path from the first baseline, whose alpha runs from 0 to 1 evenly over its pieces.
"""

from collections.abc import Sequence
from itertools import chain
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Node
from attributor.core.integrator import Integral
from attributor.engine.noise import combine
from attributor.engine.outcome import LARGEST_FLOAT32, Copy, as_served
from attributor.engine.paths import Placed
from attributor.engine.route import Route, Vectors
from attributor.engine.steps import Steps, evaluated
from attributor.engine.work import Work
from attributor.errors import NonFiniteGradient, NonFiniteScore
from attributor.jobs.explanation import SmoothForm
from attributor.jobs.model import InputKind
from attributor.jobs.result import InteriorGradients, LayerDistance, SaturationResult
from attributor.model_port import Observation


def interior_gradients(
    work: Work, copy: Copy, route: Route, placed: Placed
) -> Steps[tuple[InteriorGradients, ...] | None]:
    """dF/dgamma at the alphas asked for, per target; None where none are."""
    alphas = work.explanation.interior_alphas
    if not alphas:
        return None
    pieces = _pieces(placed)
    path = placed.vertices[0]
    plain: dict[int, int] = {}
    nodes = []
    for n, alpha in enumerate(alphas):
        piece, local = _local(alpha, len(pieces))
        if piece not in plain:
            plain[piece] = route.add_curve(path[piece], path[piece + 1], placed.bends, plain=True)
        # Negative numbers: those from 0 are the integrator's.
        nodes.append(Node(-1 - n, plain[piece], local))
    yield from evaluated(route, nodes, gradient=True)
    return tuple(_interior(work, route, k, nodes, alphas) for k in range(len(copy.targets)))


def _interior(
    work: Work, route: Route, target: int, nodes: Sequence[Node], alphas: tuple[float, ...]
) -> InteriorGradients:
    rows = [route.attributions(target, {node.index: 1.0}) for node in nodes]
    for alpha, row in zip(alphas, rows, strict=True):
        if not all((np.abs(values) <= LARGEST_FLOAT32).all() for values in row.values()):
            raise NonFiniteGradient(f"the interior gradient at alpha = {alpha:g} is not finite")
    return _read(work, {name: np.stack([row[name] for row in rows]) for name in rows[0]})


def smoothed_interior(work: Work, form: SmoothForm, found: Sequence[InteriorGradients]) -> InteriorGradients:
    """Of noisy copies: their vectors combined, and read as those of one."""
    return _read(work, combine(form, [each.vectors for each in found]))


def _read(work: Work, wide: Vectors) -> InteriorGradients:
    """Vectors at the alphas asked for, with what is read off them. Raises NonFiniteGradient where float32 overflows."""
    vectors = as_served(wide)
    images = {spec.name for spec in work.info.inputs if spec.kind is InputKind.IMAGE}
    return InteriorGradients(
        alphas=work.explanation.interior_alphas,
        vectors=vectors,
        importance={name: _importance(values, image=name in images) for name, values in vectors.items()},
        mean_magnitude={
            name: tuple(float(np.abs(row).mean(dtype=np.float64)) for row in values) for name, values in vectors.items()
        },
    )


def _importance(vectors: NDArray[np.float32], *, image: bool) -> NDArray[np.float32]:
    """Equation 1: of an image, the sum over its channels; of anything else, |gradient|."""
    magnitude = np.abs(vectors)
    return magnitude.sum(axis=1) if image else magnitude


def saturation(work: Work, route: Route, placed: Placed, integral: Integral) -> Steps[SaturationResult | None]:
    """The first target's score, and layers' distances to their output at x, along the path; None where not asked."""
    asked = work.explanation.saturation
    if asked is None or work.explanation.smoothing:
        return None
    pieces = _pieces(placed)
    first = -1 - len(work.explanation.interior_alphas)
    extra = []
    for n, alpha in enumerate(asked.alphas):
        piece, local = _local(alpha, len(pieces))
        extra.append(Node(first - n, pieces[piece], local))
    scores: dict[int, float] = {}
    if extra:
        told = yield from evaluated(route, extra, gradient=False)
        scores = dict(zip((node.index for node in extra), told.scores[:, 0].tolist(), strict=True))
    observed = {seen.node: seen for seen in route.model.observations(route.id)}
    if not all(isfinite(value) for seen in observed.values() for value in (seen.logit, *chain(*seen.distances))):
        raise NonFiniteScore("the score, or the output of an observed layer, is not finite somewhere on the path")
    nodes = integral.nodes
    scores |= {known.node.index: known.scores[0] for known in nodes}
    places = {node.index: (pieces.index(node.curve) + node.alpha) / len(pieces) for node in extra}
    for known in nodes:
        if known.node.curve in pieces:
            places[known.node.index] = (pieces.index(known.node.curve) + known.node.alpha) / len(pieces)
    # An alpha that was asked for and had been evaluated stands once.
    by_alpha = {places[n]: n for n in reversed([n for n in places if n in observed])}
    return _saturation(asked.layers, sorted(by_alpha.items()), scores, observed)


def _saturation(
    layers: Sequence[str],
    places: Sequence[tuple[float, int]],
    scores: dict[int, float],
    observed: dict[int, Observation],
) -> SaturationResult:
    seen = [observed[n] for _, n in places]
    probabilities = tuple(each.probability for each in seen if each.probability is not None)
    return SaturationResult(
        alpha=tuple(alpha for alpha, _ in places),
        score=tuple(scores[n] for _, n in places),
        probability=probabilities if len(probabilities) == len(seen) else None,
        logit=tuple(each.logit for each in seen),
        layers=tuple(
            LayerDistance(
                name,
                l2=tuple(each.distances[k][0] for each in seen),
                cosine=tuple(each.distances[k][1] for each in seen),
            )
            for k, name in enumerate(layers)
        ),
    )


def _pieces(placed: Placed) -> list[int]:
    """The curves of the path from the first baseline, in order."""
    return [n for n, curve in enumerate(placed.curves) if curve.line == 0]


def _local(alpha: float, n_pieces: int) -> tuple[int, float]:
    """The piece that an alpha of the whole path falls on, and the alpha there."""
    piece = min(int(alpha * n_pieces), n_pieces - 1)
    return piece, alpha * n_pieces - piece
