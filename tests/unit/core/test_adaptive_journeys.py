"""The adaptive integrator along chains and stars, for several targets, and to an attribution tolerance."""

import math

import numpy as np
import pytest
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import EXAMPLE, Curve
from attributor.core.first_round import FEWEST_FIRST_NODES, FIRST_NODES, fewest_evaluations, first_nodes
from attributor.core.integrator import Integral, StopReason, Tolerance
from attributor.core.panels import JUMP_SPLITS
from attributor.core.placing import Placing
from attributor.core.spectral import rule
from problems import (
    PROBLEMS,
    STRAIGHT,
    Journey,
    Problem,
    chain,
    integrate,
    named,
    say,
    spent,
    star,
    straight,
    sum_of,
    tell,
    until_gradients,
    weighted_sum,
)

#: Two features, smooth, so that exact answers along any polyline are differences of each feature's own part.
EXP = Problem("exp", "smooth", **sum_of((np.exp, np.exp), (np.sin, np.cos)), baseline=(), example=(), exact=())
TIGHT = Tolerance(1e-3, 1e-6)


def solve(journey: Journey, tolerance: Tolerance = TIGHT, budget: int = 500) -> Integral:
    return integrate(AdaptiveIntegrator(journey.curves, len(journey.targets), tolerance, budget), journey)


def test_along_a_polyline_the_exact_answers_add_up():
    journey = chain((0.0, 0.0), (1.5, -0.4), (0.2, 1.0), (1.0, 2.0), targets=(EXP,))
    integral = solve(journey)
    assert integral.converged == (True,)
    assert journey.summed(integral, integral.weights[0]) == pytest.approx([math.e - 1, math.sin(2)], abs=2e-3)


def test_several_baselines_are_averaged():
    baselines = ((0.0, 0.0), (-1.0, 0.5), (0.5, 3.0))
    journey = star((1.0, 2.0), *baselines, targets=(EXP,))
    integral = solve(journey)
    exact = np.mean([[math.e - math.exp(a), math.sin(2) - math.sin(b)] for a, b in baselines], axis=0)
    assert integral.converged == (True,)
    assert integral.gaps == (pytest.approx(exact.sum()),)
    assert journey.summed(integral, integral.weights[0]) == pytest.approx(exact, abs=2e-3)


def test_a_corner_of_the_path_at_a_vertex_costs_no_split():
    corner = chain((0.0, 0.0), (0.3, 2.0), (1.0, 1.0), targets=(named("product"),))
    integral = solve(corner)
    assert integral.converged == (True,)
    assert spent(integral) == 2 * first_nodes(2, TIGHT, 500)


def test_a_star_splits_where_the_error_is():
    rough, smooth = (-4.0,), (0.9,)
    integral = solve(star((5.0,), rough, smooth, targets=(named("x_x_sin"),)))
    counts = [sum(told.node.curve == curve for told in integral.nodes) for curve in (0, 1)]
    assert counts[0] >= counts[1]


def test_several_targets_share_one_mesh_that_serves_the_worst():
    wave, linear = named("x_x_sin"), Problem("l", "smooth", lambda x: x[:, 0], np.ones_like, (), (), ())
    both = solve(straight(wave, linear))
    assert both.converged == (True, True)
    assert spent(both) >= spent(solve(straight(wave))) - 2
    assert len(both.nodes[1].scores) == len(both.nodes[1].slopes) == 2
    assert weighted_sum(both, 1) == pytest.approx(5.0, rel=TIGHT.relative)


def test_targets_of_any_size_are_judged_by_their_own_limits():
    wave = named("x_x_sin")
    tiny = Problem("tiny", "smooth", lambda x: 1e-6 * wave.value(x), lambda x: 1e-6 * wave.gradient(x), (), (), ())
    journey = Journey((tiny, wave), STRAIGHT, (wave.example, wave.baseline))
    integral = solve(journey, Tolerance(1e-3, 0.0))
    assert integral.converged == (True, True)
    assert integral.limits[0] == pytest.approx(1e-6 * integral.limits[1])


def test_a_jump_of_one_target_leaves_the_other_one_converged():
    smooth = Problem("s", "smooth", lambda x: np.sin(x[:, 0]), np.cos, (), (), ())
    integral = solve(straight(named("step"), smooth), Tolerance(0.01, 1e-5))
    assert integral.stop_reason is StopReason.DISCONTINUITY
    assert integral.converged == (False, True)
    assert integral.discontinuous_at == (0, pytest.approx(0.37, abs=0.005))
    assert spent(integral) <= first_nodes(1, Tolerance(0.01, 1e-5), 500) + JUMP_SPLITS


def test_a_jump_names_the_curve_it_lies_on():
    integral = solve(chain((-1.0,), (0.0,), (1.0,), targets=(named("step"),)), Tolerance(0.01, 1e-5))
    assert integral.discontinuous_at == (1, pytest.approx(0.37, abs=0.01))


def test_an_infinite_slope_at_an_inner_vertex_is_never_asked_for():
    root = Problem("root", "singular_end", lambda x: np.sqrt(np.abs(x[:, 0])),
                   lambda x: np.sign(x) * 0.5 / np.sqrt(np.abs(x)), (), (), ())  # fmt: skip
    linear = Problem("l", "smooth", lambda x: x[:, 0], np.ones_like, (), (), ())
    integral = solve(chain((-1.0,), (0.0,), (2.0,), targets=(root, linear)), Tolerance(0.01, 1e-5))
    assert integral.converged == (True, True)


