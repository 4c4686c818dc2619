"""Stacks are held to the integrator that they stand in for."""

import numpy as np
import pytest
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import Curve
from attributor.core.first_round import MORE_WITHOUT_A_LOOK, even_rule, first_nodes
from attributor.core.integrator import StopReason, Tolerance
from attributor.core.placing import PLACINGS
from attributor.core.spectral import rule
from attributor.core.stack import first_rounds

#: F along the path, and dF/dalpha: smooth, kinked, steep, flat, up and down.
CURVES = {
    "smooth": (np.exp, np.exp),
    "kinked": (lambda a: np.maximum(a - 0.37, 0) + a, lambda a: 1.0 * (a > 0.37) + 1),
    "steep": (lambda a: np.tanh(30 * (a - 0.6)), lambda a: 30 / np.cosh(30 * (a - 0.6)) ** 2),
    "flat": (np.zeros_like, np.zeros_like),
    "up and down": (lambda a: np.sin(7 * a), lambda a: 7 * np.cos(7 * a)),
    "rounding": (lambda a: 1e3 + 1e-5 * a, lambda a: np.full_like(a, 1e-5)),
}
TOLERANCES = [Tolerance(0.05, 1e-5), Tolerance(0.01, 1e-5), Tolerance(1e-4, 0.3), Tolerance(None, 1e-5)]


def stack(names, tolerance, budget=500):
    found = even_rule(tolerance, budget)
    alphas = np.array([0.0, *found.alphas, 1.0])
    scores = np.array([CURVES[name][0](alphas) for name in names])
    slopes = np.array([CURVES[name][1](alphas[1:-1]) for name in names])
    return found, scores, slopes


def integrator(tolerance, budget=500):
    return AdaptiveIntegrator([Curve(1, 0)], 1, tolerance, budget).without_a_look()


def tell(one, scores, slopes):
    """What a row of a stack holds, in the order of the asks."""
    asks = one.ask()
    told = np.array([scores[-1], *scores[:-1]])[:, None]
    one.tell(asks, told, np.array([np.nan, np.nan, *slopes])[:, None])


@pytest.mark.parametrize("tolerance", TOLERANCES, ids=str)
def test_a_row_ends_where_its_integrator_would_and_with_the_same_weights(tolerance):
    found, scores, slopes = stack(CURVES, tolerance)
    rounds = first_rounds(found, tolerance, scores, slopes)
    for row, name in enumerate(CURVES):
        one = integrator(tolerance)
        tell(one, scores[row], slopes[row])
        assert rounds.met[row] == (one.done and one.result().stop_reason is StopReason.TOLERANCE), name
        if not rounds.met[row]:
            continue
        integral = one.result()
        assert rounds.weights[row].tolist() == pytest.approx([*integral.weights[0].values()], abs=1e-14)
        assert rounds.coarse_weights[1::2].tolist() == pytest.approx([*integral.coarse_weights[0].values()])
        assert (rounds.limits[row], rounds.variations[row]) == pytest.approx(
            (integral.limits[0], integral.variations[0])
        )
    assert rounds.met.any()
    if tolerance.relative is not None and tolerance.absolute < 0.1:
        assert not rounds.met.all()


def test_an_integrator_that_does_not_look_asks_for_more_nodes_spread_evenly_and_for_both_ends():
    tolerance = Tolerance(0.05, 1e-5)
    asks = integrator(tolerance).ask()
    n = first_nodes(1, tolerance, 500) + MORE_WITHOUT_A_LOOK  # at the loosest tolerance
    assert [ask.nodes[0].alpha for ask in asks] == [1.0, 0.0, *rule(n, PLACINGS[0]).alphas]
    assert [ask.gradient for ask in asks] == [False, False] + [True] * n


def test_it_goes_on_after_its_first_round_as_any_other():
    tolerance = Tolerance(1e-3, 1e-9)
    one = integrator(tolerance)
    value, slope = CURVES["steep"]
    while not one.done:
        asks = one.ask()
        at = np.array([ask.nodes[0].alpha for ask in asks])
        gradient = np.array([ask.gradient for ask in asks])
        one.tell(asks, value(at)[:, None], np.where(gradient, slope(at), np.nan)[:, None])
    integral = one.result()
    assert integral.converged == (True,)
    total = sum(integral.weights[0][told.node.index] * told.slopes[0] for told in integral.nodes if told.slopes[0])
    assert total == pytest.approx(value(np.array([1.0]))[0] - value(np.array([0.0]))[0], rel=1e-3)


def test_several_curves_are_looked_at():
    with pytest.raises(ValueError, match="unpack"):
        AdaptiveIntegrator([Curve(1, 0), Curve(2, 0)], 1, TOLERANCES[0], 500).without_a_look()


@pytest.mark.parametrize("budget", [2, 9, 12, 13, 14, 30])
def test_a_small_budget_is_not_exceeded(budget):
    asks = integrator(TOLERANCES[0], budget).ask()
    assert sum(ask.gradient for ask in asks) <= budget


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_what_is_not_finite_meets_no_tolerance_and_leaves_its_neighbours_alone(spoilt):
    tolerance = TOLERANCES[0]
    found, scores, slopes = stack(["smooth"] * 4, tolerance)
    whole = first_rounds(found, tolerance, scores, slopes)
    scores[1, 3] = slopes[2, 0] = spoilt
    rounds = first_rounds(found, tolerance, scores, slopes)
    assert rounds.met.tolist() == [True, False, False, True]
    assert np.array_equal(rounds.weights[[0, 3]], whole.weights[[0, 3]])
    scores[:] = spoilt
    assert not first_rounds(found, tolerance, scores, slopes).met.any()


def test_a_rule_without_every_other_node_is_refused():
    with pytest.raises(ValueError, match="every other"):
        first_rounds(rule(9, PLACINGS[0], nested=False), TOLERANCES[0], np.ones((1, 11)), np.ones((1, 9)))


def test_limits_of_many_are_those_of_each():
    gaps, variations = np.array([0.0, -2.0, 1e-7, 5.0]), np.array([1.0, 2.0, 1e-7, 90.0])
    for tolerance in TOLERANCES:
        assert tolerance.limits(gaps, variations).tolist() == [
            tolerance.limit(*each) for each in zip(gaps, variations, strict=True)
        ]
