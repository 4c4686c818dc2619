"""No hook outlives a pass, whatever was asked for and however the pass ended: it would be called in every later one."""

from typing import Any

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import (
    BaselineKind,
    BaselinePart,
    BaselineSpec,
    Layer,
    Method,
    Quantity,
    Saturation,
    Smoothing,
)
from attributor.jobs.job import Failure
from attributor.jobs.model import Baseline, InputKind, InputSpec, ModelInfo, OutputKind, OutputSpec
from nets_of_text import ENCODER_INFO, Encoder, text
from torch import nn
from torch.nn.modules import module as torchs
from torch_engine import fixed, outcome, output

torch.set_num_threads(1)

X = InputSpec("x", InputKind.TENSOR, (3,))
INFO = ModelInfo(
    name="net",
    version="1",
    digest="d1",
    title="",
    description="",
    licence="",
    source="",
    inputs=(X,),
    output=OutputSpec("out", ("no", "yes"), OutputKind.VALUES),
    baselines={"zero": Baseline("zero", "", {"x": np.zeros(3, np.float32)})},
    default_baseline="zero",
)
EXAMPLE = {"x": np.array([1.0, -2.0, 0.5], np.float32)}


class Net(nn.Module):
    """Raises in the middle of the pass that comes after so many."""

    def __init__(self, raises_after: int = 10**9) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
        self.left = raises_after

    def forward(self, x):
        hidden = self.first(x).tanh()
        self.left -= 1
        if self.left < 0:
            raise ValueError("no more")
        return self.second(hidden)


def hooks(module: nn.Module) -> int:
    """Of all modules, and those that torch calls for every module."""
    names = [name for name in vars(nn.Module()) if name.endswith(("_hooks", "_pre_hooks"))]
    assert len(names) >= 6
    own = sum(len(getattr(part, name)) for part in module.modules() for name in names)
    return own + sum(
        len(value) for name, value in vars(torchs).items() if name.startswith("_global_") and "hooks" in name
    )


def asked_of(name: str) -> dict[str, Any]:
    quantity = {each.value: {"layer": Layer("first", each)} for each in Quantity}
    return {
        "inputs": {},
        **quantity,
        "observed": {"saturation": Saturation((0.5,), ("first", "second"))},
        "smoothed": {"method": Method.SALIENCY, "smoothing": Smoothing(samples=2)},
        "shapley": {"method": Method.SHAPLEY, "samples": 2},
    }[name]


KINDS = ("inputs", *(each.value for each in Quantity), "observed", "smoothed", "shapley")


@pytest.mark.parametrize("kind", KINDS)
def test_no_hook_outlives_a_job(kind):
    module = Net().eval().requires_grad_(False)
    handle = module.first.register_forward_hook(lambda *_: None)  # one of the model's own stays
    found = outcome(module, INFO, EXAMPLE, targets=(output(0),), quadrature=fixed(5), **asked_of(kind))
    assert not isinstance(found, Failure), found
    assert hooks(module) == 1
    handle.remove()


@pytest.mark.parametrize("passes", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_no_hook_outlives_a_pass_that_raised(kind, passes):
    module = Net(passes).eval().requires_grad_(False)
    outcome(module, INFO, EXAMPLE, targets=(output(0),), quadrature=fixed(5), **asked_of(kind))
    assert hooks(module) == 0
    assert torch.backends.mha.get_fastpath_enabled()


def test_nor_one_that_took_the_place_of_an_embedding():
    module = Encoder().eval()
    before = hooks(module)
    padding = BaselineSpec("padding", {"ids": BaselinePart(BaselineKind.PAD)})
    found = outcome(module, ENCODER_INFO, text(3, 7, 2), text(5), quadrature=fixed(5), baselines=(padding,))
    assert not isinstance(found, Failure), found
    assert hooks(module) == before
