from collections.abc import Callable

import pytest
import torch
from attributor.runtimes.transforms.affine import affine_chain
from attributor.runtimes.transforms.recording import record
from torch import Tensor, nn
from torch.nn import functional

torch.set_num_threads(1)

MAPS = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
SQUARE = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
NORM = nn.BatchNorm2d(3).eval()
NORM.running_mean.normal_()

AFFINE: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": lambda x: x.flatten(1),
    "permute": lambda x: x.permute(0, 2, 3, 1).contiguous(),
    "slice": lambda x: x[:, 1:, ::2, 0],
    "pad": lambda x: functional.pad(x, (1, 1), value=3.0),
    "reflect": lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"),
    "shift": lambda x: (x - SQUARE) / 0.3,
    "from one": lambda x: 1 - x,
    "from a constant": lambda x: SQUARE - x,
    "times": lambda x: 2 * (SQUARE * x),
    "matrix": lambda x: x @ SQUARE,
    "mean": lambda x: x.mean((2, 3)),
    "sum": lambda x: x.sum(1),
    "average": lambda x: functional.avg_pool2d(x, 2),
    "adaptive": lambda x: functional.adaptive_avg_pool2d(x, 4),
    "convolution": lambda x: functional.conv2d(x, MAPS, padding=1),
    "transposed": lambda x: functional.conv_transpose2d(x, MAPS.transpose(0, 1), stride=2),
    "linear": lambda x: functional.linear(x.flatten(2), torch.ones(2, 36), torch.ones(2)),
    "norm": NORM,
    "patches": lambda x: functional.unfold(x, 2, stride=2),
    "larger": lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    "with others": lambda x: torch.cat([x, torch.ones(2, 1, 6, 6)], 1),
}
OTHER: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "square": lambda x: x * x,
    "power": lambda x: x**2,
    "reciprocal": lambda x: 1 / x,
    "floor": lambda x: torch.div(x, 2, rounding_mode="floor"),
    "clamp": lambda x: x.clamp(0, 1),
    "round": torch.round,
    "largest": lambda x: functional.max_pool2d(x, 2),
    "softmax": lambda x: x.softmax(1),
    "own statistics": lambda x: functional.batch_norm(x, None, None, training=True),
    "layer norm": lambda x: functional.layer_norm(x, (6, 6)),
    "gate": lambda x: x * x.mean((2, 3), keepdim=True),
    "in place": lambda x: x.mul_(2),
    "detached": lambda x: x.detach() * 2,
    "as integers": lambda x: x.int().float(),
}


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize("name", AFFINE)
def test_what_is_in_the_chain_is_affine(name: str) -> None:
    x, y = torch.randn(2, 2, 3, 6, 6)
    run = AFFINE[name]

    seen = record(Function(run).eval(), [x])

    links = affine_chain(seen, x)
    assert links
    assert links[-1].result is seen.outputs
    torch.testing.assert_close(run(1.7 * x - 0.7 * y), 1.7 * run(x) - 0.7 * run(y), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OTHER)
def test_what_is_not_affine_is_not_in_the_chain(name: str) -> None:
    x = torch.randn(2, 3, 6, 6)

    seen = record(Function(OTHER[name]).eval(), [x])

    links = affine_chain(seen, x)
    assert not links or links[-1].result is not seen.outputs


def test_multiplications_are_counted() -> None:
    x = torch.randn(2, 3, 6, 6)

    def work(name: str) -> int:
        return affine_chain(record(Function(AFFINE[name]).eval(), [x]), x)[-1].work

    assert work("convolution") == 2 * 4 * 6 * 6 * 27
    assert work("linear") == 2 * 3 * 2 * 36
    assert work("flatten") == 0
