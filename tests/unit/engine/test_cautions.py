from dataclasses import replace

import numpy as np
import pytest
from attributor.core.asks import Curve, Known
from attributor.core.integrator import Integral, StopReason
from attributor.engine.baselines import NamedBaseline
from attributor.engine.cautions import cautions
from attributor.engine.outcome import Integration, Line, Outcome
from attributor.engine.work import Question
from attributor.jobs.explanation import (
    Explanation,
    Gamma,
    GammaKind,
    Layer,
    Method,
    Quantity,
    Smoothing,
    Target,
    Term,
)
from attributor.jobs.job import Quadrature
from attributor.jobs.model import Feature, InputKind, InputSpec, OutputScale
from attributor.jobs.result import LayerResult
from doubles import INPUT, job_spec, model_info
from problems import named

#: Two features, baseline (0, 1).
PROBLEM = named("constant")
CURVES = (Curve(1, 0),)


def integral(baseline_score=0.0, score=0.9, **changes) -> Integral:
    known = Known(
        index=np.array([1, 0]),
        curve=np.array([0, 0]),
        alpha=np.array([0.0, 1.0]),
        scores=np.array([[baseline_score], [score]]),
        slopes=np.ones((2, 1)),
    )
    return Integral(
        **{
            "known": known,
            "weights": ({0: 0.5, 1: 0.5},),
            "coarse_weights": (None,),
            "stop_reason": StopReason.TOLERANCE,
            "converged": (True,),
            "gaps": (score - baseline_score,),
            "limits": (0.01 * abs(score - baseline_score),),
            **changes,
        }
    )


def found(
    solved: Integral,
    example=(0.3, 0.7),
    info=None,
    attribution_error=0.02,
    baseline=(0.0, 1.0),
    layer=None,
    curves=CURVES,
    **changes,
) -> dict[str, str]:
    target = changes.pop("target", Target())
    spec = job_spec(PROBLEM, example, target=target, **changes)
    info = info or model_info(PROBLEM)
    question = Question(0, spec, info)
    line = Line(
        NamedBaseline("zero", {INPUT: np.asarray(baseline, dtype=np.float32)}, False), solved.nodes[0].scores, None
    )
    outcome = Outcome(
        targets=(replace(target, terms=(Term(1),)),),
        predicted=(1,),
        scores=solved.nodes[-1].scores,
        attributions=({},),
        lines=(line,),
        converged=solved.converged,
        integration=Integration(curves, solved, (None,)),
        layer=layer,
    )
    warnings = cautions(question, outcome, 0, attribution_error)
    codes = [warning.code for warning in warnings]
    assert len(codes) == len(set(codes))
    return {warning.code: warning.message for warning in warnings}


def test_a_good_answer_has_no_warning():
    assert found(integral()) == {}


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (StopReason.MAX_EVALUATIONS, "raise max_evaluations"),
        (StopReason.FLOAT_NOISE, "rounding errors"),
        (StopReason.FIXED_RULE, "raise n_steps"),
        (StopReason.DISCONTINUITY, "jumps"),
        (StopReason.RESOLUTION, "float32 cannot tell"),
        (StopReason.MEMORY, "more memory for vectors"),
    ],
)
def test_an_answer_that_did_not_converge_says_why(reason, advice):
    warnings = found(integral(stop_reason=reason, converged=(False,)))
    assert list(warnings) == ["not_converged"]
    assert advice in warnings["not_converged"]


@pytest.mark.parametrize("reason", StopReason)
def test_no_reason_is_given_for_an_answer_that_converged(reason):
    assert found(integral(stop_reason=reason)) == {}


@pytest.mark.parametrize(("error", "codes"), [(None, []), (0.1, []), (0.11, ["attribution_error_large"])])
def test_a_vector_that_halving_the_nodes_changes_much_is_mentioned(error, codes):
    assert list(found(integral(), attribution_error=error)) == codes


def test_a_jump_is_placed():
    outcome = integral(stop_reason=StopReason.DISCONTINUITY, converged=(False,), discontinuous_at=(0, 0.369140625))
    warnings = found(outcome)
    assert list(warnings) == ["not_converged", "discontinuous"]
    assert "alpha = 0.369141" in warnings["discontinuous"]


def test_the_absolute_tolerance_is_mentioned_where_it_governs():
    quadrature = Quadrature(tolerance=0.01, absolute_tolerance=0.02)
    warnings = found(integral(limits=(0.02,)), quadrature=quadrature)
    assert list(warnings) == ["absolute_tolerance_governs"]
    assert "0.9" in warnings["absolute_tolerance_governs"]
    assert "0.02" in warnings["absolute_tolerance_governs"]
    assert found(integral(limits=(0.027,)), quadrature=Quadrature(tolerance=0.03, absolute_tolerance=0.02)) == {}


def test_a_difference_that_is_small_beside_the_ups_and_downs_is_explained():
    warnings = found(integral(limits=(0.01,), variations=(10.0,)), quadrature=Quadrature(tolerance=0.01))
    assert "little beside the 10 that the score moves" in warnings["absolute_tolerance_governs"]
    assert "tolerance of 0.01 was used" in warnings["absolute_tolerance_governs"]


