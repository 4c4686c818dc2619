"""The proof of registered path objects at load: do they lead from x' to x, and is their derivative theirs?

A wrong derivative leaves a residual that no splitting of the path removes. Knows torch; no model, no requests.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from attributor.registry.loader import describe
from attributor.runtimes.curves import PathObject

#: Where the derivative is compared: ours, irregular, so that no period of a path hides its error.
_ALPHAS = (0.13, 0.29, 0.5, 0.71, 0.87)

#: Step of the central difference. Ours: a power of two, so that alphas stay exact. In float32 rounding is then about
#: 1e-5 of the points, and the formula's own error, step squared / 6 times the third derivative, is below 1e-3 for three
#: turns of a sine.
_STEP = 2.0**-8

#: Error of the derivative, relative L1, that counts as the difference's own. Ours: ten times the two errors above.
_DERIVATIVE_TOLERANCE = 1e-2

#: Error of the ends, relative L1, where there is no difference to take: ours, a few float32 roundings.
_END_TOLERANCE = 1e-5


def check_paths(paths: Mapping[str, PathObject], places: Mapping[str, Tensor]) -> str | None:
    """What is wrong with the paths, tried between the first two rows of every place where gradients are taken."""
    for name, path in paths.items():
        for place, rows in places.items():
            try:
                problem = _problem(path, rows[0], rows[1])
            except Exception as error:  # what a bundle's code may raise is not ours to list
                problem = f"it raised {describe(error)}"
            if problem is not None:
                return f"Path {name!r} cannot be used for input {place!r}: {problem}."
    return None


def _problem(path: PathObject, baseline: Tensor, example: Tensor) -> str | None:
    gamma = path(baseline, example)
    alphas = torch.tensor([0.0, 1.0, *_ALPHAS], device=example.device)
    points, derivatives = gamma(alphas)
    needed = [len(alphas), *example.shape]
    for what, tensor in (("points", points), ("derivatives", derivatives)):
        if list(tensor.shape) != needed:
            return f"its {what} have shape {list(tensor.shape)} for {len(alphas)} alphas; {needed} is needed"
        if not tensor.isfinite().all():
            return f"its {what} hold NaN or infinity"
    size = float(baseline.abs().sum() + example.abs().sum())
    for alpha, point, end, word in ((0, points[0], baseline, "baseline"), (1, points[1], example, "example")):
        if not float((point - end).abs().sum()) <= _END_TOLERANCE * size:
            return f"at alpha {alpha} it is not at the {word}"
    before, after = gamma(alphas[2:] - _STEP)[0], gamma(alphas[2:] + _STEP)[0]
    return _derivative_problem((after - before) / (2 * _STEP), derivatives[2:])


def _derivative_problem(slopes: Tensor, derivatives: Tensor) -> str | None:
    """Finite differences and what the path says, both (alphas, *shape); relative to the largest slope of all alphas."""
    scale = float(slopes.abs().flatten(1).sum(1).max())
    errors = (derivatives - slopes).abs().flatten(1).sum(1)
    for alpha, error in zip(_ALPHAS, errors.tolist(), strict=True):
        if not error <= _DERIVATIVE_TOLERANCE * scale:
            return (
                f"at alpha {alpha} its derivative is not that of its points (the finite difference is off by "
                f"{error / max(scale, torch.finfo(torch.float32).tiny):.1e}, relative)"
            )
    return None
