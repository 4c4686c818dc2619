import math

import numpy as np
import pytest
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import EXAMPLE, Ask, Asks, Curve, Node, checked, laid_out
from attributor.core.fixed import FixedIntegrator, random_integrator
from attributor.core.integrator import SMALL_GAP_SHARE, Check, Tolerance, attributed
from attributor.core.rules import FIXED_RULES
from attributor.errors import NonFiniteGradient, NonFiniteScore
from problems import STRAIGHT, chain, integrate, named, say, tell, until_gradients, weighted_sum

TOLERANCE = Tolerance(0.01, 1e-5)
CHAIN = (Curve(1, 2), Curve(2, EXAMPLE))
THIRDS = (0.0, 1 / 3, 2 / 3, 1.0)

MAKERS = {
    name: lambda curves=STRAIGHT, rule=rule: FixedIntegrator(curves, rule(6), 1, TOLERANCE)
    for name, rule in FIXED_RULES.items()
}
MAKERS["adaptive"] = lambda curves=STRAIGHT: AdaptiveIntegrator(curves, 1, TOLERANCE, 50)
every_integrator = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def test_the_larger_of_the_two_tolerances_is_the_limit():
    assert Tolerance(0.01, 1e-5).limit(-2.0) == pytest.approx(0.02)
    assert Tolerance(0.01, 1e-5).limit(1e-6) == 1e-5
    assert Tolerance(None, 1e-5).limit(1e-6) == math.inf


def test_a_difference_that_is_small_against_the_variation_allows_a_share_of_that():
    assert Tolerance(0.01, 1e-5).limit(0.2, variation=1.0) == pytest.approx(0.01 * 0.2)
    assert Tolerance(0.01, 1e-5).limit(0.001, variation=1.0) == pytest.approx(0.01 * SMALL_GAP_SHARE)
    assert Tolerance(0.01, 1e-5).limit(0.001, variation=0.001) == pytest.approx(1e-5)
    assert Tolerance(None, 1e-5).limit(0.001, variation=1.0) == math.inf


@every_integrator
@pytest.mark.parametrize("curves", [STRAIGHT, CHAIN], ids=["straight", "chain"])
def test_points_are_handed_out_once_and_the_example_first(make, curves):
    integrator = make(curves)
    asks = integrator.ask()
    nodes = [node for ask in asks for node in ask.nodes]
    assert asks[0].nodes == (Node(0, len(curves) - 1, 1.0),)
    assert [node.index for node in nodes] == list(range(len(nodes)))
    assert len({(node.curve, node.alpha) for node in nodes}) == len(nodes)
    assert {(i, end) for i in range(len(curves)) for end in (0.0, 1.0)} <= {(node.curve, node.alpha) for node in nodes}
    assert integrator.ask() == ()


@every_integrator
def test_where_two_curves_meet_one_point_serves_both(make):
    shared = [ask for ask in make(CHAIN).ask() if len(ask.nodes) > 1]
    assert [[(node.curve, node.alpha) for node in ask.nodes] for ask in shared] == [[(0, 1.0), (1, 0.0)]]


@every_integrator
def test_it_is_done_with_the_last_point_and_not_before(make):
    integrator, problem = make(), named("linear")
    asks = until_gradients(integrator, problem)
    for ask in asks[:-1]:
        tell(integrator, problem, ask)
        assert not integrator.done
        assert integrator.error() is None
        assert integrator.ask() == ()
        assert integrator.check() is None
        with pytest.raises(RuntimeError, match="not done"):
            integrator.result()
    tell(integrator, problem, asks[-1])
    assert integrator.done
    assert integrator.error() == pytest.approx(0, abs=1e-12)
    assert weighted_sum(integrator.result()) == pytest.approx(problem.gap)


@every_integrator
def test_a_point_is_told_once(make):
    integrator = make()
    ask = integrator.ask()[0]
    say(integrator, ask, [1.0], [[1.0]])
    with pytest.raises(KeyError):
        say(integrator, ask, [1.0], [[1.0]])


@every_integrator
def test_a_point_that_was_not_asked_for_is_refused(make):
    integrator = make()
    integrator.ask()
    with pytest.raises(KeyError):
        say(integrator, Ask((Node(999, 0, 0.5),), gradient=True), [1.0], [[1.0]])


@every_integrator
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_alpha(make, score):
    integrator = make()
    ask = integrator.ask()[3]
    with pytest.raises(NonFiniteScore, match=f"{score} at alpha = {ask.nodes[0].alpha:g} "):
        say(integrator, ask, [score], [[1.0]])


