"""Curves between two vertices: where they run, straight or bent, and their exact derivatives.

Straight: gamma(alpha) = x' + alpha (x - x'), gamma' = x - x' (Sundararajan, Taly, Yan 2017, equation 1). Blurred: a
cosine transform with factors in closed form (core/scale_space.py). Knows torch, no model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from attributor.core.scale_space import cosine_basis, eigenvalues, multipliers
from attributor.errors import UnsupportedByModel
from attributor.model_port import CurveSpec

#: alphas (k,) float32 -> gamma(alpha) and gamma'(alpha), both (k, *shape).
Bend = Callable[[Tensor], tuple[Tensor, Tensor]]

#: A path object of a bundle: called with both ends, answers with the curve between them.
PathObject = Callable[[Tensor, Tensor], Bend]

#: How near a registered curve must come to the ends it was given: rounding of float32 over some hundred operations.
_END_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A placed curve: the slots of its vertices and how it bends, by tensor; tensors without a bend run straight.

    `starts_at_example`, `ends_at_example`: whether that vertex is the route's example.
    """

    spec: CurveSpec
    start: int
    end: int
    starts_at_example: bool
    ends_at_example: bool
    bends: Mapping[str, Bend] = field(default_factory=dict)

    def is_example(self, alpha: float) -> bool:
        """Whether the curve is at the route's example at `alpha`."""
        if self.start == self.end:
            return self.ends_at_example
        return (self.ends_at_example and alpha == 1) or (self.starts_at_example and alpha == 0)


def straight(start: Tensor, end: Tensor, alphas: Tensor, *, at_end: bool = True) -> tuple[Tensor, Tensor]:
    """Points and derivatives of one straight curve per row, all (rows, *shape); exactly the ends at alpha 0 and 1.

    `at_end`: whether any alpha may be 1. A multiplication and an addition, not lerp: fused arithmetic may round by the
    place in the batch.
    """
    alpha = alphas.view(-1, *[1] * (end.dim() - 1))
    delta = end - start
    points = start + alpha * delta
    return torch.where(alpha == 1, end, points) if at_end else points, delta


def blur_bend(image: Tensor, sigma: float) -> Bend:
    """The scale space of an image (channels, height, width), blurred by (1 - alpha) * sigma pixels at alpha.

    Raises UnsupportedByModel for another number of axes.
    """
    if image.dim() != 3:
        raise UnsupportedByModel("Only images can be blurred: choose another path for this input.", field="path")
    height, width = image.shape[-2:]
    # float64: the exact derivative is worth nothing if the transform's rounding drowns it.
    down, across = (torch.tensor(cosine_basis(n), device=image.device) for n in (height, width))
    coefficients = down @ image.double() @ across.T
    decay = eigenvalues(height, width)

    def bend(alphas: Tensor) -> tuple[Tensor, Tensor]:
        pairs = [multipliers(decay, sigma, alpha) for alpha in alphas.tolist()]
        factors = (torch.tensor(np.stack(of_all), device=image.device) for of_all in zip(*pairs, strict=True))
        value, derivative = (down.T @ (factor[:, None] * coefficients) @ across for factor in factors)
        return value.float(), derivative.float()

    return bend


def registered_bend(path: PathObject, start: Tensor, end: Tensor) -> Bend:
    """The curve of a bundle's path object between two tensors of one shape.

    Raises UnsupportedByModel where gamma(0) and gamma(1) are not its ends, or shapes are others.
    """
    bend = path(start, end)
    points, derivatives = bend(torch.tensor([0.0, 1.0], device=end.device))
    expected = (2, *end.shape)
    if tuple(points.shape) != expected or tuple(derivatives.shape) != expected:
        raise UnsupportedByModel(
            f"The registered path gives points of shape {tuple(points.shape)} and derivatives of shape "
            f"{tuple(derivatives.shape)} for two alphas; both must be {expected}.",
            field="path",
        )
    size = float(torch.maximum(start.abs().max(), end.abs().max()))
    if not torch.allclose(points.float(), torch.stack([start, end]), rtol=0, atol=_END_TOLERANCE * size):
        raise UnsupportedByModel("The registered path does not run from the baseline to the example.", field="path")
    return bend
