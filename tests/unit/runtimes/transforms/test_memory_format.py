import pytest
import torch
from attributor.runtimes.transforms.memory_format import channels_last
from torch import Tensor, nn
from torch.nn import functional

torch.set_num_threads(1)


class Functional(nn.Module):
    """A convolution that is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 3, 3, 3), requires_grad=False)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.head(functional.conv2d(x, self.kernel).relu().mean((2, 3))) * scale


def test_maps_are_laid_out_and_answers_the_same() -> None:
    module = Functional().eval()
    x, scale = torch.randn(2, 3, 16, 16), torch.randn(2, 1)

    made = channels_last(module, [x, scale], least_places=256)

    assert made is not None
    assert made.module.kernel.is_contiguous(memory_format=torch.channels_last)
    assert module.kernel.is_contiguous()
    assert made.module.head.weight is module.head.weight
    torch.testing.assert_close(made(x, scale), module(x, scale))


def test_small_maps_stay_as_they_are() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()

    assert channels_last(module, [torch.randn(2, 3, 8, 8)], least_places=256) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_small_maps_that_are_pooled_are_laid_out(channels: int) -> None:
    module = nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.MaxPool2d(2)).eval()
    x = torch.randn(2, channels, 8, 8)

    made = channels_last(module, [x], least_places=256)

    assert made is not None
    assert made(x).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(made(x), module(x))


def test_a_net_without_maps_stays_as_it_is() -> None:
    for module, shape in ((nn.Linear(4, 2), (4,)), (nn.Conv1d(3, 4, 3), (3, 300)), (nn.Conv3d(1, 2, 2), (1, 9, 9, 9))):
        assert channels_last(nn.Sequential(module).eval(), [torch.randn(2, *shape)], least_places=1) is None