@every_integrator
@pytest.mark.parametrize("slope", [math.nan, math.inf])
def test_an_interior_gradient_that_is_not_finite_is_refused_with_its_alpha(make, slope):
    integrator = make()
    ask = next(ask for ask in until_gradients(integrator, named("linear")) if 0 < ask.nodes[0].alpha < 1)
    with pytest.raises(NonFiniteGradient, match=f"alpha = {ask.nodes[0].alpha:g} "):
        say(integrator, ask, [1.0], [[slope]])


@every_integrator
def test_both_integrators_agree_on_what_they_integrated(make):
    journey = chain((0.0,), (0.4,), (2.0,), targets=(named("exp"),))
    integral = integrate(make(CHAIN), journey)
    assert [(told.node.curve, told.node.alpha) for told in integral.nodes] == sorted(
        (told.node.curve, told.node.alpha) for told in integral.nodes
    )
    assert integral.gaps == (pytest.approx(math.exp(2) - 1),)
    assert integral.limits == (pytest.approx(0.01 * (math.exp(2) - 1)),)
    assert set(integral.weights[0]) <= {told.node.index for told in integral.nodes}
    assert integral.attribution_errors is None


def test_curves_are_laid_out_one_after_the_other_with_each_vertex_once():
    star = (Curve(1, EXAMPLE, 0, 0.5), Curve(2, EXAMPLE, 1, 0.5))
    places = [[(node.curve, node.alpha) for node in ask.nodes] for ask in laid_out(star, ((0.5,), (0.25, 0.75)))]
    assert places == [[(0, 1.0), (1, 1.0)], [(0, 0.0)], [(0, 0.5)], [(1, 0.0)], [(1, 0.25)], [(1, 0.75)]]


def test_a_vertex_has_a_gradient_where_one_of_its_curves_has_a_node_there():
    asks = {ask.nodes[0].curve if len(ask.nodes) == 1 else "shared": ask for ask in laid_out(CHAIN, ((1.0,), ()))}
    assert asks["shared"].gradient
    assert not asks[0].gradient
    assert not asks[1].gradient


def test_a_closed_curve_has_two_nodes_at_its_vertex():
    assert [len(ask.nodes) for ask in laid_out((Curve(EXAMPLE, EXAMPLE),), (THIRDS,))] == [2, 1, 1]


def test_curves_that_miss_the_example_are_a_bug():
    with pytest.raises(ValueError, match="example"):
        laid_out((Curve(1, 2),), (THIRDS,))


def test_a_slope_that_is_not_finite_at_an_end_is_none_for_its_node_and_target_only():
    ask = Ask((Node(0, 0, 1.0), Node(1, 1, 0.0)), gradient=True)
    found = checked(Asks((ask,)), np.array([[1.0, 2.0]]), np.array([[0.5, math.inf], [math.nan, 0.25]]))
    np.testing.assert_array_equal(found, [[0.5, math.nan], [math.nan, 0.25]])


def test_without_a_gradient_there_are_no_slopes():
    found = checked(Asks((Ask((Node(0, 0, 0.5),), gradient=False),)), np.array([[1.0, 2.0]]), np.ones((1, 2)))
    assert np.isnan(found).all()


def test_a_later_curve_is_named_with_the_alpha():
    with pytest.raises(NonFiniteScore, match=r"alpha = 0\.5 of the path \(its curve 3\)"):
        checked(Asks((Ask((Node(0, 3, 0.5),), gradient=True),)), np.array([[math.nan]]), np.array([[1.0]]))


@pytest.mark.parametrize(
    ("allowed", "errors", "coarse", "fine"),
    [
        (None, None, {}, True),
        (0.1, None, {}, False),
        (0.1, [0.1], {}, True),
        (0.1, [0.2], {}, False),
        # All attributions exactly zero: as right as can be. No coarse rule: nothing is known.
        (0.1, [None], {}, True),
        (0.1, [None], None, False),
    ],
)
def test_what_counts_as_a_right_attribution(allowed, errors, coarse, fine):
    assert attributed(Tolerance(0.01, 0.0, allowed), Check(({},), (coarse,)), errors) == (fine,)


def test_random_nodes_are_an_integrator_too():
    integral = integrate(random_integrator(STRAIGHT, [0.5], 1, TOLERANCE), named("linear"))
    assert weighted_sum(integral) == pytest.approx(named("linear").gap)
