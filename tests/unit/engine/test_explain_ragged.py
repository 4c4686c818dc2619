"""Texts of many lengths in one job, filled up to buckets: the answers of each alone, in far fewer passes."""

import numpy as np
import pytest
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import (
    BaselineKind,
    BaselinePart,
    BaselineSpec,
    Explanation,
    Gamma,
    GammaKind,
    Layer,
    Method,
    Quantity,
    Saturation,
    Target,
    Term,
)
from attributor.jobs.job import Failure, JobKind, JobSpec, Quadrature
from attributor.jobs.model import ModelInfo, OutputScale
from attributor.jobs.result import AttributionResult, PredictionResult
from attributor.runtimes.padding import Buckets, proven_buckets
from attributor.runtimes.torch_runtime import TorchModel
from attributor.runtimes.transforms.choosing import Transformed
from hypothesis import given, settings
from hypothesis import strategies as st
from nets_of_text import PAD, VOCABULARY, by_hand, text
from ragged_nets import Frozen, Gathered, MaskedMean, Packed, Tagger, examples, info_of
from torch import Tensor, nn
from torch_engine import OneModel, fixed, off

MOST = 60
INFO, SEQUENCE = info_of(MOST), info_of(MOST, sequence=True)
PADDING = BaselineSpec("start", {"ids": BaselinePart(BaselineKind.PAD)})
PROBABILITY = Target((Term(1),))


class Counted(nn.Module):
    """A net that keeps the shapes of ids in its passes, and has its embedding in the same place."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.embed, self.shapes = net, net.embed, []

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        self.shapes.append(tuple(ids.shape))
        return self.net(ids, mask)


class Flipping:
    """A registered path of a text's embedding that mixes its first token with its last."""

    def __call__(self, start: Tensor, end: Tensor):
        side = (end - start).flip(0)

        def gamma(alphas: Tensor) -> tuple[Tensor, Tensor]:
            alpha = alphas.view(-1, 1, 1)
            points = start + alpha * (end - start) + alpha * (1 - alpha) * side
            return points, (end - start) + (1 - 2 * alpha) * side

        return gamma


def texts(*lengths: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    return [text(*random.integers(PAD + 1, VOCABULARY, size=length)) for length in lengths]


def ended(
    net: nn.Module,
    *inputs,
    buckets: Buckets | None = None,
    info: ModelInfo = INFO,
    quadrature: Quadrature | None = None,
    kind: JobKind = JobKind.ATTRIBUTION,
    **asked,
):
    """How one job on all inputs ends; without buckets, passes are of equal lengths."""
    form = Transformed(net, net, buckets=buckets, applied=("length_buckets",))
    model = TorchModel(net, info, sizes=64, paths={"flipping": Flipping()}, transformed=form if buckets else None)
    getattr(net, "shapes", []).clear()  # of what the runtime found out beforehand
    engine = Engine(OneModel(model, info, {}), lambda: 0.0)
    explanation = Explanation(**{"baselines": (PADDING,), "targets": (PROBABILITY,), **asked})
    spec = JobSpec(
        kind, info.name, info.version, info.digest, info.inputs, inputs, "", explanation, quadrature or fixed(12)
    )
    engine.admit("job", spec)
    while True:
        if finished := engine.step():
            assert not model._routes
            return finished[0].outcome


def answers(net: nn.Module, *inputs, **asked):
    outcome = ended(net, *inputs, **asked)
    assert isinstance(outcome, AttributionResult), outcome
    return outcome.results


def assert_as_alone(net: nn.Module, inputs, *, info: ModelInfo = INFO, **asked) -> None:
    found = answers(net, *inputs, buckets=proved(net, info), info=info, **asked)
    for example, result in zip(inputs, found, strict=True):
        (alone,) = answers(net, example, info=info, **asked)
        assert result.attributions["ids"].shape == (len(example["ids"]),)
        assert off(result.attributions["ids"], alone.attributions["ids"]) < 1e-5
        assert result.score == pytest.approx(alone.score, rel=1e-5)
        assert result.baseline_score == pytest.approx(alone.baseline_score, rel=1e-5)
        assert (result.target, result.evaluations) == (alone.target, alone.evaluations)
        if result.interior is not None:
            assert off(result.interior.vectors["ids"], alone.interior.vectors["ids"]) < 1e-5


def proved(net: nn.Module, info: ModelInfo) -> Buckets:
    found = proven_buckets(net, info, examples())
    assert found is not None
    return found


def test_texts_of_3_to_60_tokens_take_less_than_half_the_passes_and_are_answered_as_each_alone():
    net, inputs = Counted(MaskedMean()), texts(*range(3, 61))
    n_passes = {}
    for name, buckets in (("equal", None), ("buckets", Buckets(MOST))):
        found = answers(net, *inputs, buckets=buckets)
        n_passes[name] = len(net.shapes)
        rooms = {(buckets or Buckets(0)).room(n) for n in range(3, 61)}
        assert {(buckets or Buckets(0)).room(shape[1]) for shape in net.shapes} == rooms
    assert n_passes["buckets"] < n_passes["equal"] / 2
    for example, result in zip(inputs[::7], found[::7], strict=True):
        ids = example["ids"].tolist()
        mask = torch.ones(1, len(ids))
        double = MaskedMeanByHand()
        score, start, expected = by_hand(double, ids, [PAD] * len(ids), lambda out: out.softmax(-1)[:, 1], mask)
        assert off(result.attributions["ids"], expected) < 1e-3
        assert (result.score, result.baseline_score) == pytest.approx((score, start), rel=1e-5)


class MaskedMeanByHand(MaskedMean):
    def of_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.read(embedded, mask))


