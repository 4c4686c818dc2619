import math

import pytest
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.integrator import FixedIntegrator, StopReason, Tolerance
from attributor.core.rules import FIXED_RULES, gauss_legendre, midpoint, right_riemann, trapezoid
from attributor.errors import NonFiniteGradient, NonFiniteScore
from problems import integrate, named, tell, weighted_sum

TOLERANCE = Tolerance(0.01, 1e-5)

MAKERS = {name: lambda rule=rule: FixedIntegrator(rule(6), TOLERANCE) for name, rule in FIXED_RULES.items()}
MAKERS["adaptive"] = lambda: AdaptiveIntegrator(TOLERANCE, 50)
every_integrator = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def test_the_larger_of_the_two_tolerances_is_the_limit():
    assert Tolerance(0.01, 1e-5).limit(-2.0) == pytest.approx(0.02)
    assert Tolerance(0.01, 1e-5).limit(1e-6) == 1e-5


@every_integrator
def test_nodes_are_handed_out_once_and_alpha_1_first(make):
    integrator = make()
    nodes = integrator.ask()
    assert nodes[0].alpha == 1.0
    assert len({node.index for node in nodes}) == len(nodes)
    assert len({node.alpha for node in nodes}) == len(nodes)
    assert {0.0, 1.0} <= {node.alpha for node in nodes}
    assert integrator.ask() == ()


@every_integrator
def test_it_is_done_with_the_last_node_and_not_before(make):
    integrator, problem = make(), named("linear")
    nodes = integrator.ask()
    for node in nodes[:-1]:
        tell(integrator, problem, node)
        assert not integrator.done
        assert integrator.error() is None
        assert integrator.ask() == ()
        with pytest.raises(RuntimeError, match="not done"):
            integrator.result()
    tell(integrator, problem, nodes[-1])
    assert integrator.done
    assert integrator.error() == pytest.approx(0, abs=1e-12)
    assert weighted_sum(integrator.result()) == pytest.approx(problem.gap)


@every_integrator
def test_a_node_is_told_once(make):
    integrator = make()
    node = integrator.ask()[0]
    integrator.tell(node.index, 1.0, 1.0)
    with pytest.raises(KeyError):
        integrator.tell(node.index, 1.0, 1.0)


@every_integrator
def test_a_node_that_was_not_asked_for_is_refused(make):
    integrator = make()
    integrator.ask()
    with pytest.raises(KeyError):
        integrator.tell(999, 1.0, 1.0)


@every_integrator
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_alpha(make, score):
    integrator = make()
    node = integrator.ask()[3]
    with pytest.raises(NonFiniteScore, match=f"alpha = {node.alpha:g} "):
        integrator.tell(node.index, score, 1.0)


@every_integrator
@pytest.mark.parametrize("slope", [math.nan, math.inf, None])
def test_an_interior_gradient_that_is_not_finite_is_refused_with_its_alpha(make, slope):
    integrator = make()
    node = next(node for node in integrator.ask() if 0 < node.alpha < 1)
    with pytest.raises(NonFiniteGradient, match=f"alpha = {node.alpha:g} "):
        integrator.tell(node.index, 1.0, slope)


def test_a_fixed_rule_cannot_do_without_the_gradient_at_its_ends():
    problem = named("root")
    with pytest.raises(NonFiniteGradient, match="alpha = 0 "):
        integrate(FixedIntegrator(trapezoid(5), TOLERANCE), problem)
    assert integrate(FixedIntegrator(right_riemann(5), TOLERANCE), problem).stop_reason is StopReason.FIXED_RULE


@pytest.mark.parametrize(
    ("rule", "scores_only"),
    [(right_riemann(50), [0.0]), (midpoint(7), [1.0, 0.0]), (gauss_legendre(12), [1.0, 0.0]), (trapezoid(9), [])],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_fixed_rule_asks_for_the_scores_at_the_ends_that_it_lacks(rule, scores_only):
    nodes = FixedIntegrator(rule, TOLERANCE).ask()
    assert [node.alpha for node in nodes if not node.gradient] == scores_only
    assert tuple(sorted(node.alpha for node in nodes if node.gradient)) == rule.nodes


def test_a_fixed_rule_says_whether_it_happens_to_meet_the_tolerance():
    problem = named("exp")
    rough = integrate(FixedIntegrator(right_riemann(5), TOLERANCE), problem)
    fine = integrate(FixedIntegrator(gauss_legendre(12), TOLERANCE), problem)
    assert abs(weighted_sum(rough) - problem.gap) > 0.01 * problem.gap
    assert not rough.converged
    assert fine.converged


def test_a_fixed_rule_knows_its_relative_error():
    problem, integrator = named("exp"), FixedIntegrator(right_riemann(5), TOLERANCE)
    integral = integrate(integrator, problem)
    assert integrator.error() == pytest.approx(abs(weighted_sum(integral) - problem.gap) / problem.gap)


def test_without_a_score_difference_no_relative_error_is_stated():
    integrator = FixedIntegrator(midpoint(4), TOLERANCE)
    integral = integrate(integrator, named("constant"))
    assert integrator.error() is None
    assert integral.converged


def test_the_nodes_of_an_integral_ascend_and_its_weights_belong_to_them():
    integral = integrate(FixedIntegrator(gauss_legendre(4), TOLERANCE), named("exp"))
    alphas = [told.alpha for told in integral.nodes]
    assert alphas == [0.0, *gauss_legendre(4).nodes, 1.0]
    weights = [integral.weights.get(told.index, 0.0) for told in integral.nodes]
    assert weights == [0.0, *gauss_legendre(4).weights, 0.0]
