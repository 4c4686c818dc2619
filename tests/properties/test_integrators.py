"""What must hold of every integration, on scores that nobody picked."""

import numpy as np
import pytest
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.first_round import FEWEST_FIRST_NODES
from attributor.core.fixed import FixedIntegrator
from attributor.core.integrator import Integral, Tolerance
from attributor.core.mesh import MOST_AMPLIFICATION
from attributor.core.rules import FIXED_RULES, every_other
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import STRAIGHT, Problem, integrate, spent, weighted_sum

quick = settings(max_examples=60, deadline=None, derandomize=True)

sizes = st.floats(-10, 10)
places = st.floats(1 / 64, 63 / 64)
tolerances = st.builds(Tolerance, st.sampled_from([0.05, 0.01, 1e-3]), st.sampled_from([1e-5, 1e-3]))


def scalar(value, slope) -> Problem:
    """A score of one feature that is alpha itself."""
    return Problem("drawn", "drawn", lambda x: value(x[:, 0]), slope, (0.0,), (1.0,), ())


@st.composite
def piecewise_linear(draw) -> Problem:
    """A sum of up to six hinges at drawn places, with a drawn slope and offset."""
    hinges = draw(st.lists(st.tuples(sizes, places), max_size=6))
    tilt, offset = draw(sizes), draw(sizes)

    def value(a):
        return offset + tilt * a + sum(size * np.maximum(a - place, 0) for size, place in hinges)

    return scalar(value, lambda x: tilt + sum(size * (x > place) for size, place in hinges) + 0 * x)


@st.composite
def smooth_mixtures(draw) -> Problem:
    """A polynomial of degree up to five and up to three sigmoids."""
    polynomial = np.polynomial.Polynomial(draw(st.lists(sizes, min_size=1, max_size=6)))
    steps = draw(st.lists(st.tuples(sizes, st.floats(1, 60), places), max_size=3))

    def value(a):
        return polynomial(a) + sum(size * (1 + np.tanh(steep * (a - place))) for size, steep, place in steps)

    def slope(x):
        bells = (size * steep / np.cosh(steep * (x - place)) ** 2 for size, steep, place in steps)
        return polynomial.deriv()(x) + sum(bells) + 0 * x

    return scalar(value, slope)


scores = st.one_of(piecewise_linear(), smooth_mixtures())


def solve(problem: Problem, tolerance: Tolerance, budget: int = 500) -> Integral:
    return integrate(AdaptiveIntegrator(STRAIGHT, 1, tolerance, budget), problem)


def moment(integral: Integral, power: int) -> float:
    return sum(integral.weights[0].get(told.node.index, 0.0) * told.node.alpha**power for told in integral.nodes)


@quick
@given(scores, tolerances)
def test_what_is_reported_as_converged_is_within_the_tolerance(problem, tolerance):
    integral = solve(problem, tolerance)
    rounding = 1e-12 * max(abs(told.slopes[0] or 0.0) for told in integral.nodes)
    if all(integral.converged):
        assert abs(weighted_sum(integral) - problem.gap) <= integral.limits[0] + rounding
    assert integral.limits == (tolerance.limit(problem.gap, integral.variations[0]),)


@quick
@given(scores, st.sampled_from(sorted(FIXED_RULES)), st.integers(2, 40))
def test_a_fixed_rule_reports_its_convergence_truly(problem, name, n):
    tolerance = Tolerance(0.01, 1e-5)
    integral = integrate(FixedIntegrator(STRAIGHT, FIXED_RULES[name](n), 1, tolerance), problem)
    error = abs(weighted_sum(integral) - problem.gap)
    assert integral.limits == (tolerance.limit(problem.gap, integral.variations[0]),)
    if abs(error - integral.limits[0]) > 1e-9:
        assert integral.converged == (error < integral.limits[0],)


@quick
@given(piecewise_linear())
def test_hinges_are_never_too_much_for_the_default_budget_at_5_percent(problem):
    # Where hinges cancel, the gap says nothing of the score's size: allow a thousandth of that.
    tolerance = Tolerance(0.05, 1e-3 * (1 + float(np.abs(problem.slopes(np.linspace(0, 1, 101))).max())))
    assert all(solve(problem, tolerance).converged)


