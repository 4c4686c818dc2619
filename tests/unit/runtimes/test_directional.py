from collections.abc import Callable, Sequence
from copy import deepcopy

import pytest
import torch
from attributor.errors import UnsupportedByModel
from attributor.runtimes.directional import directional
from attributor.runtimes.layers import captured, replaced
from torch import Tensor, nn
from torch.nn import functional

torch.set_num_threads(1)


class First(nn.Module):
    """The first of what a recurrent module answers."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


class Lambda(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(self.embedding(ids))


class Square(torch.autograd.Function):
    """Without `jvp`; its backward pass can be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"), 2)


def attention(x: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(x, x.flip(-1), x.sin())


def corner(x: Tensor) -> Tensor:
    grid = torch.full((len(x), 2, 2, 2), 0.3, dtype=x.dtype)
    return functional.grid_sample(x, grid, align_corners=False)


# Each in two halves: the layer z is the first one's output, the score a function of the second one's.
CASES = {
    "cnn": (
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True)),
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2)),
        (3, 1, 8, 8),
    ),
    "lstm": (First(nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)), nn.Linear(10, 2), (3, 6, 4)),
    "lstm after the layer": (nn.Linear(4, 4), First(nn.LSTM(4, 5, batch_first=True)), (3, 6, 4)),
    "gru": (First(nn.GRU(4, 5, batch_first=True)), nn.Linear(5, 2), (3, 6, 4)),
    "encoder": (encoder(), nn.Linear(8, 2), (3, 5, 8)),
    "encoder after the layer": (nn.Linear(8, 8), encoder(), (3, 5, 8)),
    "attention": (Lambda(attention), nn.Softmax(-1), (2, 2, 5, 4)),
    "gelu and softmax": (nn.Sequential(nn.Linear(4, 5), nn.GELU()), nn.Sequential(nn.Softmax(-1)), (3, 4)),
    "sampling a grid": (Lambda(corner), nn.Flatten(), (3, 2, 5, 5)),
    "own function": (Lambda(Square.apply), nn.Linear(4, 2), (3, 4)),
}


