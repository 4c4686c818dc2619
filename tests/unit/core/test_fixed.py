import math

import pytest
from attributor.core.asks import EXAMPLE, Curve
from attributor.core.fixed import FixedIntegrator, random_integrator
from attributor.core.integrator import SMALL_GAP_SHARE, StopReason, Tolerance
from attributor.core.rules import gauss_legendre, midpoint, right_riemann, trapezoid
from attributor.errors import NonFiniteGradient
from problems import STRAIGHT, chain, integrate, named, say, star, straight, weighted_sum

TOLERANCE = Tolerance(0.01, 1e-5)


def fixed(rule, journey, tolerance=TOLERANCE):
    integrator = FixedIntegrator(journey.curves, rule, len(journey.targets), tolerance)
    return integrate(integrator, journey), integrator


def alphas(asks):
    return [ask.nodes[0].alpha for ask in asks]


def test_a_fixed_rule_cannot_do_without_the_gradient_at_its_ends():
    root = straight(named("root"))
    with pytest.raises(NonFiniteGradient, match=r"alpha = 0 .*the adaptive one"):
        fixed(trapezoid(5), root)
    assert fixed(right_riemann(5), root)[0].stop_reason is StopReason.FIXED_RULE


@pytest.mark.parametrize(
    ("rule", "scores_only"),
    [(right_riemann(50), [0.0]), (midpoint(7), [1.0, 0.0]), (gauss_legendre(12), [1.0, 0.0]), (trapezoid(9), [])],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_fixed_rule_asks_for_the_scores_at_the_ends_that_it_lacks(rule, scores_only):
    asks = FixedIntegrator(STRAIGHT, rule, 1, TOLERANCE).ask()
    assert alphas(ask for ask in asks if not ask.gradient) == scores_only
    assert tuple(sorted(alphas(ask for ask in asks if ask.gradient))) == rule.nodes


def test_a_fixed_rule_says_whether_it_happens_to_meet_the_tolerance():
    exp = straight(named("exp"))
    rough, fine = fixed(right_riemann(5), exp)[0], fixed(gauss_legendre(12), exp)[0]
    assert abs(weighted_sum(rough) - rough.gaps[0]) > 0.01 * rough.gaps[0]
    assert rough.converged == (False,)
    assert fine.converged == (True,)


def test_a_fixed_rule_knows_its_largest_relative_error():
    journey = straight(named("exp"), named("steep_sigmoid"))
    integral, integrator = fixed(right_riemann(5), journey)
    errors = [abs(weighted_sum(integral, t) - integral.gaps[t]) / abs(integral.gaps[t]) for t in (0, 1)]
    assert integrator.error() == pytest.approx(max(errors))


def test_without_a_score_difference_no_relative_error_is_stated():
    integral, integrator = fixed(midpoint(4), straight(named("constant")))
    assert integrator.error() is None
    assert integral.converged == (True,)


def test_the_nodes_of_an_integral_ascend_and_its_weights_belong_to_them():
    integral, _ = fixed(gauss_legendre(4), straight(named("exp")))
    assert [told.node.alpha for told in integral.nodes] == [0.0, *gauss_legendre(4).nodes, 1.0]
    weights = [integral.weights[0].get(told.node.index, 0.0) for told in integral.nodes]
    assert weights == [0.0, *gauss_legendre(4).weights, 0.0]


@pytest.mark.parametrize("rule", [right_riemann(6), trapezoid(7), midpoint(6), gauss_legendre(6)], ids=lambda r: r.name)
def test_along_a_chain_the_rule_is_applied_to_each_curve(rule):
    whole = chain((0.0,), (0.7,), (2.0,), targets=(named("exp"),))
    parts = [chain((0.0,), (0.7,), targets=whole.targets), chain((0.7,), (2.0,), targets=whole.targets)]
    integral = fixed(rule, whole)[0]
    assert weighted_sum(integral) == pytest.approx(sum(weighted_sum(fixed(rule, part)[0]) for part in parts))
    assert integral.gaps == (pytest.approx(math.exp(2) - 1),)


@pytest.mark.parametrize("rule", [right_riemann(6), trapezoid(7), midpoint(6)], ids=lambda r: r.name)
def test_several_baselines_are_averaged(rule):
    whole = star((2.0,), (0.0,), (1.0,), (-3.0,), targets=(named("exp"),))
    parts = [chain(baseline, (2.0,), targets=whole.targets) for baseline in whole.vertices[1:]]
    integral = fixed(rule, whole)[0]
    assert weighted_sum(integral) == pytest.approx(sum(weighted_sum(fixed(rule, part)[0]) for part in parts) / 3)
    assert sum(1 for told in integral.nodes if told.node.alpha == 1.0) == 3


def test_a_curve_is_not_charged_for_a_gradient_that_only_its_neighbour_needs():
    # Right Riemann needs the slope at the end of the first curve, not at the start of the second, where it is infinite.
    journey = chain((-1.0,), (0.0,), (1.0,), targets=(named("root"),))
    integrator = FixedIntegrator(journey.curves, right_riemann(2), 1, TOLERANCE)
    for ask in integrator.ask():
        infinite_at_start = [[math.inf if node == ask.nodes[-1] and node.alpha == 0.0 else 1.0] for node in ask.nodes]
        say(integrator, ask, [0.0], infinite_at_start if ask.gradient else None)
    integral = integrator.result()
    shared = next(told for told in integral.nodes if told.node.curve == 1 and told.node.alpha == 0.0)
    assert shared.slopes == (None,)
    assert shared.node.index not in integral.weights[0]


def test_an_attribution_tolerance_is_checked_once_at_the_end():
    journey = straight(named("turning_gradients"))
    rough, fine = (fixed(trapezoid(n), journey, Tolerance(0.01, 0.0, 0.05))[0] for n in (9, 65))
    assert rough.attribution_errors[0] > 0.05 >= fine.attribution_errors[0]
    assert (rough.converged, fine.converged) == ((False,), (True,))
    assert rough.stop_reason is fine.stop_reason is StopReason.FIXED_RULE


def test_one_node_proves_no_attribution():
    assert fixed(midpoint(1), straight(named("linear")), Tolerance(0.01, 0.0, 0.05))[0].converged == (False,)
    assert fixed(midpoint(1), straight(named("linear")))[0].converged == (True,)


def test_a_random_sample_has_one_gradient_per_curve_with_the_curves_weight():
    journey = star((2.0,), (0.0,), (1.0,), targets=(named("exp"),))
    integrator = random_integrator(journey.curves, [0.25, 0.75], 1, TOLERANCE)
    asks = integrator.ask()
    assert [len(ask.nodes) for ask in asks if not ask.gradient] == [2, 1, 1]
    assert alphas(ask for ask in asks if ask.gradient) == [0.25, 0.75]
    for ask in asks:
        slopes = [journey.slopes(node) for node in ask.nodes] if ask.gradient else None
        say(integrator, ask, journey.scores(ask.nodes[0]), slopes)
    integral = integrator.result()
    assert list(integral.weights[0].values()) == [0.5, 0.5]
    assert integral.coarse_weights == (None,)
    assert integral.stop_reason is StopReason.FIXED_RULE
    # By hand: exp at 0.5 times 2, and at 1.75 times 1, halved.
    assert weighted_sum(integral) == pytest.approx((2 * math.exp(0.5) + math.exp(1.75)) / 2)
    assert integral.gaps == (pytest.approx(math.exp(2) - (1 + math.e) / 2),)
    assert integral.converged == (False,)


def test_where_the_scores_hardly_differ_their_variation_governs_and_is_stated():
    # Up and down by 1 from the middle; the ends and eight nodes see nearly all of it.
    integral = integrate(FixedIntegrator(STRAIGHT, midpoint(8), 1, Tolerance(0.01, 1e-5)), named("whole_wave"))
    assert integral.variations == (pytest.approx(4, abs=0.4),)
    assert integral.limits == (pytest.approx(0.01 * SMALL_GAP_SHARE * integral.variations[0]),)
    assert integral.converged == (abs(weighted_sum(integral) - integral.gaps[0]) <= integral.limits[0],)


def test_a_random_node_may_lie_at_an_end():
    integral = integrate(random_integrator((Curve(1, EXAMPLE),), [1.0], 1, TOLERANCE), named("linear"))
    assert weighted_sum(integral) == pytest.approx(named("linear").gap)
