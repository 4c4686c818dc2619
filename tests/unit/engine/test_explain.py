"""Every method of the engine on functions whose answers are known, through the engine itself."""

import numpy as np
import pytest
from attributor.core.rules import trapezoid
from attributor.engine.engine import Engine
from attributor.jobs.explanation import (
    BaselineKind,
    BaselinePart,
    BaselineSpec,
    Explanation,
    Gamma,
    GammaKind,
    Method,
    Saturation,
    SmoothForm,
    Smoothing,
    Target,
    Term,
    fixed_baseline,
)
from attributor.jobs.job import Failure, Quadrature, RuleName
from attributor.jobs.model import Feature, OutputScale
from doubles import INPUT, FakeClock, FakeProvider, RecordingModel, fixed, job_spec, model_info, only, run_to_end
from problems import Problem

#: x^2 y^3 and its gradient, from (0, 0) to (1, 1): attributions 2/5 and 3/5 (the integrals of 2a^4 and 3a^4).
POWER = Problem(
    "power",
    "smooth",
    lambda x: x[:, 0] ** 2 * x[:, 1] ** 3,
    lambda x: np.stack([2 * x[:, 0] * x[:, 1] ** 3, 3 * x[:, 0] ** 2 * x[:, 1] ** 2], axis=1),
    (0.0, 0.0),
    (1.0, 1.0),
    (0.4, 0.6),
)
#: 2x - 3y + 1.
LINEAR = Problem(
    "linear",
    "smooth",
    lambda x: 2 * x[:, 0] - 3 * x[:, 1] + 1,
    lambda x: np.tile([2.0, -3.0], (len(x), 1)),
    (0.0, 0.0),
    (2.0, 1.0),
    (4.0, -3.0),
)


def row(*values: float) -> dict[str, np.ndarray]:
    return {INPUT: np.array(values, dtype=np.float32)}


def explain(problem: Problem, quadrature: Quadrature | None = None, reference=None, **asked):
    """The job's outcome; `asked` are fields of the explanation, its baseline the problem's own if not given."""
    asked.setdefault("baselines", (fixed_baseline("zero", row(*problem.baseline)),))
    features = tuple(Feature(name, minimum=0.0, maximum=1.0) for name in "ab")
    model, info = RecordingModel(problem), model_info(problem, features=features)
    provider = FakeProvider({info.ref: model}, {info.ref: info}, references={info.ref: reference or {}})
    engine = Engine(provider, FakeClock())
    engine.admit("a", job_spec(problem, explanation=Explanation(**asked), quadrature=quadrature or Quadrature()))
    outcome = run_to_end(engine)["a"]
    assert model.routes == {}, "a route stayed open"
    return outcome


def test_several_baselines_are_averaged_and_their_spread_reported():
    baselines = (fixed_baseline("zero", row(0, 0)), fixed_baseline("high", row(2, 2)))
    result = only(explain(LINEAR, baselines=baselines))
    # From (0, 0): (4, -3); from (2, 2): (0, 3).
    assert result.attributions[INPUT] == pytest.approx([2.0, 0.0])
    assert result.spread[INPUT] == pytest.approx([np.sqrt(8), np.sqrt(18)])
    assert [(each.name, each.score) for each in result.baselines] == [("zero", 1.0), ("high", -1.0)]
    assert result.baseline_score == 0.0
    assert result.completeness_error < 1e-5
    assert result.standard_error is None, "neither was drawn"
    # The example, both baselines and what lies between: the example is one evaluation.
    assert len({(piece, alpha) for piece, alpha in zip(result.nodes.piece, result.nodes.alpha, strict=True)}) == len(
        result.nodes.alpha
    )
    assert result.evaluations <= len(result.nodes.alpha) - 1


def test_a_gap_near_zero_in_the_mean_is_judged_by_the_mean():
    baselines = (fixed_baseline("low", row(0, 0)), fixed_baseline("high", row(4, 2)))
    result = only(explain(LINEAR, baselines=baselines))
    assert result.score == result.baseline_score
    assert result.converged
    assert "absolute_tolerance_governs" in {warning.code for warning in result.warnings}