def test_a_small_gap_is_mentioned():
    assert "score_gap_small" in found(integral(0.5, 0.54))
    assert "score_gap_small" in found(integral(0.54, 0.5))
    assert "score_gap_small" not in found(integral(0.5, 0.56))


@pytest.mark.parametrize(
    ("baseline_score", "score", "expected"),
    [(0.1, 0.9, False), (0.5, 0.9, False), (0.6, 0.9, True), (-0.7, 0.9, True), (0.9, 0.1, True)],
)
def test_a_baseline_that_scores_is_mentioned(baseline_score, score, expected):
    assert ("baseline_score_not_near_zero" in found(integral(baseline_score, score))) is expected


def test_the_log_of_a_small_probability_is_no_fault_of_a_baseline():
    assert found(integral(-5.0, -0.1), target=Target(scale=OutputScale.LOG_PROBABILITY)) == {}
    assert "baseline_score_not_near_zero" in found(integral(-5.0, -0.1), target=Target(scale=OutputScale.LOGIT))


def test_features_at_their_baseline_are_mentioned_with_their_share():
    warnings = found(integral(), example=(0.3, 1.0))
    assert list(warnings) == ["features_equal_to_baseline"]
    assert warnings["features_equal_to_baseline"].startswith("50% of the features of 'x'")


def test_a_few_features_at_their_baseline_are_not_mentioned():
    info = model_info(PROBLEM, features=tuple(Feature(f"f{i}") for i in range(11)))
    baseline = [0.0] + [99.0] * 10
    assert found(integral(), info=info, example=range(11), baseline=baseline) == {}


def test_values_outside_the_declared_domain_are_named():
    features = (Feature("age", minimum=0.0, maximum=120.0), Feature("dose", minimum=1.0))
    info = model_info(PROBLEM, features=features)
    assert found(integral(), info=info, example=(30, 2)) == {}
    assert found(integral(), info=info, example=(0, 1.5)).keys() == {"features_equal_to_baseline"}
    warnings = found(integral(), info=info, example=(130, 0.5))
    assert list(warnings) == ["outside_domain"]
    assert warnings["outside_domain"].endswith("age = 130, dose = 0.5")


def test_of_many_values_outside_the_domain_five_are_named():
    features = tuple(Feature(f"f{i}", maximum=0.0) for i in range(8))
    info = model_info(PROBLEM, features=features)
    baseline = np.zeros(8)
    message = found(integral(), info=info, example=range(1, 9), baseline=baseline)["outside_domain"]
    assert message.endswith("f0 = 1, f1 = 2, f2 = 3, f3 = 4, f4 = 5 and 3 more")


def test_an_image_outside_its_range_is_counted():
    image = InputSpec(INPUT, InputKind.IMAGE, (1, 1, 4), value_range=(-1.0, 1.0))
    info = replace(model_info(PROBLEM), inputs=(image,))
    baseline = np.zeros((1, 1, 4))
    inside, beyond = [[[-1.0, 1.0, 0.5, 0.7]]], [[[-1.5, 1.5, 0.5, 0.7]]]
    assert found(integral(), info=info, example=inside, baseline=baseline) == {}
    warnings = found(integral(), info=info, example=beyond, baseline=baseline)
    assert warnings == {"outside_domain": "outside the domain that the model declares: 2 values of 'x' beyond [-1, 1]"}


def test_a_normalised_image_is_held_against_what_pixels_can_be():
    image = InputSpec(INPUT, InputKind.IMAGE, (1, 1, 4), normalise=((0.485, 0.229),))
    info = replace(model_info(PROBLEM), inputs=(image,))
    white = np.float32((1 - np.float32(0.485)) / np.float32(0.229))  # in float32, which may be above the exact value
    baseline = np.full((1, 1, 4), -1.0)
    assert found(integral(), info=info, example=[[[white, -2.0, 0.0, 1.0]]], baseline=baseline) == {}
    (message,) = found(integral(), info=info, example=[[[2.3, -2.2, 0.0, 1.0]]], baseline=baseline).values()
    assert message.endswith("2 values of 'x' beyond what pixels can be")


COLOURED = (Feature("age"), Feature("colour", categories=("red", "green", "blue"), one_hot=True))


def test_a_one_hot_column_equals_its_baseline_as_a_whole():
    info = model_info(PROBLEM, features=COLOURED)
    # Of blue and red, the element of green is equal, and no column is.
    assert found(integral(), info=info, example=(0.3, 0, 0, 1), baseline=(0.0, 1, 0, 0)) == {}
    warnings = found(integral(), info=info, example=(0.3, 0, 0, 1), baseline=(0.0, 0, 0, 1))
    assert warnings["features_equal_to_baseline"].startswith("50% of the features")


