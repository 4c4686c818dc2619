import math

import pytest
import torch
from attributor.runtimes.transforms.precision import bfloat16, nodes_to_check, precision_error
from torch import nn

torch.set_num_threads(1)


def test_passes_are_in_bfloat16_and_gradients_of_inputs_in_float32() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    x = torch.randn(3, 4, requires_grad=True)

    with bfloat16(x.device):
        outputs = module(x)

    assert outputs.dtype is torch.bfloat16
    (gradient,) = torch.autograd.grad(outputs.float().sum(), x)
    assert gradient.dtype is torch.float32


def test_the_nodes_that_carry_most_are_checked() -> None:
    vectors = torch.tensor([[1.0, -1.0], [4.0, 0.0], [0.0, 0.0], [-9.0, 3.0], [3.0, 0.0]])

    assert nodes_to_check([1.0, 1.0, 9.0, 0.1, -2.0], vectors) == [4, 1, 0]
    assert nodes_to_check([1.0, 2.0], vectors[:2]) == [1, 0]


def test_three_times_the_relative_difference_is_stated() -> None:
    exact = torch.tensor([[1.0, -1.0], [2.0, 0.0]])
    rounded = torch.tensor([[1.1, -1.0], [2.0, -0.2]])

    assert precision_error([1.0, 0.5], exact, rounded) == pytest.approx(3 * 0.2 / 3)
    assert precision_error([1.0, 0.5], exact, exact) == 0
    assert precision_error([1.0], torch.zeros(1, 2), torch.ones(1, 2)) == math.inf


def test_what_is_stated_covers_the_true_error_of_smooth_nets() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 3), nn.Softmax(1))
    module.requires_grad_(False)
    covered = 0
    for seed in range(20):
        x = 3 * torch.randn(1, 20, generator=torch.Generator().manual_seed(seed))
        weights = [1 / 15] * 15
        points = (torch.arange(15) + 0.5)[:, None] / 15 * x
        exact, rounded = (vectors(module, points, narrow=narrow) * x for narrow in (False, True))
        checked = nodes_to_check(weights, rounded)
        stated = precision_error([weights[node] for node in checked], exact[checked], rounded[checked])
        mixed = rounded.clone()
        mixed[checked] = exact[checked]
        true = float((mixed - exact).sum(0).abs().sum() / exact.sum(0).abs().sum())
        covered += true <= stated
    assert covered == 20


def vectors(module: nn.Module, points: torch.Tensor, *, narrow: bool) -> torch.Tensor:
    leaf = points.clone().requires_grad_()
    if narrow:
        with bfloat16(leaf.device):
            outputs = module(leaf)
    else:
        outputs = module(leaf)
    return torch.autograd.grad(outputs.float()[:, 0].sum(), leaf)[0]