def test_samples_of_the_reference_set_have_a_standard_error():
    reference = row()
    reference[INPUT] = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    baseline = BaselineSpec("reference", {INPUT: BaselinePart(BaselineKind.REFERENCE, samples=16)})
    result = only(explain(LINEAR, reference=reference, baselines=(baseline,), seed=3))
    assert len(result.baselines) == 16
    assert result.standard_error[INPUT] == pytest.approx(result.spread[INPUT] / 4)
    assert result.completeness_error < 1e-4
    again = only(explain(LINEAR, reference=reference, baselines=(baseline,), seed=3))
    assert np.array_equal(result.attributions[INPUT], again.attributions[INPUT])
    assert result.seed == 3
    other = only(explain(LINEAR, reference=reference, baselines=(baseline,), seed=4))
    assert not np.array_equal(result.attributions[INPUT], other.attributions[INPUT])


def test_expected_gradients_tend_to_the_mean_over_the_reference_set():
    reference = {INPUT: np.array([[0.0, 0.0], [2.0, 2.0]], dtype=np.float32)}
    baseline = BaselineSpec("reference", {INPUT: BaselinePart(BaselineKind.REFERENCE, samples=400)})
    result = only(
        explain(LINEAR, reference=reference, baselines=(baseline,), method=Method.EXPECTED_GRADIENTS, samples=400)
    )
    assert result.attributions[INPUT] == pytest.approx([2.0, 0.0], abs=4 * float(result.standard_error[INPUT].max()))
    assert 0 < result.standard_error[INPUT].max() < 0.3
    assert result.rule == "random"
    assert result.evaluations == 400
    assert result.spread is None


def test_targets_of_one_job_share_its_passes():
    targets = (Target((Term(1),)), Target((Term(0),)), Target((Term(1), Term(0, -1.0))))
    outcome = explain(POWER, targets=targets)
    yes, no, difference = outcome.results
    assert yes.attributions[INPUT] == pytest.approx(POWER.exact, rel=0.01)
    assert np.allclose(no.attributions[INPUT], -yes.attributions[INPUT])
    assert np.allclose(difference.attributions[INPUT], 2 * yes.attributions[INPUT])
    assert (yes.target.label, no.target.label, difference.target.label) == ("yes", "no", "yes - no")
    assert len({(result.evaluations, result.forwards) for result in outcome.results}) == 1
    assert yes.backwards == 3 * yes.evaluations


def test_the_best_classes_are_explained_in_their_order():
    outcome = explain(POWER, targets=(Target(rank=0), Target(rank=1)))
    assert [result.target.label for result in outcome.results] == ["yes", "no"]
    assert [result.target.predicted for result in outcome.results] == [True, False]


def test_a_polyline_is_complete_and_depends_on_its_vertices():
    gamma = {INPUT: Gamma(GammaKind.POLYLINE, points=(np.array([1.0, 0.0], dtype=np.float32),))}
    result = only(explain(POWER, gamma=gamma))
    # First x goes to 1 while y is 0: nothing happens; then y takes it all.
    assert result.attributions[INPUT] == pytest.approx([0.0, 1.0], abs=0.01)
    assert result.completeness_error < 0.01
    assert set(result.nodes.piece) == {0, 1}


def test_guided_ig_walks_to_the_example_and_is_complete():
    result = only(explain(POWER, gamma={INPUT: Gamma(GammaKind.GUIDED, steps=5)}))
    assert result.completeness_error < 0.011
    assert result.converged
    assert max(result.nodes.piece) >= 1


def test_the_boundary_of_the_other_class_can_be_the_baseline():
    # The double predicts class 1 everywhere, so there is no other class to be found.
    baseline = BaselineSpec("other_class", {INPUT: BaselinePart(BaselineKind.OTHER_CLASS)})
    outcome = explain(LINEAR, reference=row_set([[0, 5], [1, 1]]), baselines=(baseline,))
    assert isinstance(outcome, Failure)
    assert outcome.code == "no_other_class"


def row_set(rows) -> dict[str, np.ndarray]:
    return {INPUT: np.array(rows, dtype=np.float32)}


def test_saliency_is_the_gradient_or_its_magnitude():
    result = only(explain(LINEAR, method=Method.SALIENCY, baselines=()))
    assert result.attributions[INPUT].tolist() == [2.0, 3.0]
    signed = only(explain(LINEAR, method=Method.SALIENCY, baselines=(), absolute=False))
    assert signed.attributions[INPUT].tolist() == [2.0, -3.0]
    assert (signed.evaluations, signed.forwards) == (1, 1)
    assert signed.completeness_error is None
    assert "gradient" in signed.completeness_reason
    assert signed.baseline_score is None
    assert signed.converged is None


