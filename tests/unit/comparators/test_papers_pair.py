"""Two networks that are one function, told apart by DeepLIFT and LRP (Sundararajan, Taly, Yan 2017, appendix).

f = ReLU(ReLU(x1) - 1 - ReLU(x2)) and g = ReLU(ReLU(x1 - 1) - ReLU(x2)) are equal for x1, x2 >= 0. At (3, 1) with the
baseline (0, 0) the paper gives, for both methods, (1.5, -0.5) on f and (2, -1) on g.
"""

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import Method, Target
from attributor.jobs.model import OutputKind, OutputScale
from loaded import explained, floats, loaded, row
from torch import nn

X = floats(3.0, 1.0)
VALUE = Target(scale=OutputScale.VALUE)


def linear(weights: list[list[float]], biases: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weights[0]), len(weights))
    layer.weight.data, layer.bias.data = torch.tensor(weights), torch.tensor(biases)
    return layer


def net_f() -> nn.Module:
    return nn.Sequential(nn.ReLU(), linear([[1.0, -1.0]], [-1.0]), nn.ReLU())


def net_g() -> nn.Module:
    return nn.Sequential(
        linear([[1.0, 0.0], [0.0, 1.0]], [-1.0, 0.0]), nn.ReLU(), linear([[1.0, -1.0]], [0.0]), nn.ReLU()
    )


def attributions(module: nn.Module, method: Method, **options: float) -> np.ndarray:
    model = loaded(module, row(2), labels=("out",), kind=OutputKind.VALUES)
    (result,) = explained(model, method, X, targets=(VALUE,), options=options)
    assert result.score == 1.0
    return result.attributions["x"]


def test_the_two_networks_are_one_function_where_it_matters():
    points = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 5
    assert torch.allclose(net_f()(points), net_g()(points))


@pytest.mark.parametrize(("net", "papers"), [(net_f, (1.5, -0.5)), (net_g, (2.0, -1.0))], ids=["f", "g"])
def test_deep_lift_gives_the_papers_figures(net, papers):
    assert np.allclose(attributions(net(), Method.DEEP_LIFT), papers, atol=1e-6)


@pytest.mark.parametrize(("net", "papers"), [(net_f, (1.5, -0.5)), (net_g, (2.0, -1.0))], ids=["f", "g"])
def test_lrp_gives_the_papers_figures_where_biases_pass_their_share_on(net, papers):
    """The paper shares a unit's relevance in proportion to x_i w_ij over their sum, the bias left out of it."""
    assert np.allclose(attributions(net(), Method.LRP, spread_bias=1), papers, atol=1e-6)


@pytest.mark.parametrize("net", [net_f, net_g], ids=["f", "g"])
def test_captums_own_lrp_leaves_the_share_of_the_bias_with_it(net):
    """By Bach et al. 2015 the bias stands in the sum: here it keeps -1 of the score 1, and the pair looks alike."""
    assert np.allclose(attributions(net(), Method.LRP), (3.0, -1.0), atol=1e-6)
