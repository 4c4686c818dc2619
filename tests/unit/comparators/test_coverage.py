"""What runs outside the modules that a method hooks, however it is called."""

import pytest
import torch
from attributor.comparators.coverage import JOINING_CALLS, NONLINEAR_CALLS, RELU_CALLS, look
from torch import nn
from torch.nn import functional

INPUT = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def is_relu(part: nn.Module) -> bool:
    return isinstance(part, nn.ReLU)


class Calls(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call, self.relu = call, nn.ReLU()

    def forward(self, x):
        return self.call(self.relu(x))


def seen(call) -> frozenset[str]:
    return look(Calls(call), [INPUT.clone().requires_grad_()], is_relu).uncovered


@pytest.mark.parametrize(
    "call",
    [
        functional.relu,
        torch.relu,
        lambda x: x.clamp(min=0),
        lambda x: x.clamp_min(0.0),
        lambda x: functional.relu_(x * 1),
    ],
    ids=["functional", "torch", "clamp", "clamp_min", "in place"],
)
def test_a_relu_by_any_name_is_seen(call):
    assert seen(call) & RELU_CALLS


@pytest.mark.parametrize(
    "call",
    [
        functional.gelu,
        functional.silu,
        torch.tanh,
        torch.sigmoid,
        lambda x: functional.softmax(x, -1),
        lambda x: functional.max_pool2d(x, 2),
        lambda x: functional.layer_norm(x, (8,)),
        lambda x: functional.scaled_dot_product_attention(x, x, x),
        nn.TransformerEncoderLayer(8, 2, batch_first=True).eval(),
        nn.LSTM(8, 4, batch_first=True),
    ],
    ids=["gelu", "silu", "tanh", "sigmoid", "softmax", "max_pool", "layer_norm", "attention", "transformer", "lstm"],
)
def test_other_nonlinear_calls_are_seen(call):
    takes_rows = isinstance(call, nn.Module)
    assert seen(lambda x: call(x[:, 0]) if takes_rows else call(x)) & NONLINEAR_CALLS


def test_a_covered_module_and_linear_calls_are_no_matter():
    assert not seen(lambda x: functional.conv2d(x, torch.ones(1, 1, 2, 2)).flatten(1) * 3 + 1) & (
        NONLINEAR_CALLS | JOINING_CALLS
    )


def test_activations_that_meet_are_seen():
    assert "add" in seen(lambda x: x + x.flip(-1))
    assert "mul" in seen(lambda x: x * x)


def test_modules_that_run_twice_are_named():
    relu = nn.ReLU()
    net = nn.Sequential(nn.Linear(8, 8), relu, nn.Linear(8, 8), relu)
    assert look(net, [INPUT], is_relu).reused == ("1",)
    assert look(net[:2], [INPUT], is_relu).reused == ()
