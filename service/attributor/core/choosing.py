"""Which panels to split, of all curves side by side. Pure functions; knows no budget and no nodes."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from attributor.core import mesh
from attributor.core.integrator import StopReason
from attributor.core.panels import Panels

#: Share of the tolerance that the panels left alone in a round may use up; the split ones need the rest. Ours: with 0.5
#: GoogLeNet takes a fifth more gradients, for a twentieth fewer rounds.
UNSPLIT_SHARE = 0.85
#: Indicators are compared in so many steps per factor of two: 1 % apart, far above float32 rounding. Ours.
TIES_PER_OCTAVE = 64
#: Stands for an allowed error of zero where shares of it are compared: below any residual that counts.
LEAST_LIMIT = 1e-100
#: The least positive float: a share of zero has a logarithm too.
TINIEST = float(np.finfo(float).tiny)


def for_completeness(
    panels: Panels, limits: Sequence[float], totals: Sequence[float], met: Sequence[bool]
) -> NDArray[np.intp]:
    """Panels to split for completeness, worst first: the fewest such that the others together stay below a share of the
    limit, for each target that is not met yet. None where no split can bring any of them within its limit.

    Per target: `limits`, `totals` of the indicators as `together` has them, and whether the target is `met`.
    """
    open_to_splits = np.where(panels.idle, 0.0, panels.indicator)
    within_reach, rounding = together(open_to_splits), together(panels.noise)
    wanting = [
        target
        for target, (total, reach, noise, limit) in enumerate(zip(totals, within_reach, rounding, limits, strict=True))
        if not met[target] and reach > noise and not _rest_is_fine(total, reach, limit)
    ]
    if not wanting:
        return np.empty(0, np.intp)
    share = _shares(open_to_splits, limits)[wanting]
    order = _worst_first(share.max(axis=0))
    squares = share[:, order] ** 2
    left_over = squares.sum(axis=1, keepdims=True) - squares.cumsum(axis=1)
    if panels.sealed.any():
        left_over += (_shares(panels.sealed * _lasting(panels), limits)[wanting] ** 2).sum(axis=1, keepdims=True)
    enough = int(np.count_nonzero(left_over.max(axis=0) > UNSPLIT_SHARE**2)) + 1
    return order[:enough]


def rationed(panels: Panels, limits: Sequence[float]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """When memory runs out: the panels that may be sealed, those with the least error for their width in front; and
    those that have too much for that, along the path: split in this order, one part of it after the other is done."""
    density = (_shares(_lasting(panels), limits) ** 2).max(axis=0) / panels.width[0]
    order = np.argsort(density, kind="stable")
    order = order[~panels.sealed[0, order]]
    # One that has no more than its own share is fine by itself, whatever was sealed with too much.
    n_fine = int(np.count_nonzero(density[order] * panels.width.sum() <= UNSPLIT_SHARE**2))
    n_fine = max(n_fine, len(within_allowance(panels, order, limits)))
    return order[:n_fine], np.sort(order[n_fine:])


def within_allowance(panels: Panels, order: NDArray[np.intp], limits: Sequence[float]) -> NDArray[np.intp]:
    """As many panels of an order, from its front, as leave the rest of the path its share of the error allowed.

    What is sealed cannot be mended, so all that is sealed may have no more of the limit (of its square: errors are
    added as `together` does) than its share of the path; else panels that are still to be split had to make up for it.
    """
    squares = _shares(_lasting(panels), limits) ** 2
    width = panels.width[0] / panels.width.sum()
    gone = panels.sealed[0]
    spent = squares[:, gone].sum(axis=1, keepdims=True) + squares[:, order].cumsum(axis=1)
    allowed = UNSPLIT_SHARE**2 * (width[gone].sum() + width[order].cumsum())
    fine = np.flatnonzero((spent <= allowed).all(axis=0))
    return order[: int(fine[-1]) + 1] if len(fine) else order[:0]


def _shares(indicators: mesh.Floats, limits: Sequence[float]) -> mesh.Floats:
    """Of the error that each target is allowed."""
    return np.asarray(indicators / np.array([[max(limit, LEAST_LIMIT)] for limit in limits]))


def _lasting(panels: Panels) -> mesh.Floats:
    """The indicators of those panels that a split would make smaller, or would have made before they were sealed."""
    return np.where(panels.at_rounding | panels.jumped | panels.narrow, 0.0, panels.indicator)


def together(indicators: mesh.Floats) -> list[float]:
    """What indicators of shape (targets, panels) count per target: the root of the sum of their squares.

    Residuals of kinked panels have random signs, and so has rounding: the sum of n of them grows as the root of n, as
    that of independent errors, where the sum of their sizes overstates it by as much. Unlike a sum with signs it
    cannot vanish by luck; that one, which is the true error, must be within the limit besides.
    """
    return [sqrt(square) for square in (indicators**2).sum(axis=1).tolist()]


def _rest_is_fine(total: float, reach: float, limit: float) -> bool:
    """Whether jumps and rounding alone exceed the limit, and the rest is within it: then no more is spent."""
    return total**2 - reach**2 > limit**2 and reach <= limit


def for_vectors(panels: Panels, wrong: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Panels to split for the attribution error of the targets that are `wrong`, worst first.

    Where vectors turn, slopes mostly turn too, and the trapezoid's residual shows where. It need not: along a linear
    score all residuals vanish whatever the gradients do, and only an even refinement finds out. So a panel counts by
    its share of the residuals (of the worst target) and by its share of the path. Ours.
    """
    size = panels.size[wrong]
    total = size.sum(axis=1, keepdims=True)
    share = np.divide(size, total, out=np.zeros_like(size), where=total > 0).max(axis=0)
    width = panels.width[0] / panels.width.sum()
    return _worst_first(np.where(panels.narrow[0] | panels.sealed[0], 0.0, share + width))


def _worst_first(share: mesh.Floats) -> NDArray[np.intp]:
    """The panels from the largest share down; none with a share of zero."""
    # Nearly equal ones are ties, which a stable sort leaves to the left: rounding must not choose between mirrors.
    rank = np.rint(np.log2(np.maximum(share, TINIEST)) * -TIES_PER_OCTAVE)
    order = np.argsort(rank, kind="stable")
    return order[share[order] > 0]


def why_stuck(panels: Panels, unmet: NDArray[np.bool_]) -> StopReason:
    """Why no split can bring the targets that are `unmet` within their limits."""
    if panels.jumped[unmet].any():
        return StopReason.DISCONTINUITY
    if (panels.sealed & (_lasting(panels) > 0))[unmet].any():
        return StopReason.MEMORY
    too_narrow = (panels.narrow & ~panels.at_rounding)[unmet].any()
    return StopReason.RESOLUTION if too_narrow else StopReason.FLOAT_NOISE
