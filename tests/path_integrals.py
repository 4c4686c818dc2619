"""Path integrals by hand: plain torch in float64, dense nodes, nothing of the package. What answers are held against.

A score maps points (rows, *shape) to (rows,), float64.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]


def tensor64(values: object) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


def gradients(score: Score, points: Tensor) -> Tensor:
    """dF/dpoint at each."""
    leaf = points.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(score(leaf).sum(), leaf)
    return found


def dense_nodes(panels: int = 100, per_panel: int = 8) -> tuple[Tensor, Tensor]:
    """Composite Gauss-Legendre on [0, 1]: alphas and weights."""
    nodes, weights = np.polynomial.legendre.leggauss(per_panel)
    starts = np.arange(panels)[:, None]
    alphas = (starts + (nodes + 1) / 2) / panels
    return torch.tensor(alphas.ravel()), torch.tensor(np.tile(weights / 2 / panels, panels))


def column(values: Tensor, like: Tensor) -> Tensor:
    """One number per row of `like`, which has the rows' axis first."""
    return values.view(-1, *[1] * (like.dim() - 1))


def straight(score: Score, baseline: object, example: object, panels: int = 100) -> np.ndarray:
    """Integrated gradients (Sundararajan, Taly and Yan 2017, equation 1)."""
    start, end = tensor64(baseline), tensor64(example)
    return (mean_gradient(score, start, end, panels) * (end - start)).numpy()


def mean_gradient(score: Score, baseline: object, example: object, panels: int = 100) -> Tensor:
    """The mean of dF/dx on the straight line."""
    start, end = tensor64(baseline), tensor64(example)
    alphas, weights = dense_nodes(panels)
    delta = (end - start)[None]
    found = gradients(score, start + column(alphas, delta) * delta)
    return (column(weights, found) * found).sum(0)


def along(score: Score, gamma: Callable[[float], Tensor], n_steps: int = 2000) -> np.ndarray:
    """Any path, by the sum of gradient(middle) * (gamma(end) - gamma(start)): needs no derivative of the path, and its
    error falls with the square of the steps (Sundararajan, Taly and Yan 2016, equation 6, at middles)."""
    ends = torch.stack([gamma(k / n_steps) for k in range(n_steps + 1)])
    middles = torch.stack([gamma((k + 0.5) / n_steps) for k in range(n_steps)])
    return (gradients(score, middles) * ends.diff(dim=0)).sum(0).numpy()
