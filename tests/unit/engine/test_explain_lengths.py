"""Examples of several lengths through the real model and engine, against float64 by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.engine.engine import Engine
from attributor.jobs.explanation import (
    BaselineKind,
    BaselinePart,
    BaselineSpec,
    Layer,
    Method,
    Quantity,
    Saturation,
    Smoothing,
    Target,
    Term,
)
from attributor.jobs.job import Failure, JobKind, JobSpec
from attributor.jobs.model import OutputScale
from attributor.jobs.result import PredictionResult
from attributor.runtimes.torch_runtime import TorchModel
from nets_of_text import ENCODER_INFO, LSTM_INFO, MOST, PAD, Encoder, Lstm, by_hand, text, tokens
from torch_engine import CLOSE, OneModel, explain, explained, fixed, off, outcome

EXAMPLES = ((5,), (3, 7, 2, 9), (4, 8, 10, 6, 3, 2, 7, 5, 9))
PROBABILITY = Target((Term(1),))


def kind(which: BaselineKind, values: np.ndarray | None = None) -> BaselineSpec:
    return BaselineSpec("start", {"ids": BaselinePart(which, values)})


NAMED = np.arange(MOST) % 5 + 2

#: How a baseline is asked for, and its ids for an example of n tokens; None: a zero embedding.
STARTS = {
    "pad": (kind(BaselineKind.PAD), lambda n: [PAD] * n),
    "mask": (kind(BaselineKind.MASK), lambda n: [1] * n),
    "zero": (kind(BaselineKind.ZERO_EMBEDDING), lambda _n: None),
    "named": (kind(BaselineKind.NAMED, NAMED), lambda n: NAMED[:n].tolist()),
}


def probability(outputs: torch.Tensor) -> torch.Tensor:
    return outputs.softmax(-1)[:, 1]


@pytest.mark.parametrize("start", STARTS)
def test_a_transformer_is_explained_at_every_length_as_by_hand(start):
    baseline, ids = STARTS[start]
    results = explain(
        Encoder(),
        ENCODER_INFO,
        *(text(*example) for example in EXAMPLES),
        baselines=(baseline,),
        targets=(PROBABILITY,),
        quadrature=fixed(200),
    )
    for result, example in zip(results, EXAMPLES, strict=True):
        mask = torch.ones(1, len(example))
        score, baseline_score, expected = by_hand(Encoder(), example, ids(len(example)), probability, mask)
        assert result.attributions["ids"].shape == (len(example),)
        assert off(result.attributions["ids"], expected) < 1e-4
        assert (result.score, result.baseline_score) == pytest.approx((score, baseline_score), rel=1e-5)


@pytest.mark.parametrize("position", [0, -1])
def test_a_sequence_is_explained_at_a_position_of_every_length(position):
    target = Target((Term(2),), position=position, scale=OutputScale.LOG_PROBABILITY)
    results = explain(
        Lstm(),
        LSTM_INFO,
        *(tokens(*example) for example in EXAMPLES),
        baselines=(kind(BaselineKind.PAD),),
        targets=(target,),
        quadrature=CLOSE,
    )
    for result, example in zip(results, EXAMPLES, strict=True):
        _, _, expected = by_hand(Lstm(), example, [PAD] * len(example), lambda out: out.log_softmax(-1)[:, position, 2])
        assert result.target.position == position % len(example)
        assert off(result.attributions["ids"], expected) < 2e-3


@pytest.mark.parametrize("position", [4, -5])
def test_a_position_beyond_an_example_is_refused_naming_what_there_is(position):
    found = outcome(
        Lstm(), LSTM_INFO, tokens(1, 2, 3, 4), targets=(Target((Term(0),), position=position),),
        baselines=(kind(BaselineKind.PAD),),
    )  # fmt: skip
    assert isinstance(found, Failure)
    assert found.code == "unsupported_by_model"
    assert "positions 0 to 3" in found.detail


@pytest.mark.parametrize("quantity", [Quantity.LAYER_IG, Quantity.CONDUCTANCE])
def test_a_layers_attributions_are_as_long_as_the_example_and_add_up(quantity):
    results = explain(
        Encoder(),
        ENCODER_INFO,
        *(text(*example) for example in EXAMPLES),
        baselines=(kind(BaselineKind.ZERO_EMBEDDING),),
        targets=(PROBABILITY,),
        layer=Layer("layer", quantity),
        quadrature=CLOSE,
    )
    for result, example in zip(results, EXAMPLES, strict=True):
        assert result.attributions["layer"].shape == (len(example), 8)
        assert result.completeness_error < 2e-3 * abs(result.score - result.baseline_score) + 1e-5
        assert result.layer.cut


def test_diagnostics_follow_the_length_and_smoothing_is_refused():
    asked = {"baselines": (kind(BaselineKind.PAD),), "targets": (PROBABILITY,)}
    result = explained(
        Encoder(),
        ENCODER_INFO,
        text(*EXAMPLES[1]),
        interior_alphas=(0.25, 1.0),
        saturation=Saturation((0.5,), ("layer", "head")),
        **asked,
    )
    assert result.interior.vectors["ids"].shape == (2, 4)
    assert [each.layer for each in result.saturation.layers] == ["layer", "head"]
    refused = outcome(Encoder(), ENCODER_INFO, text(*EXAMPLES[1]), smoothing=Smoothing(), **asked)
    assert isinstance(refused, Failure)
    assert "nothing to add noise to" in refused.detail


def test_shapley_takes_as_many_turns_as_the_example_has_tokens():
    for example in EXAMPLES:
        result = explained(
            Encoder(),
            ENCODER_INFO,
            text(*example),
            method=Method.SHAPLEY,
            samples=2,
            baselines=(kind(BaselineKind.PAD),),
            targets=(PROBABILITY,),
        )
        assert result.attributions["ids"].shape == (len(example),)
        assert result.attribution_sum == pytest.approx(result.score - result.baseline_score, abs=1e-6)


def test_a_baseline_that_was_sent_in_another_length_is_refused():
    sent = kind(BaselineKind.TENSOR, np.zeros(3, np.int64))
    found = outcome(Encoder(), ENCODER_INFO, text(1, 2), baselines=(sent,))
    assert isinstance(found, Failure)
    assert "shape [2]" in found.detail


def engine_on(net: Encoder) -> Engine:
    return Engine(OneModel(TorchModel(net, ENCODER_INFO), ENCODER_INFO, {}), lambda: 0.0)


def test_examples_of_one_length_share_passes_and_others_do_not():
    net = Encoder()
    engine = engine_on(net)
    spec = explanation_job(text(1, 2, 3), text(4, 5, 6), text(7, 8))
    net.rows.clear()
    engine.admit("job", spec)
    while not engine.idle:
        engine.step()
    # Both ends of two examples, then of the third, without gradients; then 8 nodes of each.
    assert net.rows == [4, 2, 16, 8]


def explanation_job(*examples, job_kind: JobKind = JobKind.ATTRIBUTION, info=ENCODER_INFO) -> JobSpec:
    spec = JobSpec(job_kind, info.name, info.version, info.digest, info.inputs, examples, "", quadrature=fixed(8))
    asked = replace(spec.explanation, baselines=(kind(BaselineKind.PAD),), targets=(PROBABILITY,))
    return replace(spec, explanation=asked)


def predicted(*examples):
    engine = Engine(OneModel(TorchModel(Lstm(), LSTM_INFO), LSTM_INFO, {}), lambda: 0.0)
    engine.admit("job", explanation_job(*examples, job_kind=JobKind.PREDICTION, info=LSTM_INFO))
    while True:
        if finished := engine.step():
            return finished[0].outcome


def test_predictions_are_as_long_as_the_example_and_unequal_ones_are_refused():
    answer = predicted(tokens(1, 2, 3), tokens(4, 5, 6))
    assert isinstance(answer, PredictionResult)
    with torch.no_grad():
        np.testing.assert_allclose(answer.outputs["out"][1], Lstm()(torch.tensor([[4, 5, 6]]))[0], atol=1e-6)
    refused = predicted(tokens(1, 2, 3), tokens(4, 5))
    assert isinstance(refused, Failure)
    assert "send each length in a request of its own" in refused.detail
