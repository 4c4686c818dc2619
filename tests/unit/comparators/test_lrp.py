"""Rules for the modules that models are made of: relevance is conserved where biases pass it on."""

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import Method
from attributor.jobs.model import InputKind, InputSpec
from loaded import explained, floats, loaded, row
from torch import nn

IMAGE = InputSpec("x", InputKind.IMAGE, (2, 6, 6), value_range=(0.0, 1.0))


def trained_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    """A batch norm that does something."""
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.uniform_(-1, 1)
    return norm


def convolutions() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        trained_norm(nn.BatchNorm2d(4)),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4, 2),
    )


def test_relevance_is_conserved_through_an_image_net():
    image = {"x": np.random.default_rng(0).random((2, 6, 6), np.float32)}
    (spread,) = explained(loaded(convolutions(), IMAGE), Method.LRP, image, options={"spread_bias": 1})
    assert spread.attribution_sum == pytest.approx(spread.score, rel=1e-3)
    (kept,) = explained(loaded(convolutions(), IMAGE), Method.LRP, image)
    assert abs(kept.attribution_sum - kept.score) > 0.01 * abs(kept.score)
    assert not any(each.code == "functional_activations_not_covered" for each in spread.warnings)


def test_relevance_is_conserved_through_a_sequence_of_one_axis():
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 3, 3), nn.Tanh(), nn.Flatten(), trained_norm(nn.BatchNorm1d(18)),
        nn.Identity(), nn.Linear(18, 2),
    )  # fmt: skip
    (result,) = explained(loaded(net, row(8)), Method.LRP, floats(*range(8)), options={"spread_bias": 1})
    assert result.attribution_sum == pytest.approx(result.score, rel=1e-3)


def test_a_linear_layer_shares_by_contribution():
    net = nn.Linear(2, 2)
    net.weight.data, net.bias.data = torch.tensor([[3.0, 1.0], [0.0, 0.0]]), torch.tensor([4.0, 0.0])
    model = loaded(nn.Sequential(net), row(2))
    (kept,) = explained(model, Method.LRP, floats(1.0, 1.0))
    assert (kept.score, kept.attributions["x"].tolist()) == (8.0, pytest.approx([3.0, 1.0]))
    (spread,) = explained(model, Method.LRP, floats(1.0, 1.0), options={"spread_bias": 1})
    assert spread.attributions["x"].tolist() == pytest.approx([6.0, 2.0])
