from collections import namedtuple

import pytest
import torch
from attributor.errors import UnknownLayer, UnsupportedByModel
from attributor.runtimes.layers import captured, named_layers, replaced, submodule
from torch import Tensor, nn

torch.set_num_threads(1)

Pair = namedtuple("Pair", ["mask", "hidden"])


class Recurrent(nn.Module):
    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.lstm = nn.LSTM(4, 5, batch_first=batch_first)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x if self.batch_first else x.transpose(0, 1))
        return self.head(states[:, -1])


class Skip(nn.Module):
    """y = head(layer(x) + x): the layer is no cut."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).tanh() + x)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x).relu())


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids).tanh().mean(1))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor, *, padding: Tensor | None = None) -> Tensor:
        return self.head(self.encoder(x, src_key_padding_mask=padding)[:, 0])


class Picks(nn.Module):
    """Its layers answer with structures: what comes first, what has no tensor, what is no float."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.layer.register_forward_hook(lambda _m, _a, output: answer(output))
        self.head = nn.Identity()

    def forward(self, x: Tensor) -> object:
        return self.head(self.layer(x * 2))


def small_cnn() -> nn.Module:
    return frozen(
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2))
    )


def frozen(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.eval().requires_grad_(False)


def values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def n_hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


CASES = [
    pytest.param(small_cnn(), "0", (3, 1, 8, 8), id="convolution before an activation in place"),
    pytest.param(small_cnn(), "1", (3, 1, 8, 8), id="activation in place"),
    pytest.param(frozen(Recurrent()), "lstm", (3, 6, 4), id="lstm"),
    pytest.param(frozen(Encoder()), "encoder.layers.0", (3, 5, 8), id="encoder layer"),
    pytest.param(frozen(Encoder()), "encoder.layers.1.linear1", (3, 5, 8), id="inside an encoder layer"),
    pytest.param(frozen(Encoder()), "encoder.layers.0.self_attn", (3, 5, 8), id="attention"),
    pytest.param(frozen(Skip()), "layer", (3, 4), id="skip connection"),
]


@pytest.mark.parametrize(("module", "name", "shape"), CASES)
def test_an_output_put_back_gives_the_same_scores_and_gradients(module, name, shape):
    x = values(*shape).requires_grad_()
    with captured(module, [name]) as outputs:
        scores = module(x)
    (expected,) = torch.autograd.grad(scores[:, 0].sum(), outputs[name])
    z = outputs[name].detach().requires_grad_()
    with replaced(module, name, z):
        again = module(x.detach())
    (gradient,) = torch.autograd.grad(again[:, 0].sum(), z)
    assert torch.equal(again, scores)
    assert torch.equal(gradient, expected)
    assert expected.abs().sum() > 0
    assert n_hooks(module) == 0


@pytest.mark.parametrize(("module", "name", "shape"), CASES)
def test_a_replaced_output_moves_the_scores_by_its_gradient(module, name, shape):
    module, x = module.double(), values(*shape).double()
    with captured(module, [name]) as outputs:
        module(x)
    # Off the kinks: zeros of an activation are equal, and pooling has no gradient there.
    direction = values(*outputs[name].shape)
    z, step = (outputs[name] + direction / 4).requires_grad_(), 1e-6 * direction
    scores = []
    for moved in (z + step, z - step, z):
        with replaced(module, name, moved):
            scores.append(module(x)[:, 0].sum())
    (gradient,) = torch.autograd.grad(scores[2], z)
    torch.testing.assert_close((scores[0] - scores[1]) / 2, (gradient * step).sum(), rtol=1e-5, atol=1e-13)
    module.float()


def test_a_captured_output_is_what_the_module_computed_though_it_is_overwritten_later():
    module, x = small_cnn(), values(2, 1, 8, 8)
    with captured(module, ["0", "1"]) as outputs:
        module(x)
    assert torch.equal(outputs["0"], module[0](x))
    assert torch.equal(outputs["1"], module[0](x).relu())
    assert (outputs["0"] < 0).any()


def test_a_replacement_is_not_overwritten_by_an_activation_in_place():
    module, z = small_cnn(), values(2, 3, 6, 6)
    before = z.clone()
    with replaced(module, "0", z):
        module(values(2, 1, 8, 8))
    assert torch.equal(z, before)


def test_a_skip_connection_still_sees_the_input():
    module, x = frozen(Skip()), values(3, 4)
    with replaced(module, "layer", torch.zeros(3, 4)):
        scores = module(x)
    assert torch.equal(scores, module.head(x))


def test_embeddings_are_replaced_under_token_ids():
    module, ids = frozen(Tokens()), torch.tensor([[1, 2, 3], [4, 4, 0]])
    z = module.embedding(ids).requires_grad_()
    with replaced(module, "embedding", z):
        scores = module(torch.zeros_like(ids))
    (gradient,) = torch.autograd.grad(scores[:, 1].sum(), z)
    assert torch.equal(scores, module(ids))
    torch.testing.assert_close(gradient, (1 - z.tanh() ** 2) * module.head.weight[1] / 3)


@pytest.mark.parametrize("replaced_first", [True, False])
def test_a_replaced_layer_is_captured_as_its_replacement(replaced_first):
    module, z = small_cnn(), values(2, 3, 6, 6).requires_grad_()
    if replaced_first:
        with replaced(module, "0", z), captured(module, ["0", "2"]) as outputs:
            scores = module(values(2, 1, 8, 8))
    else:
        with captured(module, ["0", "2"]) as outputs, replaced(module, "0", z):
            scores = module(values(2, 1, 8, 8))
    assert torch.equal(outputs["0"], z)
    assert torch.equal(outputs["2"], module[2](z.relu()))
    of_captured, of_replaced = torch.autograd.grad(scores.sum(), [outputs["0"], z])
    assert torch.equal(of_captured, of_replaced)
    assert n_hooks(module) == 0


STRUCTURES = [
    pytest.param(lambda z: (z, 7), lambda out: out[0], id="tuple"),
    pytest.param(lambda z: [None, [z]], lambda out: out[1][0], id="nested list"),
    pytest.param(lambda z: {"hidden": z, "mask": z > 0}, lambda out: out["hidden"], id="dict"),
    pytest.param(lambda z: Pair(None, z), lambda out: out.hidden, id="named tuple"),
]


@pytest.mark.parametrize(("answer", "pick"), STRUCTURES)
def test_the_first_tensor_of_a_structure_is_replaced_and_the_rest_stays(answer, pick):
    module, x, z = Picks(answer), values(3, 4), values(3, 4)
    with captured(module, ["layer"]) as outputs:
        original = module(x)
    with replaced(module, "layer", z):
        changed = module(x)
    assert torch.equal(outputs["layer"], 2 * x)
    assert torch.equal(pick(changed), z)
    assert type(changed) is type(original)
    assert len(changed) == len(original)


def test_padding_of_an_encoder_leaves_rows_and_gradients():
    module, x = frozen(Encoder()), values(3, 5, 8)
    padding = torch.tensor([[False] * 5, [False, False, False, True, True], [False] * 4 + [True]])
    with captured(module, ["encoder.layers.0", "encoder"]) as outputs:
        scores = module(x, padding=padding)
    assert outputs["encoder.layers.0"].shape == outputs["encoder"].shape == (3, 5, 8)
    z = outputs["encoder.layers.0"].detach().requires_grad_()
    with replaced(module, "encoder.layers.0", z):
        again = module(x, padding=padding)
    (gradient,) = torch.autograd.grad(again.sum(), z)
    assert torch.equal(again, scores)
    assert gradient[0].all()
    assert not gradient[1, 3:].any()


def test_the_fast_path_is_as_it_was_afterwards():
    module, x = frozen(Encoder()), values(3, 5, 8)
    with captured(module, ["encoder"]):
        module(x)
        assert not torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(("name", "reason"), [("layer", "calls layer 'layer' 2 times"), ("unused", "without calling")])
def test_a_layer_not_called_exactly_once_is_refused(name, reason):
    module, x = frozen(Shared()), values(3, 4)
    with pytest.raises(UnsupportedByModel, match=reason) as caught, captured(module, [name]):
        module(x)
    assert caught.value.field == "layer.name"
    with pytest.raises(UnsupportedByModel, match=reason), replaced(module, name, values(3, 4)):
        module(x)
    assert n_hooks(module) == 0


def test_a_projection_that_attention_reads_the_weights_of_is_refused():
    name = "encoder.layers.0.self_attn.out_proj"
    module = frozen(Encoder())
    with pytest.raises(UnsupportedByModel, match="without calling it"), captured(module, [name]):
        module(values(3, 5, 8))


@pytest.mark.parametrize(
    ("module", "name", "reason"),
    [
        (Picks(lambda z: z.argmax(1)), "layer", "torch.int64"),
        (Picks(lambda z: "none"), "layer", "str, in which no tensor"),
        (Picks(lambda z: z.sum()), "layer", r"shape \(\) for a batch of 3"),
        (Picks(lambda z: z.T), "layer", r"shape \(4, 3\) for a batch of 3"),
        (Recurrent(batch_first=False), "lstm", r"shape \(6, 3, 5\) for a batch of 3"),
    ],
)
def test_an_output_without_rows_of_floats_is_refused(module, name, reason):
    x, hooks = values(3, 6, 4) if name == "lstm" else values(3, 4), n_hooks(module)
    with pytest.raises(UnsupportedByModel, match=reason), captured(module, [name]):
        module(x)
    assert n_hooks(module) == hooks


def test_a_replacement_of_another_shape_is_refused():
    module = frozen(Skip())
    with pytest.raises(UnsupportedByModel, match=r"\(3, 4\).*\(2, 4\)"), replaced(module, "layer", values(2, 4)):
        module(values(3, 4))
    assert n_hooks(module) == 0


def test_an_unknown_name_gets_a_close_one_and_some_names():
    module = frozen(Encoder())
    with pytest.raises(UnknownLayer) as caught:
        submodule(module, "encoder.layer.0")
    assert caught.value.field == "layer.name"
    assert "Did you mean 'encoder.layers.0'?" in caught.value.detail
    assert "encoder.layers.0.self_attn" in caught.value.detail
    assert "more." in caught.value.detail
    for name in ("", "zzz", "encoder.layers.7", "head.weight"):
        with pytest.raises(UnknownLayer):
            submodule(module, name)
    assert submodule(module, "encoder.layers.1") is module.encoder.layers[1]


def test_a_module_of_two_names_is_found_by_both():
    module = nn.Sequential(nn.Linear(4, 4))
    module.alias = module[0]
    assert submodule(module, "alias") is submodule(module, "0") is module[0]


def test_hooks_are_gone_after_an_exception_which_is_not_hidden():
    module = frozen(Skip())
    for context in (captured(module, ["layer", "head"]), replaced(module, "layer", values(3, 4))):
        with pytest.raises(ZeroDivisionError), context:
            raise ZeroDivisionError
    assert n_hooks(module) == 0
    with pytest.raises(UnknownLayer), captured(module, ["layer", "nowhere"]):
        pass
    assert n_hooks(module) == 0
    assert torch.backends.mha.get_fastpath_enabled()


class Graph(nn.Module):
    """Names its layers itself, as a graph's tensors are named."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList([nn.Linear(4, 3), nn.Tanh()])

    @property
    def named_layers(self) -> dict[str, nn.Module]:
        return {"/encoder/MatMul:0": self.steps[0], "out put.é": self.steps[1], "encoder": self.steps[0]}

    def forward(self, x: Tensor) -> Tensor:
        return self.steps[1](self.steps[0](x))


def test_a_module_that_names_its_layers_is_asked_by_those_names():
    module, x = Graph(), torch.rand(2, 4)
    assert list(named_layers(module)) == ["/encoder/MatMul:0", "out put.é", "encoder"]
    assert submodule(module, "out put.é") is module.steps[1]
    assert submodule(module, "steps.0") is module.steps[0]
    with captured(module, ["/encoder/MatMul:0"]) as outputs:
        module(x)
    with replaced(module, "encoder", outputs["/encoder/MatMul:0"] + 1):
        moved = module(x)
    torch.testing.assert_close(moved, (outputs["/encoder/MatMul:0"] + 1).tanh())


def test_an_unknown_name_beside_a_modules_own_is_answered_with_close_ones():
    with pytest.raises(UnknownLayer, match=r"Did you mean '/encoder/MatMul:0'\?.*Its layers: /encoder/MatMul:0, out"):
        submodule(Graph(), "/encoder/MatMul_0")
