import torch
from attributor.runtimes.transforms.precision import bfloat16
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
