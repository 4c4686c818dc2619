"""Integrators of many jobs that are told together find what each finds alone, and one that fails does so alone."""

import math

import numpy as np
import pytest
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import Asks
from attributor.core.integrator import Integral, Tolerance
from attributor.core.panels import CurvePanels
from attributor.core.together import tell_together
from attributor.errors import NonFiniteGradient, NonFiniteScore
from problems import Journey, Problem, chain, integrate, named, same, star, straight

NAMES = ("exp", "knee", "odd_kinks", "x_x_sin", "step", "root", "constant", "linear", "lucky_kink")
JOURNEYS = (
    *(straight(named(name)) for name in NAMES),
    straight(named("odd_kinks"), named("clipped_product")),
    chain((0.0,), (0.4,), (2.0,), targets=(named("exp"),)),
    star((1.5, 2.0), (0.0, 0.0), (0.5, 1.0), (1.0, 0.5), targets=(named("cubic"), named("linear"))),
)


def integrator_of(journey: Journey) -> AdaptiveIntegrator:
    return AdaptiveIntegrator(journey.curves, len(journey.targets), Tolerance(0.003, 1e-6), 150)


def found(journey: Journey, asks: Asks) -> tuple[np.ndarray, np.ndarray]:
    scores = [journey.scores(ask.nodes[0]) for ask in asks]
    none = [math.nan] * len(journey.targets)
    slopes = [journey.slopes(node) if ask.gradient else none for ask in asks for node in ask.nodes]
    return np.array(scores), np.array(slopes)


def together(journeys: tuple[Journey, ...]) -> list[Integral]:
    integrators = [integrator_of(journey) for journey in journeys]
    while under_way := [n for n, each in enumerate(integrators) if not each.done]:
        rounds = []
        for n in under_way:
            asks = integrators[n].ask()
            rounds.append((integrators[n], asks, *found(journeys[n], asks)))
        assert tell_together(rounds) == [None] * len(rounds)
    return [each.result() for each in integrators]


@pytest.mark.parametrize("journeys", [JOURNEYS, JOURNEYS[::-1], JOURNEYS[3:5] * 3], ids=["all", "reversed", "repeated"])
def test_each_finds_what_it_finds_alone(journeys):
    for journey, integral in zip(journeys, together(journeys), strict=True):
        alone = integrate(integrator_of(journey), journey)
        # Nodes stand where they stand alone; sums over several curves at once may be rounded another way.
        assert [told.node for told in integral.nodes] == [told.node for told in alone.nodes]
        assert (integral.stop_reason, integral.converged) == (alone.stop_reason, alone.converged)
        for one, other in zip(integral.weights, alone.weights, strict=True):
            assert one == pytest.approx(other, rel=1e-12, abs=1e-15)


def test_twice_the_same_is_twice_the_same():
    one, other = together((JOURNEYS[2], JOURNEYS[2]))
    assert same(one, other)


@pytest.mark.parametrize(("at", "error"), [("scores", NonFiniteScore), ("slopes", NonFiniteGradient)])
def test_one_that_fails_does_so_alone(at, error):
    journeys = (straight(named("exp")), straight(named("x_x_sin")), straight(named("knee")))
    integrators = [integrator_of(journey) for journey in journeys]
    failed = None
    while under_way := [n for n, each in enumerate(integrators) if not each.done and n != failed]:
        rounds = []
        for n in under_way:
            asks = integrators[n].ask()
            rounds.append((integrators[n], asks, *found(journeys[n], asks)))
        spoil = 1 in under_way and (at == "scores" or rounds[under_way.index(1)][1][0].gradient)
        if spoil:
            place = under_way.index(1)
            rounds[place][2 if at == "scores" else 3][1] = math.nan
        raised = tell_together(rounds)
        for n, fault in zip(under_way, raised, strict=True):
            if spoil and n == 1:
                assert isinstance(fault, error)
                failed = 1
            else:
                assert fault is None
    assert failed == 1
    for n in (0, 2):
        assert same(integrators[n].result(), integrate(integrator_of(journeys[n]), journeys[n]))


def test_a_neighbour_whose_arithmetic_raises_takes_no_closer_look_from_the_others():
    class Spoilt(CurvePanels):
        def take_in(self):
            raise MemoryError

    peak = Problem(
        "peak", "smooth", lambda x: np.tanh((x[:, 0] - 0.07) / 0.01),
        lambda x: 100 / np.cosh((x - 0.07) / 0.01) ** 2, (0.0,), (1.0,), (2.0,),
    )  # fmt: skip
    journey = straight(peak)
    alone = integrate(integrator_of(journey), journey)
    integrator, neighbour = integrator_of(journey), integrator_of(journey)
    neighbour.unseen = lambda: ([], [Spoilt(1.0)])
    asks, beside = integrator.ask(), neighbour.ask()
    rounds = [(integrator, asks, *found(journey, asks)), (neighbour, beside, *found(journey, beside))]
    raised = tell_together(rounds)
    assert raised[0] is None
    assert isinstance(raised[1], MemoryError)
    assert same(integrate(integrator, journey), alone)
