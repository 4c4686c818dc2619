import numpy as np
import pytest
import torch
from attributor.errors import BundleError
from attributor.jobs.model import Baseline, InputKind, InputSpec, ModelInfo, OutputSpec
from attributor.registry.proof.parity import check_gradient
from torch import Tensor, nn


def described(shape: tuple[int, ...], n_labels: int) -> ModelInfo:
    spec = InputSpec("x", InputKind.TENSOR, shape)
    labels = tuple(map(str, range(n_labels)))
    zero = Baseline("zero", "Zero.", {"x": np.zeros(shape, np.float32)})
    return ModelInfo("m", "1", "d", "t", "d", "l", "s", (spec,), OutputSpec("y", labels), {"zero": zero}, "zero")


def a_convnet_with_relu() -> nn.Module:
    torch.manual_seed(0)
    block = [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    stem = [nn.Conv2d(3, 16, 7, 2, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)]
    return nn.Sequential(*stem, *block, *head).eval().requires_grad_(False)


def test_a_large_picture_with_many_kinks_passes() -> None:
    shape = (3, 224, 224)
    rows = {"x": torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))}
    assert check_gradient(a_convnet_with_relu(), described(shape, 5), rows).startswith("passed: within ")


class WrongGradient(torch.autograd.Function):
    """Twice the values, and a gradient that is off by a share."""

    @staticmethod
    def forward(ctx, x: Tensor, share: float) -> Tensor:
        ctx.share = share
        return 2 * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * 2 * (1 + ctx.share), None


class Off(nn.Module):
    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return WrongGradient.apply(x, self.share)


@pytest.mark.parametrize("share", [1e-3, 0.1, -1.0])
def test_a_wrong_gradient_is_found(share: float) -> None:
    with pytest.raises(BundleError, match="differs from finite differences"):
        check_gradient(Off(share), described((4,), 4), {"x": torch.rand(1, 4)})


def test_a_right_one_passes() -> None:
    assert check_gradient(Off(0.0), described((4,), 4), {"x": torch.rand(1, 4)}).startswith("passed: within ")