STARTS = {
    "pad": BaselinePart(BaselineKind.PAD),
    "mask": BaselinePart(BaselineKind.MASK),
    "zero": BaselinePart(BaselineKind.ZERO_EMBEDDING),
    "named": BaselinePart(BaselineKind.NAMED, np.arange(MOST) % 5 + 2),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("net", [Packed, Frozen])
def test_no_baseline_reaches_into_the_filling(net, start):
    baseline = BaselineSpec("start", {"ids": STARTS[start]})
    assert_as_alone(net(), texts(3, 5, 6, 8, 17, 4), baselines=(baseline,), interior_alphas=(0.5, 1.0))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, MOST), min_size=2, max_size=7), st.sampled_from([MaskedMean, Gathered, Packed]))
def test_any_mixture_of_lengths_is_answered_as_each_alone(lengths, net):
    assert_as_alone(net(), texts(*lengths), interior_alphas=(0.25,))


@pytest.mark.parametrize("position", [None, 0, -1, -2])
def test_positions_of_a_sequence_are_those_of_the_example(position):
    target = Target((), position=position, scale=OutputScale.LOG_PROBABILITY)
    assert_as_alone(Tagger(), texts(2, 3, 5, 7, 8), info=SEQUENCE, targets=(target,))


def test_a_position_in_the_filling_is_refused():
    target = Target((Term(0),), position=5)
    found = ended(Tagger(), *texts(5), buckets=Buckets(MOST), info=SEQUENCE, targets=(target,))
    assert isinstance(found, Failure)
    assert "positions 0 to 4" in found.detail


def test_predicted_sequences_end_where_the_example_does():
    net, (example,) = Tagger(), texts(5)
    found = ended(net, example, buckets=Buckets(MOST), info=SEQUENCE, kind=JobKind.PREDICTION)
    assert isinstance(found, PredictionResult)
    expected = net(*(torch.from_numpy(example[name])[None] for name in ("ids", "mask")))
    np.testing.assert_allclose(found.outputs["out"], expected, atol=1e-6)


METHODS = {
    "shapley": {"method": Method.SHAPLEY, "samples": 2},
    "saliency": {"method": Method.SALIENCY},
    "polyline": {"gamma": {"ids": Gamma(GammaKind.POLYLINE, points=(np.array([1, 2, 3, 4, 5]),))}},
    "registered": {"gamma": {"ids": Gamma(GammaKind.REGISTERED, name="flipping")}},
    "two targets": {"targets": (PROBABILITY, Target(rank=1))},
}


@pytest.mark.parametrize("asked", METHODS.values(), ids=METHODS)
def test_other_ways_of_explaining_do_not_see_the_filling_either(asked):
    inputs = texts(5, 5)
    found = ended(MaskedMean(), *inputs, buckets=Buckets(MOST), **asked)
    expected = ended(MaskedMean(), *inputs, **asked)
    assert isinstance(found, AttributionResult), found
    for result, alone in zip(found.results, expected.results, strict=True):
        assert off(result.attributions["ids"], alone.attributions["ids"]) < 1e-5
        assert result.target == alone.target


@pytest.mark.parametrize(
    "asked",
    [
        {"layer": Layer("net.middle", Quantity.LAYER_IG)},
        {"layer": Layer("net.middle", Quantity.CONDUCTANCE)},
        {"saturation": Saturation((0.5,), ("net.middle",))},
    ],
)
def test_where_layers_are_asked_for_examples_keep_their_length(asked):
    net = Counted(MaskedMean())
    results = answers(net, *texts(5, 6), buckets=Buckets(MOST), **asked)
    assert {shape[1] for shape in net.shapes} == {5, 6}
    if "layer" in asked:
        assert [result.attributions["net.middle"].shape for result in results] == [(5, 8), (6, 8)]


def test_a_baseline_of_another_length_is_refused_and_not_filled():
    sent = BaselineSpec("start", {"ids": BaselinePart(BaselineKind.TENSOR, np.zeros(5, np.int64))})
    found = ended(MaskedMean(), *texts(6), buckets=Buckets(MOST), baselines=(sent,))
    assert isinstance(found, Failure)
    assert "shape [6]" in found.detail


def test_a_pass_is_no_longer_than_its_longest_example():
    net = Counted(MaskedMean())
    answers(net, *texts(5), buckets=Buckets(MOST))
    assert {shape[1] for shape in net.shapes} == {5}
    answers(net, *texts(35, 34), buckets=Buckets(MOST))
    assert {shape[1] for shape in net.shapes} == {35}


def test_an_example_longer_than_any_bucket_keeps_its_length():
    net = Counted(MaskedMean())
    answers(net, *texts(41, 45), buckets=Buckets(40))
    assert {shape[1] for shape in net.shapes} == {41, 45}
