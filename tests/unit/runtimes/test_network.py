from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.errors import UnknownLayer, UnsupportedByModel
from attributor.jobs.model import NO_TOKEN, InputKind, InputSpec
from attributor.runtimes.network import Network
from modules import TOKENS, Skipping, Tagger, described, row, vector_info
from torch import Tensor, nn

CPU = torch.device("cpu")


class Batchless(nn.Module):
    """Layers whose outputs cannot be attributed: one without rows, one of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.whole, self.linear = nn.Flatten(0), Rounded(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.flat(x).mean() + self.whole(x).sum()


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.long()


def test_inputs_are_given_in_the_manifests_order():
    class Difference(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a - b

    inputs = [InputSpec(name, InputKind.TENSOR, (1,)) for name in ("b", "a")]
    network = Network(Difference(), described(*inputs), CPU)
    outputs, _ = network.run({"a": torch.ones(1, 1), "b": torch.full((1, 1), 3.0)}, {})
    assert outputs.item() == 2.0


def test_no_token_is_a_zero_embedding_and_the_others_are_the_modules():
    module = Tagger().eval()
    network = Network(module, described(TOKENS), CPU)
    found = network.embedded("ids", {"ids": np.array([3, NO_TOKEN, 0, 6])})
    assert torch.equal(found[[0, 2, 3]], module.embed.weight[[3, 0, 6]])
    assert found[1].tolist() == [0.0] * 4
    assert not found.requires_grad


def test_a_layers_shape_is_found_by_one_pass_for_all():
    network = Network(Skipping(skip=False), vector_info(3), CPU)
    passes = []
    network.module.register_forward_hook(lambda *_: passes.append(1))
    assert network.layer_shape("second", {"x": row(1, 2, 3)}) == (3,)
    assert network.layer_shape("second", {"x": row(4, 5, 6)}) == (3,)
    assert len(passes) == 1


@pytest.mark.parametrize("layer", ["flat", "whole"])
def test_a_layer_without_rows_or_of_whole_numbers_is_refused(layer):
    with pytest.raises(UnsupportedByModel):
        Network(Batchless(), vector_info(3), CPU).layer_shape(layer, {"x": row(1, 2, 3)})


@pytest.mark.parametrize("inputs", [(replace(TOKENS, embedding=None),), (TOKENS, replace(TOKENS, name="more"))])
def test_a_token_input_needs_an_embedding_of_its_own(inputs):
    with pytest.raises(ValueError, match="needs an embedding module of its own"):
        Network(Tagger(), described(*inputs), CPU)


def test_an_embedding_must_give_floats_per_position():
    module = Tagger()
    module.embed = nn.Flatten(0)
    with pytest.raises(UnsupportedByModel, match=r"torch\.int64"):
        Network(module, described(TOKENS), CPU)


def test_an_embedding_that_the_module_lacks_is_named():
    with pytest.raises(UnknownLayer, match="'words'"):
        Network(Tagger(), described(replace(TOKENS, embedding="words")), CPU)


@pytest.mark.parametrize("n_rows", [1, 2])
def test_a_module_that_writes_in_place_leaves_the_example_as_it_is(n_rows):
    class Shifted(nn.Module):
        """Not a table of ids, so that its embedding is found by a pass."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(8, 4), nn.Linear(4, 2)

        def forward(self, ids: Tensor, extra: Tensor) -> Tensor:
            extra.sub_(1.0)
            return self.head(self.embed(ids + 1).mean(1) + extra)

    extra = InputSpec("extra", InputKind.TENSOR, (4,), attributed=False)
    network = Network(Shifted().eval(), described(TOKENS, extra), CPU)
    example = {"ids": np.arange(4), "extra": np.full(4, 3, np.float32)}
    if n_rows == 1:
        network.embedded("ids", example)
    else:
        network.layer_shape("head", example)
    assert example["extra"].tolist() == [3.0] * 4
