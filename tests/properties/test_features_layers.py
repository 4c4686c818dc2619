"""Attributions of a layer's output, end to end on torch nets: held against integrals by hand in float64."""

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, Gamma, GammaKind, Layer, Quantity
from attributor.jobs.model import OutputScale
from path_integrals import column, dense_nodes, gradients, straight, tensor64
from torch import Tensor, nn
from torch_engine import CLOSE, baseline, codes, explained, off, output
from torch_nets import PICTURE, TOKENS, Reader, Skip, classes_of, cnn, described, mlp, normal, row, uniform, wide

NEAR = 3e-3
LOGIT = output(1, scale=OutputScale.LOGIT)
X, X0 = normal(1, 4), normal(2, 4)
IMAGE, DARK = uniform(3, 2, 6, 6), np.zeros((2, 6, 6), np.float32)


def asked(layer: str, quantity: Quantity, **more):
    return {"layer": Layer(layer, quantity), "targets": (LOGIT,), "quadrature": CLOSE, **more}


def halves(net: nn.Sequential, layer: int) -> tuple[nn.Sequential, nn.Sequential]:
    """What comes up to a layer, itself included, and what comes after it; float64."""
    return wide(net)[: layer + 1], wide(net)[layer + 1 :]


MLPS = {name: mlp(4, (4, 12, 8, 3), name) for name in ("tanh", "relu")}
MLP_INFO, CNN_INFO = classes_of(4, 3), described(PICTURE, n_out=3)
#: net, description, example, baseline, a layer that all of the score passes through.
CUTS = {
    "linear": (MLPS["tanh"], MLP_INFO, {"x": X}, {"x": X0}, 2),
    "tanh": (MLPS["tanh"], MLP_INFO, {"x": X}, {"x": X0}, 1),
    "relu": (MLPS["relu"], MLP_INFO, {"x": X}, {"x": X0}, 1),
    "output": (MLPS["relu"], MLP_INFO, {"x": X}, {"x": X0}, 4),
    "convolution": (cnn(5, "tanh"), CNN_INFO, {"picture": IMAGE}, {"picture": DARK}, 0),
    "pool": (cnn(5, "relu"), CNN_INFO, {"picture": IMAGE}, {"picture": DARK}, 2),
}
cuts = pytest.mark.parametrize(("net", "info", "example", "start", "layer"), CUTS.values(), ids=CUTS)


def of(tensors) -> Tensor:
    (values,) = tensors.values()
    return tensor64(values)[None]


@cuts
def test_at_a_cut_integrated_gradients_of_a_layer_are_complete_and_right_by_hand(net, info, example, start, layer):
    before, after = halves(net, layer)
    result = explained(
        net, info, example, baselines=(baseline(**start),), **asked(str(layer), Quantity.LAYER_IG)
    )  # fmt: skip
    z, z0 = before(of(example))[0], before(of(start))[0]
    gap = (wide(net)(of(example)) - wide(net)(of(start)))[0, 1].item()
    found = result.attributions[str(layer)]
    assert found.shape == tuple(z.shape)
    assert off(found, straight(lambda rows: after(rows)[:, 1], z0, z)) < NEAR
    assert abs(result.attribution_sum - gap) <= 1e-3 * abs(gap) + 1e-5
    assert result.layer.cut is True
    assert "layer_not_a_cut" not in codes(result)


def test_beside_a_skip_connection_the_answer_is_of_the_net_with_the_layer_put_in_its_place():
    net = Skip(6)
    double = wide(net)
    result = explained(
        net, classes_of(4), {"x": X}, baselines=(baseline(x=X0),), **asked("first", Quantity.LAYER_IG)
    )  # fmt: skip
    x, x0 = tensor64(X)[None], tensor64(X0)[None]

    def patched(z: Tensor) -> Tensor:
        """The skip stays at the example."""
        return double.after(z.tanh(), x.expand(len(z), -1))[:, 1]

    z, z0 = double.first(x), double.first(x0)
    held, gap = patched(z0).item(), (patched(z) - patched(z0)).item()
    assert result.layer.cut is False
    assert "layer_not_a_cut" in codes(result)
    assert result.baseline_score == pytest.approx(held, abs=1e-6)
    assert abs(held - double(x0)[0, 1].item()) > 0.1, "the skip carries a good part"
    assert abs(result.attribution_sum - gap) <= 1e-3 * abs(gap) + 1e-5
    assert result.completeness_error == pytest.approx(abs(result.attribution_sum - gap), abs=1e-6)
    assert off(result.attributions["first"], straight(patched, z0[0], z[0])) < NEAR


