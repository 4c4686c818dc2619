import numpy as np
import pytest
from attributor.engine.active_job import ActiveJob
from attributor.engine.explain import explain
from attributor.errors import NonFiniteGradient
from attributor.jobs.job import Quadrature, RuleName
from attributor.jobs.result import PathResult
from doubles import INPUT, RecordingModel, absorb, fixed, job_spec, model_info
from problems import Problem, named

DEFAULT = Quadrature()


def answer(problem: Problem, quadrature: Quadrature = DEFAULT, **settings) -> PathResult:
    """The answer for a problem, computed without an engine."""
    model = RecordingModel(problem, max_points=1000, **settings)
    on = (model, model_info(problem), {})
    job = ActiveJob.of("a", job_spec(problem, quadrature=quadrature), on, explain(lambda: 1.5), 0.0)
    job.begin(task := job.next_task())
    while (lane := job.first_lane()) is not None:
        picks = job.take(lane, model.max_points)
        for pick, told in zip(picks, model.evaluate([pick.points for pick in picks]), strict=True):
            absorb(job, pick, told)
    (result,) = task.answer
    return result


@pytest.mark.parametrize("name", ["cubic", "odd_kinks", "root_and_square", "steep_sigmoid"])
def test_the_completeness_error_is_that_of_the_attributions_answered(name):
    result = answer(named(name), Quadrature(tolerance=0.05))
    gap = result.score - result.baseline_score
    assert result.attribution_sum == pytest.approx(result.attributions[INPUT].sum(dtype=float), rel=1e-6)
    assert result.completeness_error == abs(result.attribution_sum - gap)
    assert result.relative_completeness_error == result.completeness_error / abs(gap)
    assert result.converged
    assert result.relative_completeness_error <= 0.05


def test_the_nodes_reproduce_the_sum():
    result = answer(named("odd_kinks"))
    pairs = zip(result.nodes.weight, result.nodes.slope, strict=True)
    assert sum(weight * (slope or 0.0) for weight, slope in pairs) == pytest.approx(result.attribution_sum)
    assert result.nodes.alpha == tuple(sorted(result.nodes.alpha))
    assert result.nodes.score[0] == result.baseline_score
    assert result.nodes.score[-1] == result.score


def test_nodes_without_a_gradient_have_no_slope_and_no_weight():
    nodes = answer(named("exp"), fixed(4, RuleName.MIDPOINT)).nodes
    assert nodes.slope[0] is None
    assert nodes.slope[-1] is None
    assert nodes.weight == (0.0, 0.25, 0.25, 0.25, 0.25, 0.0)


def test_without_a_score_difference_there_is_no_relative_error():
    result = answer(named("constant"))
    assert result.completeness_error == 0
    assert result.relative_completeness_error is None
    # Nothing is attributed, so there is nothing to be relative to.
    assert result.attribution_error is None


def test_the_attribution_error_compares_with_every_other_node():
    # Trapezoid on 5 nodes against the one on 3, for 3 a^2: 1.03125 and 1.125.
    cube = Problem("cube", "smooth", lambda x: x[:, 0] ** 3, lambda x: 3 * x**2, (0.0,), (1.0,), (1.0,))
    result = answer(cube, fixed(5, RuleName.TRAPEZOID))
    assert result.attribution_error == pytest.approx((1.125 - 1.03125) / 1.03125)


def test_one_node_leaves_no_attribution_error():
    assert answer(named("exp"), fixed(1, RuleName.MIDPOINT)).attribution_error is None


def test_the_attribution_error_betrays_a_vector_that_the_score_does_not():
    result = answer(named("lucky_kink"))
    true_error = np.abs(result.attributions[INPUT] - named("lucky_kink").exact).sum() / named("lucky_kink").gap
    assert result.relative_completeness_error < 0.005
    assert result.attribution_error > true_error > 0.002


@pytest.mark.parametrize("factor", [1e40, np.inf, np.nan])
def test_attributions_that_float32_cannot_hold_are_refused(factor):
    with pytest.raises(NonFiniteGradient, match="too large"):
        answer(named("odd_kinks"), vectors_factor=factor)


def test_the_answer_says_how_it_came_about():
    quadrature = Quadrature(tolerance=0.02, absolute_tolerance=1e-4)
    result = answer(named("x_x_sin"), quadrature)
    assert (result.tolerance, result.absolute_tolerance) == (0.02, 1e-4)
    assert (result.rule, result.stop_reason) == ("adaptive", "tolerance")
    assert result.computing_s == 1.5
    assert result.attributions[INPUT].dtype == np.float32
    assert result.attributions[INPUT].shape == (1,)


def test_the_attribution_error_is_never_below_what_the_completeness_error_proves():
    cube = Problem("cube", "smooth", lambda x: x[:, 0] ** 3, lambda x: 3 * x**2, (0.0,), (1.0,), (1.0,))
    for n in (2, 7, 50):
        result = answer(cube, fixed(n))
        true_error = abs(result.attribution_sum - 1)
        assert result.attribution_error >= 0.99 * true_error / result.attribution_sum


def test_who_adds_up_the_served_numbers_finds_the_stated_sum():
    result = answer(named("odd_kinks"), DEFAULT)
    assert result.attribution_sum == result.attributions[INPUT].sum(dtype=np.float64)