def frozen(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return module.eval().requires_grad_(False)


def values(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scores_of(outputs: Tensor) -> Tensor:
    """One per row, no sum of softmax probabilities."""
    flat = outputs.flatten(1)
    return flat @ torch.linspace(-1, 1, flat.shape[1], dtype=flat.dtype)


def run_of(module: nn.Sequential) -> Callable[[Sequence[Tensor]], tuple[Tensor, ...]]:
    def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with captured(module, ["0"]) as outputs:
            scores = scores_of(module(inputs[0]))
        return scores, outputs["0"]

    return run


def differences(run: Callable[[Sequence[Tensor]], tuple[Tensor, ...]], x: Tensor, tangent: Tensor) -> list[Tensor]:
    h = 1e-6
    with torch.no_grad():
        ahead, behind = run([x + h * tangent]), run([x - h * tangent])
    return [(a - b) / (2 * h) for a, b in zip(ahead, behind, strict=True)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "relative"), [(torch.float64, 1e-7), (torch.float32, 1e-5)])
def test_derivatives_are_those_of_finite_differences(name, dtype, relative):
    first, second, shape = CASES[name]
    wide = frozen(nn.Sequential(deepcopy(first), deepcopy(second))).double()
    x, tangent = values(*shape), values(*shape, seed=2)
    expected = differences(run_of(wide), x.double(), tangent.double())
    module = deepcopy(wide).to(dtype)
    run = run_of(module)
    found, derivatives = directional(run, [x.to(dtype).requires_grad_()], [tangent.to(dtype)])
    for value, again, derivative, difference in zip(found, run([x.to(dtype)]), derivatives, expected, strict=True):
        assert derivative.dtype == dtype
        assert not derivative.requires_grad
        assert difference.abs().max() > 1e-3
        # The plain attention kernel may round otherwise than the fused one.
        torch.testing.assert_close(value.detach(), again, rtol=relative, atol=relative)
        scale = difference.abs().max().item()
        torch.testing.assert_close(derivative.double(), difference, rtol=0, atol=relative * scale)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scores_can_be_differentiated_by_the_layer_and_the_inputs_afterwards(name, dtype):
    first, second, shape = CASES[name]
    module = frozen(nn.Sequential(deepcopy(first), deepcopy(second))).to(dtype)
    x = values(*shape).to(dtype).requires_grad_()
    (scores, z), (slope, along) = directional(run_of(module), [x], [values(*shape, seed=2).to(dtype)])
    of_z, of_x = torch.autograd.grad(scores.sum(), [z, x])
    plain_scores, plain_z = run_of(module)([x])
    plain_of_z, plain_of_x = torch.autograd.grad(plain_scores.sum(), [plain_z, x])
    torch.testing.assert_close(of_z, plain_of_z)
    torch.testing.assert_close(of_x, plain_of_x)
    # The layer is a cut: dF/dz * dz/dalpha, summed, is the slope.
    torch.testing.assert_close((of_z * along).flatten(1).sum(1), slope, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close((of_x * values(*shape, seed=2)).flatten(1).sum(1), slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "n_expected"), [("cnn", 1), ("gru", 1), ("encoder", 1), ("attention", 1), ("own function", 2)]
)
def test_the_model_runs_a_second_time_only_where_forward_mode_has_no_formula(name, n_expected):
    first, second, shape = CASES[name]
    run, n_runs = run_of(frozen(nn.Sequential(deepcopy(first), deepcopy(second)))), 0

    def counted(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        nonlocal n_runs
        n_runs += 1
        return run(inputs)

    directional(counted, [values(*shape)], [values(*shape)])
    assert n_runs == n_expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_path_in_embeddings_under_token_ids(dtype):
    module = frozen(Tokens()).to(dtype)
    ids = torch.tensor([[1, 2, 3], [4, 4, 0]])

    def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with replaced(module, "embedding", inputs[0]), captured(module, ["encoder.layers.0", "embedding"]) as outputs:
            scores = scores_of(module(ids))
        return scores, outputs["encoder.layers.0"], outputs["embedding"]

    x, tangent = module.embedding(ids).requires_grad_(), values(2, 3, 8).to(dtype)
    (scores, z, embedded), (slope, along, of_itself) = directional(run, [x], [tangent])
    of_z, of_x = torch.autograd.grad(scores.sum(), [z, x])
    assert torch.equal(embedded, x)
    assert torch.equal(of_itself, tangent)
    torch.testing.assert_close((of_z * along).flatten(1).sum(1), slope, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close((of_x * tangent).flatten(1).sum(1), slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("through", [torch.sin, Square.apply])
def test_several_inputs_and_values_that_depend_on_some_or_none(through):
    x, y, unused = values(3, 4).requires_grad_(), values(3, 4, seed=3), values(3, 2).requires_grad_()
    tangents = [torch.ones(3, 4), torch.full((3, 4), 2.0), torch.ones(3, 2)]
    found, derivatives = directional(
        lambda given: (through(given[0]) * given[1], given[1] * 3, torch.ones(3)), [x, y, unused], tangents
    )
    slope = (x.cos() if through is torch.sin else 2 * x) * y + 2 * through(x)
    torch.testing.assert_close(derivatives[0], slope.detach())
    torch.testing.assert_close(derivatives[1], torch.full((3, 4), 6.0))
    assert torch.equal(derivatives[2], torch.zeros(3))
    assert torch.equal(found[0], through(x) * y)


def test_values_that_depend_on_no_input_have_no_slope_in_the_second_way_either():
    weight = values(3).requires_grad_()
    _, (slope,) = directional(lambda _: (Square.apply(weight),), [values(3)], [values(3)])
    assert torch.equal(slope, torch.zeros(3))


def test_an_operator_without_both_derivatives_is_refused_with_torchs_reason():
    with pytest.raises(UnsupportedByModel, match=r"_cdist_forward.*Use layer_ig\.") as caught:
        directional(lambda given: (torch.cdist(given[0], given[0] + 1),), [values(3, 4)], [values(3, 4)])
    assert caught.value.field == "layer.quantity"
    assert "\n" not in caught.value.detail


def test_an_error_of_the_model_is_passed_on():
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        directional(lambda given: (given[0] @ given[0],), [values(3, 4)], [values(3, 4)])


def test_a_refusal_of_the_layer_is_passed_on():
    module = frozen(nn.Sequential(nn.Linear(4, 4), nn.Identity()))
    module.unused = nn.Identity()

    def run(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with captured(module, ["unused"]) as outputs:
            scores = module[0](inputs[0])
        return scores, outputs["unused"]

    with pytest.raises(UnsupportedByModel, match="without calling"):
        directional(run, [values(3, 4)], [values(3, 4)])
