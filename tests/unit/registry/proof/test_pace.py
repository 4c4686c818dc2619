import numpy as np
import pytest
import torch
from attributor.jobs.model import Baseline, InputKind, InputSpec, ModelInfo, OutputKind, OutputSpec
from attributor.registry.proof.pace import measure_pace, measured_lengths, pass_bounds
from attributor.runtimes.sizing import Bounds
from torch import nn

torch.set_num_threads(1)
CPU = torch.device("cpu")


def info(*inputs: InputSpec, gradients: bool = True) -> ModelInfo:
    zero = {each.name: np.zeros(each.shape, np.int64 if each.embedding else np.float32) for each in inputs}
    return ModelInfo(
        name="net",
        version="1",
        digest="d1",
        title="",
        description="",
        licence="",
        source="",
        inputs=inputs,
        output=OutputSpec("out", ("no", "yes"), OutputKind.CLASSES),
        baselines={"zero": Baseline("zero", "", zero)},
        default_baseline="zero",
        gradients=gradients,
    )


ROW = InputSpec("x", InputKind.TENSOR, (6,))


class Recording(nn.Module):
    """Keeps how many rows it was given, and whether gradients were asked for."""

    def __init__(self, width=6):
        super().__init__()
        self.head = nn.Linear(width, 2)
        self.seen = set()

    def forward(self, x):
        self.seen.add((len(x), torch.is_grad_enabled()))
        return self.head(x.tanh())


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 2)
        self.lengths = set()

    def forward(self, ids):
        self.lengths.add(ids.shape[1])
        return self.head(self.table(ids).tanh().mean(1))


def frozen(module):
    return module.eval().requires_grad_(False)


def test_a_models_passes_are_measured_within_what_is_allowed():
    module = frozen(Recording())
    found = measure_pace(module, info(ROW), {}, CPU, Bounds(points=16))
    assert 1 <= found.points <= 16
    assert 0 < found.seconds_per_forward <= found.seconds_per_point < 0.01
    assert found.bytes_per_point == 6 * 4 * 3, "what tanh saves, and its gradients"
    assert {n for n, gradient in module.seen if gradient} == {1, 2, 4, 8, 16}
    assert found.lengths == ()


def test_memory_bounds_what_is_tried():
    module = frozen(Recording())
    measure_pace(module, info(ROW), {}, CPU, Bounds(nbytes=5 * 6 * 4 * 3))
    assert max(n for n, _ in module.seen) == 5


def test_a_model_without_gradients_is_measured_forward():
    module = frozen(Recording())
    found = measure_pace(module, info(ROW, gradients=False), {}, CPU, Bounds(points=4))
    assert found.bytes_per_point is None
    assert not any(gradient for _, gradient in module.seen)


def test_where_lengths_vary_a_usual_one_is_measured():
    spec = InputSpec("ids", InputKind.TOKENS, (500,), embedding="table", vocabulary=10, variable=True)
    module = frozen(Tokens())
    found = measure_pace(module, info(spec), {}, CPU, Bounds(points=4))
    assert found.lengths == measured_lengths(info(spec)) == (64,)
    assert module.lengths == {64}


def test_a_model_whose_point_does_not_fit_says_so():
    class Huge(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 2**47)[:, :2] + x[:, :2]

    with pytest.raises(MemoryError):
        measure_pace(frozen(Huge()), info(ROW), {}, CPU, Bounds())


def test_nothing_is_left_on_the_module():
    module = frozen(Tokens())
    spec = InputSpec("ids", InputKind.TOKENS, (5,), embedding="table", vocabulary=10)
    measure_pace(module, info(spec), {}, CPU, Bounds(points=2))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_pass_may_take_a_share_of_what_is_free():
    assert pass_bounds(CPU, 7).points == 7
    nbytes = pass_bounds(CPU, None).nbytes
    assert nbytes is None or nbytes > 0
