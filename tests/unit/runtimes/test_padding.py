"""Which models are found not to see filling, and what filling is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.jobs.explanation import Target
from attributor.jobs.model import InputKind, InputSpec
from attributor.model_port import CurveSpec, RouteSpec
from attributor.runtimes import padding
from attributor.runtimes.layers import replaced
from attributor.runtimes.padding import Buckets, filling, lengthened, lengthened_bend, proven_buckets
from attributor.runtimes.torch_runtime import TorchModel
from attributor.runtimes.transforms.choosing import Transformed
from nets_of_text import IDS, MASK, Encoder, text
from ragged_nets import (
    BothWays,
    FaintMask,
    Frozen,
    Gathered,
    KinkedMean,
    Last,
    MaskedMean,
    Mean,
    Packed,
    Tagger,
    TaggerBothWays,
    Undefined,
    examples,
    info_of,
)
from torch import nn
from torch_nets import settled
from transformers import BertConfig, BertModel

MOST = 70


class Bert(nn.Module):
    """The mean of a small encoder of transformers, with what masks its attention and its mean."""

    def __init__(self, attention: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=11,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=MOST,
            attn_implementation=attention,
        )
        self.network = BertModel(config, add_pooling_layer=False)
        settled(self)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
        return (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)


@pytest.mark.parametrize("net", [MaskedMean, KinkedMean, Packed, Gathered, Frozen])
def test_nets_that_rest_on_their_mask_get_buckets(net):
    assert proven_buckets(net(), info_of(MOST), examples()) == Buckets(MOST)


@pytest.mark.parametrize("net", [Mean, FaintMask, BothWays, Last])
def test_nets_that_see_filling_get_none(net):
    assert proven_buckets(net(), info_of(MOST), examples()) is None


def test_where_rounding_may_be_the_difference_float64_decides(monkeypatch):
    class FaintEnough(FaintMask):
        FAINT = 18.0  # some hundred-millionths of an influence

    assert proven_buckets(FaintEnough(), info_of(MOST), examples()) is not None
    monkeypatch.setattr(padding, "TOLERANCE", -1.0)  # no rounding is as near as that
    assert proven_buckets(FaintEnough(), info_of(MOST), examples()) is None
    for net in (MaskedMean, Packed):
        assert proven_buckets(net(), info_of(MOST), examples()) is not None


def test_a_gradient_at_the_filling_that_is_not_finite_is_no_proof():
    net, mask = Undefined(), torch.tensor([[1, 1, 0]])
    embedded = torch.tensor([[1.0], [2.0], [0.0]]).expand(1, 3, 8)
    torch.testing.assert_close(net.read(embedded, mask), net.read(embedded[:, :2], mask[:, :2]))
    assert proven_buckets(net, info_of(MOST), examples()) is None


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_an_encoder_of_transformers_gets_buckets(attention):
    embedded = replace(IDS, shape=(MOST,), embedding="network.embeddings.word_embeddings")
    info = replace(info_of(MOST), inputs=(embedded, replace(MASK, shape=(MOST,))))
    assert proven_buckets(Bert(attention), info, examples()) == Buckets(MOST)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_what_an_encoders_mask_hides_has_no_influence_at_all(attention):
    net, ids = Bert(attention), torch.arange(8)[None]
    mask = (torch.arange(8) < 5).long()[None]
    found = []
    for size in (0.0, 1.0, 1000.0):
        embedded = net.network.embeddings.word_embeddings(ids).clone()
        embedded[:, 5:] = size * torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
        with replaced(net, "network.embeddings.word_embeddings", embedded.requires_grad_()):
            outputs = net(ids, mask)
        (gradient,) = torch.autograd.grad((outputs * torch.arange(8)).sum(), embedded)
        assert not gradient[:, 5:].any()
        found.append((outputs.detach(), gradient))
    assert found[0][1].any()
    for outputs, gradient in found[1:]:
        assert torch.equal(outputs, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_a_transformer_of_torch_gets_buckets_up_to_its_few_positions():
    assert proven_buckets(Encoder(), info_of(9), examples()) == Buckets(9)


def test_a_sequence_that_is_read_forwards_needs_no_mask_and_backwards_it_does():
    info = info_of(MOST, sequence=True)
    assert proven_buckets(Tagger(), info, examples()) == Buckets(MOST)
    assert proven_buckets(TaggerBothWays(), info, examples()) is None


def test_a_net_that_raises_at_filled_rows_gets_none():
    class Picky(MaskedMean):
        def read(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            if not mask.all():
                raise ValueError("no padding, please")
            return super().read(embedded, mask)

    assert proven_buckets(Picky(), info_of(MOST), examples()) is None


def test_memory_that_runs_out_is_no_verdict():
    class Large(MaskedMean):
        def read(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            if len(mask) > 2:
                raise MemoryError
            return super().read(embedded, mask)

    with pytest.raises(MemoryError):
        proven_buckets(Large(), info_of(MOST), examples())


def test_a_net_that_sees_filling_only_where_it_is_long_gets_none():
    class Windowed(MaskedMean):
        def read(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return super().read(embedded, mask if mask.shape[1] <= 100 else torch.ones_like(mask))

    assert proven_buckets(Windowed(), info_of(100), examples()) is not None
    assert proven_buckets(Windowed(), info_of(300), examples()) is None


def test_models_of_one_length_or_without_gradients_are_not_tried():
    assert proven_buckets(MaskedMean(), info_of(1), examples()) is None
    assert proven_buckets(MaskedMean(), replace(info_of(MOST), gradients=False), examples()) is None
    fixed = [replace(spec, variable=False) for spec in info_of(MOST).inputs]
    assert proven_buckets(MaskedMean(), replace(info_of(MOST), inputs=tuple(fixed)), examples()) is None


def test_buckets_hold_every_length_with_little_to_fill():
    buckets = Buckets(500)
    rooms = [buckets.room(length) for length in range(1, 501)]
    assert all(length <= room <= 500 for length, room in enumerate(rooms, 1))
    assert rooms == sorted(rooms)
    assert all(buckets.room(room) == room for room in rooms)
    assert all(room <= 1.125 * length or room - length < 2 for length, room in enumerate(rooms, 1))
    assert len(set(rooms)) < 50
    assert buckets.room(501) == 501


def test_what_stands_at_the_filling_follows_from_the_input():
    floats = InputSpec("weights", InputKind.TENSOR, (9, 2), attributed=False, variable=True)
    fixed = InputSpec("table", InputKind.TENSOR, (3,))
    padded = replace(IDS, pad_id=7)
    given = {
        "ids": np.array([1, 2, 3]),
        "mask": np.ones(3, np.int64),
        "weights": np.ones((3, 2), np.float32),
        "table": np.ones(3, np.float32),
    }
    filled = Buckets(9).filled((padded, MASK, floats, fixed), given)
    assert filled["ids"].tolist() == [1, 2, 3, 7]
    assert filled["mask"].tolist() == [1, 1, 1, 0]
    assert filled["weights"].tolist() == [[1, 1]] * 3 + [[0, 0]]
    assert filled["table"].tolist() == [1, 1, 1]
    assert [filling(spec) for spec in (padded, replace(IDS, pad_id=None), MASK, floats)] == [7, 0, 0, 0]


def test_a_vertex_of_another_length_is_refused_and_not_filled():
    net = MaskedMean()
    model = TorchModel(net, info_of(MOST), transformed=Transformed(net, net, buckets=Buckets(MOST)))
    model.open("route", RouteSpec(text(3, 4, 5, 6, 7), (Target(),)))
    with pytest.raises(ValueError, match="'ids' must have 5 positions"):
        model.add_curve("route", CurveSpec(text(3, 4, 5, 6), text(3, 4, 5, 6, 7)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_rnn_on_a_gpu_gets_buckets():
    assert proven_buckets(Packed().cuda(), info_of(MOST), examples("cuda")) == Buckets(MOST)


def test_a_curve_stays_at_zero_where_it_was_lengthened():
    def bend(alphas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return alphas.view(-1, 1, 1).expand(-1, 2, 3), torch.ones(len(alphas), 2, 3)

    points, derivatives = lengthened_bend(bend, 4)(torch.tensor([0.5, 1.0]))
    assert points.shape == derivatives.shape == (2, 4, 3)
    assert torch.equal(points[:, :2], bend(torch.tensor([0.5, 1.0]))[0])
    assert not points[:, 2:].any()
    assert not derivatives[:, 2:].any()
    assert lengthened(points, 4, axis=1) is points