def test_a_value_that_is_no_category_is_outside_the_domain():
    size = Feature("size", categories=("small", "large"))
    info = model_info(PROBLEM, features=(*COLOURED, size))
    away = (9.0, 9, 9, 9, 9)
    assert found(integral(), info=info, example=(0.3, 0, 0, 1, 1), baseline=away) == {}
    warnings = found(integral(), info=info, example=(0.3, 0.5, 0.5, 0, 0.5), baseline=away)
    assert warnings["outside_domain"].endswith("colour is not 1 for one category and 0 for the others, size = 0.5")


def test_a_layer_is_called_as_the_request_calls_it():
    layer = LayerResult("features.0", Quantity.LAYER_IG, cut=False)
    explanation = Explanation(layer=Layer("features.0"), layer_names={"features.0": "stem"})
    assert "'stem'" in found(integral(), layer=layer, explanation=explanation)["layer_not_a_cut"]


def test_tokens_of_any_length_are_compared_one_by_one():
    tokens = InputSpec(INPUT, InputKind.TOKENS, (512,), vocabulary=99, embedding="e", variable=True)
    info = replace(model_info(PROBLEM), inputs=(tokens,))
    warnings = found(integral(), info=info, example=(5, 6, 7, 8), baseline=(5, 0, 0, 8))
    assert warnings["features_equal_to_baseline"].startswith("50%")


def test_a_tensor_has_no_declared_domain():
    info = replace(model_info(PROBLEM), inputs=(InputSpec(INPUT, InputKind.TENSOR, (2,)),))
    assert found(integral(), info=info, example=(1e9, -1e9)) == {}


def test_the_most_important_warning_comes_first():
    outcome = integral(0.7, 0.71, stop_reason=StopReason.MAX_EVALUATIONS, converged=(False,))
    warnings = found(outcome, example=(0.0, 1.0))
    assert list(warnings) == [
        "not_converged",
        "score_gap_small",
        "baseline_score_not_near_zero",
        "features_equal_to_baseline",
    ]


@pytest.mark.parametrize(
    ("quantity", "said"), [(Quantity.LAYER_IG, "held at its output"), (Quantity.CONDUCTANCE, "need not add up")]
)
def test_a_layer_that_does_not_cut_the_graph_is_mentioned(quantity, said):
    warnings = found(integral(), layer=LayerResult("block", quantity, cut=False))
    assert said in warnings["layer_not_a_cut"]
    assert found(integral(), layer=LayerResult("block", quantity, cut=True)) == {}


def test_on_other_scales_than_probability_a_gap_is_small_beside_the_scores():
    logit = Target(scale=OutputScale.LOGIT)
    assert "score_gap_small" in found(integral(100.0, 104.0), target=logit)
    assert "score_gap_small" not in found(integral(0.0, 0.01), target=logit)
    assert "score_gap_small" in found(integral(0.0, 0.0), target=logit)


def test_a_regression_has_no_score_that_should_be_near_zero():
    assert found(integral(50.0, 90.0), target=Target(scale=OutputScale.VALUE)) == {}


def test_of_two_classes_one_that_is_as_likely_as_not_says_nothing():
    assert "baseline_score_not_near_zero" not in found(integral(0.54, 0.9))
    assert "baseline_score_not_near_zero" in found(integral(0.56, 0.9))


def test_a_saturated_probability_is_told_of_the_logit():
    assert "logit" in found(integral(0.99, 1.0))["score_gap_small"]
    assert "logit" not in found(integral(0.5, 0.51))["score_gap_small"]


@pytest.mark.parametrize(
    ("errors", "reason", "said"),
    [
        ((0.3,), StopReason.MAX_EVALUATIONS, "error of 0.3 is above it; raise max_evaluations"),
        ((0.3,), StopReason.FIXED_RULE, "raise n_steps"),
        ((None,), StopReason.FIXED_RULE, "not known with so few nodes"),
        ((0.05,), StopReason.MAX_EVALUATIONS, "budget of evaluations was used up"),
    ],
)
def test_the_tolerance_that_was_missed_is_the_one_that_is_named(errors, reason, said):
    solved = integral(stop_reason=reason, converged=(False,), attribution_errors=errors)
    warnings = found(solved, quadrature=Quadrature(attribution_tolerance=0.1))
    assert said in warnings["not_converged"]


def test_features_at_their_baseline_are_not_mentioned_where_they_may_get_something():
    moved = Gamma(GammaKind.POLYLINE, points=(np.array([5.0, 5.0], dtype=np.float32),))
    bent = Explanation(gamma={INPUT: moved})
    assert found(integral(), example=(0.3, 1.0), explanation=bent) == {}
    for explanation in (
        Explanation(smoothing=Smoothing()),
        Explanation(method=Method.LIME),
        Explanation(layer=Layer("block")),
    ):
        assert "features_equal_to_baseline" not in found(integral(), example=(0.3, 1.0), explanation=explanation)
    guided = Explanation(gamma={INPUT: Gamma(GammaKind.GUIDED)})
    assert "features_equal_to_baseline" in found(integral(), example=(0.3, 1.0), explanation=guided)
