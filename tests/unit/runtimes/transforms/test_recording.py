import torch
from attributor.runtimes.transforms.recording import record
from torch import Tensor, nn

torch.set_num_threads(1)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x)
        return z.relu() if z.sum() > 0 else z.tanh()


class Noisy(nn.Module):
    """Reads a number, but not one that depends on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.item()


def test_operations_are_seen_between_the_calls_of_modules() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * 2 + x

    module = Plain().eval()
    x = torch.randn(2, 4)

    seen = record(module, [x])

    assert [operation.name for operation in seen.operations][-2:] == ["aten::mul", "aten::add"]
    (call,) = seen.calls
    assert call.module is module.layer
    assert [seen.operations[number].name for number in seen.takers(call.result)] == ["aten::mul"]
    assert len(seen.takers(x)) == 2
    assert seen.is_output(seen.operations[-1].result)


def test_a_value_read_by_python_is_noticed_if_it_depends_on_the_input() -> None:
    assert record(Branching().eval(), [torch.randn(2, 4)]).is_read
    assert not record(Noisy().eval(), [torch.randn(2, 4)]).is_read


def test_views_of_a_tensor_count_as_uses_of_it() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            z = self.layer(x)
            kept = z.view(-1)
            return z.relu() + kept.tanh().view_as(z)

    seen = record(Viewed().eval(), [torch.randn(2, 4)])

    (call,) = seen.calls
    names = [seen.operations[number].name for number in seen.users(call.result) if number >= call.last]
    assert names == ["aten::view", "aten::relu", "aten::tanh"]


def test_no_hook_stays_on_the_module() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()

    record(module, [torch.randn(2, 4)])

    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