def test_ties_go_to_the_first_curve_and_to_the_left():
    still = Problem("still", "", lambda x: 0 * x[:, 0], np.ones_like, (), (), ())
    journey = star((1.0,), (0.0,), (0.0,), targets=(still,))
    integrator = AdaptiveIntegrator(journey.curves, 1, Tolerance(0.01, 1e-5), fewest_evaluations(journey.curves) + 1)
    asks = until_gradients(integrator, journey)
    assert len(asks) == fewest_evaluations(journey.curves)
    for ask in asks:
        tell(integrator, journey, ask)
    # The panel in the middle is the widest.
    inner = rule(FEWEST_FIRST_NODES, Placing()).alphas
    assert [(ask.nodes[0].curve, ask.nodes[0].alpha) for ask in integrator.ask()] == [(0, (inner[0] + inner[1]) / 2)]


@pytest.mark.parametrize("lines", [1, 2, 5, 40])
def test_a_budget_below_the_first_nodes_is_refused_with_the_number_that_would_do(lines):
    curves = [Curve(line + 1, EXAMPLE, line, 1 / lines) for line in range(lines)]
    fewest = fewest_evaluations(curves)
    with pytest.raises(ValueError, match=f"at least {fewest}: .* {lines} curve"):
        AdaptiveIntegrator(curves, 1, TIGHT, fewest - 1)
    assert not any(ask.gradient for ask in AdaptiveIntegrator(curves, 1, TIGHT, fewest).ask())


@pytest.mark.parametrize("name", ["lucky_kink", "turning_gradients"])
@pytest.mark.parametrize("attribution", [0.05, 0.01])
@pytest.mark.parametrize("relative", [0.01, None])
def test_an_attribution_tolerance_is_reached_where_completeness_proves_nothing(name, attribution, relative):
    journey = straight(named(name))
    without = Tolerance(relative, 1e-5)
    assert spent(solve(journey, without)) <= first_nodes(1, without, 500) + 3
    integral = solve(journey, Tolerance(relative, 1e-5, attribution))
    assert integral.stop_reason is StopReason.TOLERANCE
    assert integral.attribution_errors[0] <= attribution
    error = np.abs(journey.summed(integral, integral.weights[0]) - named(name).exact).sum()
    assert error <= attribution * np.abs(named(name).exact).sum()
    assert spent(integral) <= 63


def test_while_residuals_vanish_all_panels_are_split():
    integral = solve(straight(named("lucky_kink")), Tolerance(None, 0.0, 0.01))
    panels, first_panels = spent(integral) + 1, first_nodes(1, Tolerance(None, 0.0, 0.01), 500) + 1
    assert panels in (2 * first_panels, 4 * first_panels)


def test_when_the_budget_is_spent_the_attribution_errors_are_those_of_the_answer():
    journey = straight(named("turning_gradients"))
    integral = solve(journey, Tolerance(None, 0.0, 1e-4), 20)
    assert integral.stop_reason is StopReason.MAX_EVALUATIONS
    assert integral.converged == (False,)
    whole = journey.summed(integral, integral.weights[0])
    coarse = journey.summed(integral, integral.coarse_weights[0])
    assert integral.attribution_errors == (pytest.approx(np.abs(whole - coarse).sum() / np.abs(whole).sum()),)


def test_a_target_whose_attribution_is_fine_is_converged_while_another_is_not():
    linear = Problem("l", "smooth", lambda x: x.sum(axis=1), np.ones_like, (), (), ())
    turning = named("turning_gradients")
    integral = solve(straight(turning, linear), Tolerance(0.01, 1e-5, 1e-4), 20)
    assert integral.converged == (False, True)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_by_the_attribution_error_alone_it_always_ends_without_minding_jumps_or_rounding(problem):
    integral = solve(straight(problem), Tolerance(None, 0.0, 1e-3), 150)
    assert integral.stop_reason in (StopReason.TOLERANCE, StopReason.MAX_EVALUATIONS)
    assert integral.converged == (integral.stop_reason is StopReason.TOLERANCE,)


def test_an_attribution_out_of_reach_stops_at_panels_too_narrow(monkeypatch):
    monkeypatch.setattr("attributor.core.panels.NARROWEST_PANEL", 2.0**-5)
    integral = solve(straight(named("lucky_kink")), Tolerance(None, 0.0, 1e-12))
    assert integral.stop_reason is StopReason.RESOLUTION
    assert spent(integral) <= 129


def test_errors_that_were_not_asked_for_are_a_bug():
    with pytest.raises(RuntimeError, match="no check"):
        AdaptiveIntegrator(STRAIGHT, 1, TIGHT, 50).tell_errors([0.0])


def test_targets_compete_by_residuals_in_shares_of_what_each_is_allowed():
    # At the right the first target has thrice its slope of 100, at the left the second ten times its 1.
    integrator = AdaptiveIntegrator(STRAIGHT, 2, Tolerance(0.05, 0.0), FIRST_NODES + 1)
    while not (asks := integrator.ask()) or not asks[0].gradient:
        for ask in asks:
            say(integrator, ask, [100 * ask.nodes[0].alpha, ask.nodes[0].alpha], None)
    alphas = sorted(ask.nodes[0].alpha for ask in asks)
    for ask in asks:
        alpha = ask.nodes[0].alpha
        slopes = [100 + 200 * (alpha == alphas[-1]), 1 + 9 * (alpha == alphas[0])]
        say(integrator, ask, [100 * alpha, alpha], [slopes])
    (wanted,) = [ask.nodes[0].alpha for ask in integrator.ask()]
    assert wanted < alphas[1]