def along_the_inputs(net: nn.Sequential, layer: int, start, example) -> tuple[np.ndarray, np.ndarray]:
    """The integrals over the inputs' path of dF/dz * dz/dalpha, and of dF/dz: conductance and influence."""
    before, after = halves(net, layer)
    end, first = of(example), of(start)
    alphas, weights = dense_nodes(panels=400)
    points = first + column(alphas, end) * (end - first)
    z, speed = torch.func.jvp(before, (points,), ((end - first).expand_as(points),))
    slopes = gradients(lambda rows: after(rows)[:, 1], z)
    weight = column(weights, z)
    return (weight * slopes * speed).sum(0).numpy(), (weight * slopes).sum(0).numpy()


@cuts
def test_conductance_is_complete_and_right_by_hand(net, info, example, start, layer):
    result = explained(
        net, info, example, baselines=(baseline(**start),), **asked(str(layer), Quantity.CONDUCTANCE)
    )  # fmt: skip
    gap = (wide(net)(of(example)) - wide(net)(of(start)))[0, 1].item()
    expected, _ = along_the_inputs(net, layer, start, example)
    assert off(result.attributions[str(layer)], expected) < NEAR
    assert abs(result.attribution_sum - gap) <= 1e-3 * abs(gap) + 1e-5


@cuts
def test_influence_is_the_mean_gradient_of_the_layer(net, info, example, start, layer):
    result = explained(
        net, info, example, baselines=(baseline(**start),), **asked(str(layer), Quantity.INFLUENCE)
    )  # fmt: skip
    _, expected = along_the_inputs(net, layer, start, example)
    assert off(result.attributions[str(layer)], expected) < 2 * NEAR
    assert result.completeness_error is None
    assert "add up" in result.completeness_reason


def test_a_layer_behind_an_embedding_is_complete_and_right_by_hand():
    net, ids = Reader(7), np.array([3, 1, 8, 5, 8], np.int64)
    pad = BaselineSpec("pad", {"ids": BaselinePart(BaselineKind.PAD)})
    result = explained(
        net, described(TOKENS, n_out=4), {"ids": ids}, baselines=(pad,), **asked("embed", Quantity.LAYER_IG)
    )  # fmt: skip
    double = wide(net)
    z, z0 = double.embed(torch.tensor(ids)), double.embed(torch.zeros(5, dtype=torch.long))
    assert result.attributions["embed"].shape == (5, 6)
    expected = straight(lambda rows: double.of_embedded(rows)[:, 1], z0, z, panels=20)
    assert off(result.attributions["embed"], expected) < NEAR


def test_a_layer_that_only_one_input_reaches_leaves_the_other_at_the_example():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = mlp(8, (4, 5)), mlp(9, (3, 5)), mlp(10, (5, 8, 2))

        def after(self, z: Tensor, b: Tensor) -> Tensor:
            return self.head(z * self.b(b))

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.after(self.a(a), b)

    net, b, b0 = Two(), normal(11, 3), normal(12, 3)
    result = explained(
        net, described(row(4, "a"), row(3, "b")), {"a": X, "b": b}, baselines=(baseline(a=X0, b=b0),),
        **asked("a", Quantity.LAYER_IG),
    )  # fmt: skip
    double, held = wide(net), tensor64(b)[None]
    z, z0 = (double.a(tensor64(each)[None])[0] for each in (X, X0))
    expected = straight(lambda rows: double.after(rows, held.expand(len(rows), -1))[:, 1], z0, z)
    assert off(result.attributions["a"], expected) < NEAR
    assert "layer_not_a_cut" in codes(result)


@pytest.mark.parametrize("n_points", [1, 3])
def test_influence_is_a_mean_however_many_pieces_the_path_has(n_points):
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    points = tuple(normal(20 + n, 4) for n in range(n_points))
    bent = {"x": Gamma(GammaKind.POLYLINE, points=points)}
    result = explained(
        net, MLP_INFO, {"x": X}, baselines=(baseline(x=X0),), gamma=bent, **asked("0", Quantity.INFLUENCE)
    )
    assert result.attributions["0"] == pytest.approx(net[1].weight[1].detach().numpy(), abs=1e-5)
    assert result.completeness_error is None
    assert result.baselines[0].completeness_error is None
