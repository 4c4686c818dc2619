import copy

import pytest
import torch
from attributor.runtimes.transforms.choosing import POOLED_FIRST, transformed
from attributor.runtimes.transforms.pooling import MovedReLU, PooledFirst, pool_first
from attributor.runtimes.transforms.proving import Sample
from torch import Tensor, nn

torch.set_num_threads(1)


class Block(nn.Module):
    """A convolution, a ReLU and a pooling; `use` says what else happens to their outputs."""

    def __init__(self, use: str = "", *, inplace: bool = False) -> None:
        super().__init__()
        self.conv, self.relu, self.pool, self.use = nn.Conv2d(3, 4, 3), nn.ReLU(inplace), nn.MaxPool2d(2), use

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x)
        early = z.mean() if self.use == "seen before" else 0.0
        a = self.relu(z)
        if self.use == "written over":
            a.mul_(-1)
        found = self.pool(a)
        if self.use == "pooled twice":
            found = self.pool(found)
        if self.use == "rectified twice":
            found = self.relu(found - 0.1)
        if self.use == "seen":
            found = found + a.mean()
        if self.use == "seen in place":
            found = found + z.mean()
        if self.use == "read" and float(found.sum()) > 0:
            found = found + 1
        return a if self.use == "returned" else found + early


def maps(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def gradient(module, x):
    x = x.clone().requires_grad_()
    outputs = module(x)
    return outputs.detach(), *torch.autograd.grad(outputs.square().sum(), x)


def frozen(module):
    torch.manual_seed(0)
    return copy.deepcopy(module).eval().requires_grad_(False)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("before", "pool", "shape"),
    [
        (nn.Conv1d(3, 4, 3), nn.MaxPool1d(3, 2), (3, 14)),
        (nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), (3, 9, 9)),
        (nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, padding=1), (3, 10, 10)),
        (nn.Conv2d(3, 4, 3), nn.MaxPool2d((2, 3), (1, 2), padding=(0, 1), ceil_mode=True), (3, 10, 11)),
        (nn.Conv3d(2, 4, 3), nn.MaxPool3d(2), (2, 7, 7, 7)),
        (nn.Identity(), nn.MaxPool2d(3, 1, padding=1), (3, 6, 6)),
    ],
)
def test_outputs_and_gradients_are_the_very_same(before, pool, shape, inplace):
    plain = frozen(nn.Sequential(before, nn.ReLU(inplace), pool))
    x = maps(5, *shape)
    x[0] = -x[0].abs()  # with windows in which nothing is positive
    x[1] = 0.0
    x[2, ..., ::2] = 1.0  # and ties
    if inplace and isinstance(before, nn.Identity):
        x = x.clone()
        plain = nn.Sequential(nn.Softplus(), plain)  # a leaf must not be written to
    made = pool_first(plain, (x.clone(),))
    assert [type(part) for part in made.modules() if isinstance(part, PooledFirst | MovedReLU)] == [
        MovedReLU,
        PooledFirst,
    ]
    for found, expected in zip(gradient(made, x), gradient(plain, x), strict=True):
        assert torch.equal(found, expected)
    assert [type(part) for part in plain.modules() if isinstance(part, PooledFirst | MovedReLU)] == []


@pytest.mark.parametrize(("use", "inplace"), [("", False), ("", True), ("seen before", False), ("seen before", True)])
def test_what_happened_before_the_relu_is_no_matter(use, inplace):
    plain = frozen(Block(use, inplace=inplace))
    made = pool_first(plain, (maps(2, 3, 8, 8),))
    for found, expected in zip(gradient(made, maps(4, 3, 8, 8)), gradient(plain, maps(4, 3, 8, 8)), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("use", "inplace"),
    [
        ("seen", False),
        ("seen in place", True),
        ("returned", False),
        ("returned", True),
        ("pooled twice", False),
        ("rectified twice", False),
        ("written over", False),
        ("read", False),
    ],
)
def test_a_relu_whose_output_is_seen_elsewhere_stays(use, inplace):
    assert pool_first(frozen(Block(use, inplace=inplace)), (maps(2, 3, 12, 12),)) is None


class Steeper(nn.ReLU):
    def forward(self, x):
        return 2 - super().forward(x)


def hooked():
    relu = nn.ReLU()
    relu.register_forward_hook(lambda *_: None)
    return relu


@pytest.mark.parametrize(
    ("relu", "pool"),
    [
        (Steeper(), nn.MaxPool2d(2)),
        (hooked(), nn.MaxPool2d(2)),
        (nn.Tanh(), nn.MaxPool2d(2)),
        (nn.ReLU(), nn.AvgPool2d(2)),
        (nn.ReLU(), nn.MaxPool2d(2, dilation=2)),
    ],
)
def test_what_only_looks_like_such_a_pair_stays(relu, pool):
    assert pool_first(nn.Sequential(nn.Conv2d(3, 4, 3), relu, pool).eval(), (maps(2, 3, 8, 8),)) is None


def test_models_get_it_by_themselves():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    )
    found = transformed(frozen(net), Sample((maps(1, 1, 8, 8),), (0,)))
    assert POOLED_FIRST in found.applied
    assert found.differences[POOLED_FIRST].gradients < 1e-6