def test_gradient_x_input_multiplies():
    result = only(explain(LINEAR, method=Method.GRADIENT_X_INPUT, baselines=()))
    assert result.attributions[INPUT].tolist() == [4.0, -3.0]
    assert result.completeness_error is None


@pytest.mark.parametrize("form", SmoothForm)
def test_smoothgrad_of_a_linear_function_knows_its_gradient(form):
    smoothing = Smoothing(form, samples=8, noise=0.2)
    result = only(explain(LINEAR, method=Method.SALIENCY, baselines=(), absolute=False, smoothing=smoothing, seed=1))
    expected = {SmoothForm.PLAIN: [2.0, -3.0], SmoothForm.SQUARED: [4.0, 9.0], SmoothForm.VARIANCE: [0.0, 0.0]}
    assert result.attributions[INPUT] == pytest.approx(expected[form])
    assert result.evaluations == 8
    assert (result.standard_error is not None) == (form is SmoothForm.PLAIN)
    assert result.score == 2.0
    assert "noisy copies" in result.completeness_reason


def test_smoothgrad_around_integrated_gradients_keeps_the_class_of_the_input():
    result = only(explain(POWER, smoothing=Smoothing(samples=5, noise=0.05)))
    assert result.attributions[INPUT] == pytest.approx(POWER.exact, abs=0.2)
    assert result.converged
    assert result.nodes is None


def test_shapley_values_are_complete_and_differ_from_integrated_gradients():
    # The least of two: integrated gradients give all to the smaller, Shapley-Shubik half to each (AA 2017, section 5).
    least = Problem(
        "least",
        "kinked",
        lambda x: x.min(axis=1),
        lambda x: (x == x.min(axis=1, keepdims=True)).astype(float),
        (0.0, 0.0),
        (1.0, 3.0),
        (1.0, 0.0),
    )
    assert only(explain(least)).attributions[INPUT] == pytest.approx([1.0, 0.0], abs=0.01)
    result = only(explain(least, method=Method.SHAPLEY, samples=2))
    assert result.attributions[INPUT].tolist() == [0.5, 0.5]
    assert result.completeness_error == 0
    assert result.evaluations == 0
    assert result.forwards > 0


def test_interior_gradients_are_plain_gradients_at_the_alphas():
    result = only(explain(POWER, interior_alphas=(0.5, 1.0)))
    vectors = result.interior.vectors[INPUT]
    assert vectors == pytest.approx(np.array([[2 * 0.5**4, 3 * 0.5**4], [2.0, 3.0]]))
    assert result.interior.importance[INPUT] == pytest.approx(np.abs(vectors))
    assert result.interior.mean_magnitude[INPUT] == pytest.approx([2.5 * 0.5**4, 2.5])


def test_interior_gradients_find_their_piece_of_a_polyline():
    gamma = {INPUT: Gamma(GammaKind.POLYLINE, points=(np.array([1.0, 0.0], dtype=np.float32),))}
    result = only(explain(POWER, gamma=gamma, interior_alphas=(0.25, 0.75)))
    # At 0.25 the path is at (0.5, 0), at 0.75 at (1, 0.5).
    assert result.interior.vectors[INPUT] == pytest.approx(np.array([[0.0, 0.0], [0.25, 0.75]]))


def test_an_attribution_tolerance_decides_alone_where_no_other_is_given():
    quadrature = Quadrature(tolerance=None, attribution_tolerance=0.001)
    result = only(explain(POWER, quadrature))
    assert result.converged
    assert result.attribution_error <= 0.001
    assert np.abs(result.attributions[INPUT] - POWER.exact).sum() <= 0.001
    assert result.attribution_tolerance == 0.001
    assert result.tolerance is None