@quick
@given(scores, tolerances)
def test_constants_are_integrated_exactly_and_linear_slopes_within_the_tolerance(problem, tolerance):
    integral = solve(problem, tolerance)
    assert moment(integral, 0) == pytest.approx(1, abs=1e-10)
    assert moment(integral, 1) == pytest.approx(1 / 2, rel=tolerance.relative)


@quick
@given(scores, tolerances)
def test_no_integration_amplifies_its_vectors(problem, tolerance):
    weights = np.array(list(solve(problem, tolerance).weights[0].values()))
    assert np.abs(weights).sum() <= MOST_AMPLIFICATION


@quick
@given(scores, tolerances, st.integers(FEWEST_FIRST_NODES, 40))
def test_no_budget_is_exceeded(problem, tolerance, budget):
    assert spent(solve(problem, tolerance, budget)) <= budget


@quick
@given(scores, tolerances)
def test_scores_scaled_by_a_power_of_two_get_the_same_nodes(problem, tolerance):
    # Powers of two change no rounding, so nothing but a hidden absolute constant could change the choice.
    scaled = scalar(lambda a: 4 * problem.value(a[:, None]), lambda x: 4 * problem.gradient(x))
    one = solve(problem, tolerance)
    other = solve(scaled, Tolerance(tolerance.relative, 4 * tolerance.absolute))
    assert other.weights == one.weights
    assert [told.node for told in other.nodes] == [told.node for told in one.nodes]


@quick
@given(scores, scores, sizes, st.sampled_from(sorted(FIXED_RULES)), st.integers(2, 40))
def test_fixed_rules_are_linear_in_the_score(one, other, factor, name, n):
    rule = FIXED_RULES[name](n)
    both = scalar(
        lambda a: one.value(a[:, None]) + factor * other.value(a[:, None]),
        lambda x: one.gradient(x) + factor * other.gradient(x),
    )
    parts = [
        weighted_sum(integrate(FixedIntegrator(STRAIGHT, rule, 1, Tolerance(0, 0)), p)) for p in (both, one, other)
    ]
    assert parts[0] == pytest.approx(parts[1] + factor * parts[2], rel=1e-9, abs=1e-8)


@quick
@given(st.sampled_from(["midpoint", "trapezoid", "gauss_legendre"]), st.integers(2, 64))
def test_the_symmetric_rules_read_the_same_from_both_ends(name, n):
    rule = FIXED_RULES[name](n)
    assert [1 - node for node in reversed(rule.nodes)] == pytest.approx(rule.nodes, abs=1e-15)
    assert rule.weights[::-1] == pytest.approx(rule.weights, abs=1e-15)


@quick
@given(scores, tolerances)
def test_a_path_walked_backwards_gives_the_negative_answer(problem, tolerance):
    # The adaptive rule may break ties the other way, so only what it promises is compared: both within the tolerance.
    backwards = scalar(lambda a: problem.value(1 - a[:, None]), lambda x: -problem.gradient(1 - x))
    forth, back = solve(problem, tolerance), solve(backwards, tolerance)
    if all(forth.converged + back.converged):
        allowed = forth.limits[0] + back.limits[0] + 1e-9
        assert abs(weighted_sum(forth) + weighted_sum(back)) <= allowed


@quick
@given(st.sampled_from(sorted(set(FIXED_RULES) - {"right_riemann"})), st.integers(2, 64), sizes, sizes)
def test_every_other_node_reads_a_straight_line_between_them_exactly(name, n, offset, tilt):
    rule = FIXED_RULES[name](n)
    kept = np.array(rule.nodes)[::-1][::2][::-1]
    nodes = np.clip(np.array(rule.nodes), kept[0], kept[-1])
    line = offset + tilt * np.array(rule.nodes)
    expected = float(np.dot(rule.weights, offset + tilt * nodes))
    assert float(np.dot(every_other(rule), line)) == pytest.approx(expected, rel=1e-12, abs=1e-12)
