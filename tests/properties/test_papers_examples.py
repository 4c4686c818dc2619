"""The worked examples of the papers, with their figures, by the real runtime and engine.

AA: Sundararajan, Taly and Yan 2017. GC: the same authors, 2016.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import Gamma, GammaKind, Method
from attributor.jobs.job import Quadrature, RuleName
from torch import Tensor, nn
from torch_engine import CLOSE, explained, fixed, output
from torch_nets import settled, values_of

#: Of figures that are printed or derived: what float32 and CLOSE's tolerance leave.
NEAR = {"rel": 1e-3, "abs": 1e-5}


class Formula(nn.Module):
    """One value, of the columns of x."""

    def __init__(self, formula: Callable[..., Tensor]) -> None:
        super().__init__()
        self.formula = formula
        settled(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(*x.unbind(1))[:, None]


def relu(values: Tensor) -> Tensor:
    return values.relu()


def attributions(
    formula: Callable[..., Tensor], x: tuple[float, ...], quadrature: Quadrature = CLOSE, **asked
) -> np.ndarray:
    """From a baseline of zeros."""
    example = {"x": np.array(x, np.float32)}
    result = explained(
        Formula(formula), values_of(len(x)), example, targets=(output(0),), quadrature=quadrature, **asked
    )
    return result.attributions["x"]


F_AND_G = {
    "f": lambda x1, x2: relu(relu(x1) - 1 - relu(x2)),
    "g": lambda x1, x2: relu(relu(x1 - 1) - relu(x2)),
}


@pytest.mark.parametrize("net", F_AND_G)
def test_integrated_gradients_give_both_of_aas_networks_the_papers_figures(net):
    assert attributions(F_AND_G[net], (3.0, 1.0)) == pytest.approx([1.5, -0.5], **NEAR)


@pytest.mark.parametrize("rule", list(RuleName)[1:])
def test_on_the_pair_fixed_rules_agree_with_each_other_node_for_node(rule):
    # A node at alpha 0 or 1/2 is at a kink, where f and g may take either side: an odd number of nodes has none but 0,
    # whose weight is as small as 1/500.
    f, g = (attributions(net, (3.0, 1.0), fixed(251, rule)) for net in F_AND_G.values())
    assert f == pytest.approx(g, abs=0.01)
    assert f == pytest.approx([1.5, -0.5], abs=0.02)


def test_gradients_miss_what_is_saturated_and_integrated_gradients_do_not():
    """AA 2.1, GC 2.1: f = 1 - ReLU(1 - x) from 0 to 2 rises by 1, and is flat at 2."""

    def flat_from_one(x):
        return 1 - relu(1 - x)

    assert attributions(flat_from_one, (2.0,), method=Method.SALIENCY) == [0.0]
    assert attributions(flat_from_one, (2.0,), method=Method.GRADIENT_X_INPUT) == [0.0]
    assert attributions(flat_from_one, (2.0,)) == pytest.approx([1.0], **NEAR)


def test_interior_gradients_of_the_saturated_function_vanish_from_half_way_on():
    result = explained(
        Formula(lambda x: 1 - relu(1 - x)), values_of(1), {"x": np.array([2.0], np.float32)}, targets=(output(0),),
        interior_alphas=(0.1, 0.4, 0.6, 1.0),
    )  # fmt: skip
    assert result.interior.vectors["x"].ravel().tolist() == [1.0, 1.0, 0.0, 0.0]


def test_of_the_smaller_of_two_integrated_gradients_credit_the_smaller_and_shapley_values_both():
    """AA 4: min(x1, x2) at (1, 3)."""
    assert attributions(torch.minimum, (1.0, 3.0)) == pytest.approx([1.0, 0.0], abs=2e-3)
    assert attributions(torch.minimum, (1.0, 3.0), method=Method.SHAPLEY, samples=2).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("n", [2, 3, 7])
def test_the_logistic_function_of_a_sum_is_shared_out_evenly(n):
    """AA 4: sigmoid(x1 + x2 + ...), all ones: equal shares of sigmoid(n) - 1/2."""

    def logistic(*columns):
        return torch.sigmoid(sum(columns))

    share = (1 / (1 + np.exp(-n)) - 0.5) / n
    assert attributions(logistic, (1.0,) * n) == pytest.approx([share] * n, **NEAR)


def test_another_path_does_not_share_the_logistic_function_evenly():
    """AA Theorem 1: of the path methods, only the straight path is symmetric. Here x1 moves first."""

    def logistic(x1, x2):
        return torch.sigmoid(x1 + x2)

    first_x1 = Gamma(GammaKind.POLYLINE, points=(np.array([1.0, 0.0], np.float32),))
    at = [1 / (1 + np.exp(-total)) for total in (0, 1, 2)]
    shares = attributions(logistic, (1.0, 1.0), gamma={"x": first_x1})
    assert shares == pytest.approx(np.diff(at), **NEAR)
    assert shares[0] > 1.5 * shares[1]


def test_a_product_is_shared_out_evenly_whatever_the_values():
    """x1 x2 from zero: each gets the integral of alpha x1 x2, a half."""
    assert attributions(torch.mul, (3.0, -2.0)) == pytest.approx([-3.0, -3.0], **NEAR)


def test_right_endpoints_are_the_papers_sum():
    """AA equation 3 on x^2 from 0 to 1 in m steps: the sum of 2 k / m^2 is (m + 1) / m."""
    for m in (20, 300):
        shares = attributions(lambda x: x * x, (1.0,), fixed(m, RuleName.RIGHT_RIEMANN))
        assert shares == pytest.approx([(m + 1) / m], rel=1e-6)
