import pytest
import torch
from attributor.runtimes.transforms.choosing import (
    AFFINE_PREFIX,
    CHANNELS_LAST,
    FOLDED_NORMS,
    FUSED_ATTENTION,
    Sample,
    is_affine,
    transformed,
)
from attributor.runtimes.transforms.prefix import Bounds, Prefix, find_cut
from torch import Tensor, nn
from transformers import BertConfig, BertModel

torch.set_num_threads(1)


def cnn(*, channels: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, channels, 7, 2, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)),
        *(nn.Conv2d(channels, channels, 3, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 5)),
    )
    net(torch.randn(16, 3, 24, 24))
    return net.eval().requires_grad_(False)


def test_a_cnn_gets_all_that_fits_it_and_computes_the_same() -> None:
    module = cnn()
    x = torch.rand(1, 3, 24, 24)

    found = transformed(module, Sample((x,), (0,)))

    assert found.applied == (FOLDED_NORMS, CHANNELS_LAST, AFFINE_PREFIX)
    assert not found.refused
    assert all(apart.within(1e-4, 1e-3) for apart in found.differences.values())
    rows = torch.rand(7, 3, 24, 24)
    torch.testing.assert_close(found.module(rows), module(rows))
    assert found.prefix is not None
    assert found.narrow is found.module
    assert found.narrow_prefix is found.prefix
    torch.testing.assert_close(found.prefix.outputs(found.prefix(rows)), module(rows))


def test_the_choice_is_the_same_each_time() -> None:
    sample = Sample((torch.rand(1, 3, 24, 24),), (0,))

    assert transformed(cnn(), sample).applied == transformed(cnn(), sample).applied
    assert transformed(cnn(), sample).differences == transformed(cnn(), sample).differences


def test_a_small_net_gets_nothing() -> None:
    module = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2)).eval()

    found = transformed(module, Sample((torch.randn(1, 30),), (0,)))

    assert found.module is module
    assert found.prefix is None
    assert found.applied == ()
    assert not found.refused


def test_a_prefix_needs_one_input_of_one_shape() -> None:
    module, x = cnn(), torch.rand(1, 3, 24, 24)

    assert transformed(module, Sample((x,), (0,), variable=(0,))).prefix is None
    assert transformed(module, Sample((x,), (0,)), Bounds(most_bytes=100)).prefix is None


def test_a_model_that_cannot_be_copied_stays_as_it_is() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = cnn()

        def __deepcopy__(self, memo: object) -> "Stubborn":
            raise TypeError("this holds\na session")

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    module = Stubborn().eval()

    found = transformed(module, Sample((torch.rand(1, 3, 24, 24),), (0,)))

    assert found.module is module
    assert found.applied == ()
    assert found.refused[FOLDED_NORMS] == "TypeError: this holds a session"


def test_a_norm_whose_fold_is_wrong_on_an_example_is_refused() -> None:
    class Watching(nn.Module):
        """Knows its own weights, which a pass does not show."""

        def __init__(self) -> None:
            super().__init__()
            self.net = cnn()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) * self.net[0].weight.square().sum()

    module = Watching().eval()

    found = transformed(module, Sample((torch.rand(1, 3, 24, 24),), (0,)))

    assert FOLDED_NORMS not in found.applied
    assert "float64" in found.refused[FOLDED_NORMS]


def test_float64_decides_where_kinks_hide_what_is_right() -> None:
    torch.manual_seed(0)
    # One unit, whose sign rounding decides: the norm's mean is what the convolution gives.
    conv, norm = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1)
    module = nn.Sequential(conv, norm, nn.Hardshrink(1e-9), nn.Flatten()).eval().requires_grad_(False)
    norm.running_var.fill_(3.7)

    found = transformed(module, Sample((torch.rand(1, 1, 2, 2),), (0,)))

    assert FOLDED_NORMS in found.applied


def test_what_is_not_affine_is_found_out() -> None:
    class Abs(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.abs()

    torch.manual_seed(0)
    sample = Sample((torch.randn(1, 4),), (0,))
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh()).eval()
    cut = find_cut(module, [sample.rows(2)], 0, Bounds(least_work=0))
    assert cut is not None
    prefix = Prefix(module, cut, channels_last=False)
    assert is_affine(prefix, sample)

    prefix._stop.last = nn.Sequential(module[0], Abs())

    assert not is_affine(prefix, sample)


def test_attention_written_out_is_fused_and_the_plain_model_keeps_its_own() -> None:
    config = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=20)
    config._attn_implementation = "eager"

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = BertModel(config, add_pooling_layer=False)

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return self.network(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]

    module = Encoder().eval().requires_grad_(False)
    ids, mask = torch.arange(1, 8)[None], torch.tensor([[1, 1, 1, 1, 1, 0, 0]])

    found = transformed(module, Sample((ids, mask), (0,), {0: "network.embeddings.word_embeddings"}, variable=(0, 1)))

    assert found.applied == (FUSED_ATTENTION,)
    assert found.module.network.config._attn_implementation == "sdpa"
    assert found.narrow is module  # in bfloat16 the fused kernel of a CPU is slower
    assert module.network.config._attn_implementation == "eager"
    assert found.module.network.embeddings.word_embeddings.weight is module.network.embeddings.word_embeddings.weight
    torch.testing.assert_close(found.module(ids, mask), module(ids, mask))


def test_a_moment_without_memory_decides_nothing() -> None:
    class Starved(nn.Module):
        """Says what torch's allocator of main memory says, for which it has no exception of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.net = cnn()

        def __deepcopy__(self, memo: object) -> "Starved":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 411041792 bytes.")

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    with pytest.raises(RuntimeError, match="allocate memory"):
        transformed(Starved().eval(), Sample((torch.rand(1, 3, 24, 24),), (0,)))


def test_norms_are_folded_where_passes_of_other_lengths_take_the_same_way() -> None:
    class Sequence(nn.Module):
        def __init__(self, *, shortcut: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm, self.head = nn.Conv1d(6, 4, 1), nn.BatchNorm1d(4), nn.Linear(4, 2)
            self.norm.running_mean.normal_()
            self.shortcut = shortcut

        def forward(self, x: Tensor) -> Tensor:
            z = self.conv(x.transpose(1, 2))
            if not (self.shortcut and x.shape[1] < 5):
                z = self.norm(z)
            return self.head(z.mean(2))

    sample = Sample((torch.randn(1, 8, 6),), (0,), variable=(0,))
    one, other = (transformed(Sequence(shortcut=s).eval().requires_grad_(False), sample) for s in (False, True))

    assert FOLDED_NORMS in one.applied
    assert FOLDED_NORMS not in other.applied


def test_a_module_that_writes_into_an_input_in_place_is_proven_on_what_it_was_given() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = cnn()

        def forward(self, x: Tensor, extra: Tensor) -> Tensor:
            return self.net(x) * extra.mul_(0.5)

    module = InPlace().eval().requires_grad_(False)
    extra = torch.full((1, 5), 8.0)

    found = transformed(module, Sample((torch.rand(1, 3, 24, 24), extra), (0,)))

    assert extra.tolist() == [[8.0] * 5]
    assert found.applied == (FOLDED_NORMS, CHANNELS_LAST, AFFINE_PREFIX)
