"""Layers: vectors, slopes and scores of a pass against gradients and Jacobians taken by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from attributor.core.asks import Node
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Layer, Quantity, Target, Term
from attributor.jobs.model import OutputKind, OutputScale
from attributor.model_port import CurveSpec, RouteSpec
from attributor.runtimes.torch_runtime import TorchModel
from modules import (
    LOGIT,
    MASKED_INFO,
    TOKENS,
    Skipping,
    Tagger,
    at,
    described,
    evaluated,
    gradient_of,
    meeting,
    open_straight,
    row,
    trapezoid,
    vector_info,
)
from torch import Tensor, nn

EXAMPLE, MIDDLE, BASELINE = row(1, -2, 0.5), row(0.5, 1, -1), row(0, 0.3, 0)
IDS = np.array([3, 1, 0, 5])
TAGS = described(TOKENS, n_labels=3, kind=OutputKind.SEQUENCE, positions=4)
TAG = Target((Term(2),), position=-1, scale=OutputScale.LOGIT)


def logit(module: nn.Module, index: int = 0) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x)[:, index]


def test_a_layers_path_is_straight_in_its_output_and_all_else_is_at_the_example():
    module = Skipping(skip=True).eval()
    model = TorchModel(module, vector_info(3))
    open_straight(model, "p", {"x": EXAMPLE}, {"x": BASELINE}, layer=Layer("act"))
    found = evaluated(model, "p", [0.25])
    with torch.no_grad():
        start, end = (module.act(module.first(torch.tensor(x))).numpy() for x in (BASELINE, EXAMPLE))
    value, gradient = gradient_of(
        lambda z: module.head(torch.tanh(module.second(z) + torch.tensor(EXAMPLE)))[:, 0],
        start + np.float32(0.25) * (end - start),
    )
    assert found.scores[0, 0] == pytest.approx(value, rel=1e-5)
    expected = gradient * (end - start)
    attributions = model.attributions("p", 0, {1: 1.0})
    assert attributions.keys() == {"act"}
    np.testing.assert_allclose(attributions["act"], expected, rtol=1e-4, atol=1e-7)
    assert found.slopes[0][0] == pytest.approx(float(expected.sum()), rel=1e-4)


@pytest.mark.parametrize("layer", ["embed", "mix", "head"])
def test_layers_of_a_token_model_are_attributed_by_their_own_shape(layer):
    module = Tagger().eval()
    model = TorchModel(module, TAGS)
    shape = {"embed": (4, 4), "mix": (4, 5), "head": (4, 3)}[layer]
    for quantity in Quantity:
        name = f"{layer}-{quantity}"
        open_straight(
            model, name, {"ids": IDS}, {"ids": np.array([0] * 4)}, targets=(TAG,), layer=Layer(layer, quantity)
        )
        alphas, weights = trapezoid(64)
        found = evaluated(model, name, alphas)
        attributions = model.attributions(name, 0, weights)[layer]
        assert attributions.shape == shape
        if quantity is not Quantity.INFLUENCE:
            gap = found.scores[-1, 0] - found.scores[0, 0]
            assert attributions.sum() == pytest.approx(gap, rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("layer", ["first", "act", "second", "head"])
def test_conductance_of_a_cut_sums_to_the_gap_and_of_one_that_is_gone_round_does_not(layer):
    alphas, weights = trapezoid(200)
    for skip in (False, True):
        model = TorchModel(Skipping(skip=skip).eval(), vector_info(3))
        spec = Layer(layer, Quantity.CONDUCTANCE)
        open_straight(model, "p", {"x": EXAMPLE}, {"x": BASELINE}, layer=spec, targets=(Target(),))
        found = evaluated(model, "p", alphas)
        gap = found.scores[-1, 0] - found.scores[0, 0]
        total = model.attributions("p", 0, weights)[layer].sum()
        integral = sum(weight * found.slopes[node - 1, 0] for node, weight in weights.items())
        # The slopes are dF/dalpha whatever passes by the layer.
        assert abs(integral - gap) < 1e-3 * abs(gap)
        assert (abs(total - gap) < 1e-3 * abs(gap)) == (not skip or layer == "head")


def test_conductance_is_the_gradient_of_the_layer_times_its_change_along_each_curve():
    module = Skipping(skip=True).eval()
    model = TorchModel(module, vector_info(3))
    model.open("p", RouteSpec({"x": EXAMPLE}, (LOGIT, Target()), layer=Layer("second", Quantity.CONDUCTANCE)))
    model.add_curve("p", CurveSpec({"x": BASELINE}, {"x": MIDDLE}))
    model.add_curve("p", CurveSpec({"x": MIDDLE}, {"x": EXAMPLE}))
    model.evaluate(at("p", 1.0, curve=1))
    at_vertex, inside = model.evaluate([*meeting("p", Node(5, 1, 0.0), Node(6, 0, 1.0)), *at("p", 0.5, first=7)])
    x = torch.tensor(MIDDLE)
    z, jacobian = (
        module.second(module.act(module.first(x))).detach(),
        torch.autograd.functional.jacobian(lambda leaf: module.second(module.act(module.first(leaf))), x),
    )
    _, of_layer = gradient_of(lambda leaf: module.head(torch.tanh(leaf + x))[:, 0], z.numpy())
    _, of_input = gradient_of(logit(module), MIDDLE)
    for place, (node, change) in enumerate(((5, EXAMPLE - MIDDLE), (6, MIDDLE - BASELINE))):
        expected = of_layer * (jacobian.numpy() @ change)
        np.testing.assert_allclose(model.attributions("p", 0, {node: 1.0})["second"], expected, rtol=1e-4, atol=1e-6)
        assert at_vertex.slopes[place][0] == pytest.approx(float((of_input * change).sum()), rel=1e-4)
    assert (at_vertex.scores.shape, at_vertex.tops.shape, at_vertex.slopes.shape) == ((1, 2), (1,), (2, 2))
    assert (inside.scores.shape, inside.tops.shape, inside.slopes.shape) == ((1, 2), (1,), (1, 2))
    value, _ = gradient_of(logit(module), MIDDLE)
    assert at_vertex.scores[0, 0] == pytest.approx(value, rel=1e-5)
    inside_value, _ = gradient_of(logit(module), (BASELINE + MIDDLE) / 2)
    assert inside.scores[0, 0] == pytest.approx(inside_value, rel=1e-5)


def test_influence_is_the_mean_gradient_of_the_layer_along_the_path():
    module = Skipping(skip=True).eval()
    model = TorchModel(module, vector_info(3))
    open_straight(model, "p", {"x": EXAMPLE}, {"x": BASELINE}, layer=Layer("second", Quantity.INFLUENCE))
    alphas = [0.1, 0.6, 0.9]
    found = evaluated(model, "p", alphas)
    expected = np.zeros(3)
    for alpha, slopes in zip(alphas, found.slopes, strict=True):
        point = torch.tensor(BASELINE + np.float32(alpha) * (EXAMPLE - BASELINE))
        z = module.second(module.act(module.first(point))).detach().numpy()
        _, gradient = gradient_of(lambda leaf, point=point: module.head(torch.tanh(leaf + point))[:, 0], z)
        expected += gradient / 3
        _, of_input = gradient_of(logit(module), point.numpy())
        assert slopes[0] == pytest.approx(float((of_input * (EXAMPLE - BASELINE)).sum()), rel=1e-4)
    weights = dict.fromkeys((1, 2, 3), 1 / 3)
    np.testing.assert_allclose(model.attributions("p", 0, weights)["second"], expected, rtol=1e-4)


def test_conductance_without_gradients_is_a_plain_forward_pass():
    model = TorchModel(Skipping(skip=True).eval(), vector_info(3))
    layer = Layer("second", Quantity.CONDUCTANCE)
    open_straight(model, "p", {"x": EXAMPLE}, {"x": BASELINE}, layer=layer)
    open_straight(model, "q", {"x": EXAMPLE}, {"x": BASELINE})
    (found,) = model.evaluate(meeting("p", Node(1, 0, 1.0), gradient=False))
    assert np.isnan(found.slopes).all()
    assert found.slopes.shape == (1, 1)
    assert found.scores == pytest.approx(model.evaluate(at("q", 1.0))[0].scores, rel=1e-6)


def test_a_layer_that_the_path_never_reaches_is_refused():
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of_mask = nn.Identity()

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return (x * self.of_mask(mask))[:, :2]

    model = TorchModel(Beside(), MASKED_INFO)
    example = {"x": EXAMPLE, "mask": row(1, 1, 1)}
    for quantity in (Quantity.CONDUCTANCE, Quantity.INFLUENCE):
        open_straight(model, quantity, example, example, layer=Layer("of_mask", quantity))
        with pytest.raises(UnsupportedByModel, match="does not depend on"):
            model.evaluate(at(quantity, 1.0))