def test_a_fixed_rule_works_on_every_piece():
    gamma = {INPUT: Gamma(GammaKind.POLYLINE, points=(np.array([0.5, 0.5], dtype=np.float32),))}
    result = only(explain(POWER, fixed(5, RuleName.TRAPEZOID), gamma=gamma))
    # Two panels of 5 nodes each that share the vertex: the trapezoid rule on 9 even nodes.
    nodes, weights = trapezoid(9).nodes, trapezoid(9).weights
    expected = [sum(w * factor * a**4 for w, a in zip(weights, nodes, strict=True)) for factor in (2, 3)]
    assert result.attributions[INPUT] == pytest.approx(expected)
    assert result.evaluations == 9


def test_a_method_of_other_makers_is_not_computed_here():
    assert explain(LINEAR, method=Method.LIME).code == "unsupported_by_model"


def test_the_scale_of_a_target_is_answered():
    result = only(explain(POWER, targets=(Target(scale=OutputScale.LOGIT),)))
    assert result.target.scale is OutputScale.LOGIT


def test_saturation_is_left_out_where_it_was_not_asked():
    assert only(explain(POWER)).saturation is None
    assert Saturation().layers == ()


def stated_and_true(make, seeds=30):
    """Per feature: the mean of the standard errors stated, and the deviation and mean over seeds."""
    results = [only(make(seed)) for seed in range(seeds)]
    values = np.array([result.attributions[INPUT] for result in results])
    stated = np.array([result.standard_error[INPUT] for result in results])
    return stated.mean(axis=0), values.std(axis=0, ddof=1), values.mean(axis=0)


CUBE = Problem(
    "cube",
    "smooth",
    lambda x: x[:, 0] ** 3 + x[:, 1],
    lambda x: np.stack([3 * x[:, 0] ** 2, np.ones(len(x))], axis=1),
    (0.0, 0.0),
    (1.0, 1.0),
    (1.0, 1.0),
)


def uniform(samples: int) -> BaselineSpec:
    """Of values in 0..1, as the features are declared."""
    return BaselineSpec("uniform", {INPUT: BaselinePart(BaselineKind.UNIFORM, samples=samples)})


@pytest.mark.parametrize(
    "asked",
    [
        {"method": Method.EXPECTED_GRADIENTS, "baselines": (uniform(1),), "samples": 60},
        {"method": Method.SHAPLEY, "baselines": (uniform(12),), "samples": 2},
        {"baselines": (uniform(12),)},
        {"baselines": (uniform(1),), "smoothing": Smoothing(samples=12, noise=0.05)},
    ],
    ids=["expected gradients", "shapley", "integrated gradients", "smoothing"],
)
def test_a_standard_error_is_the_deviation_over_seeds(asked):
    stated, true, mean = stated_and_true(lambda seed: explain(CUBE, seed=seed, **asked))
    assert (stated <= 1.6 * true).all()
    assert (true <= 1.6 * stated).all()
    # E[1 - b^3] = 3/4, E[1 - b] = 1/2; noise of 0.05 moves the first by 3 * 0.05^2.
    assert np.abs(mean - [0.75, 0.5]).max() < 4 * true.max() / np.sqrt(30) + 0.01


def test_two_random_baselines_of_a_list_are_drawn_apart():
    result = only(explain(CUBE, baselines=(uniform(1), uniform(1))))
    assert result.baselines[0].score != result.baselines[1].score


def test_smoothing_names_only_a_baseline_that_all_copies_had():
    fixed_one = only(explain(POWER, smoothing=Smoothing(samples=3, noise=0.05)))
    assert [each.name for each in fixed_one.baselines] == ["zero"]
    assert fixed_one.baselines[0].completeness_error is None
    drawn = only(explain(POWER, baselines=(uniform(1),), smoothing=Smoothing(samples=3, noise=0.05)))
    assert drawn.baselines == ()
    assert drawn.baseline_score is None


def test_expected_gradients_claim_no_tolerance():
    result = only(explain(LINEAR, baselines=(uniform(1),), method=Method.EXPECTED_GRADIENTS, samples=20))
    assert (result.converged, result.tolerance, result.nodes) == (None, None, None)
    assert result.baselines[0].completeness_error is None
    assert result.completeness_error is not None


def test_the_walk_of_guided_ig_counts_against_the_budget():
    gamma = {INPUT: Gamma(GammaKind.GUIDED, steps=8)}
    result = only(explain(POWER, Quadrature(tolerance=1e-6, max_evaluations=40), gamma=gamma))
    assert result.evaluations <= 40
