"""Integrators that may not keep all vectors: what they seal, and that the answer is still right or says that it is not.

`Kept` stands for the engine and its vectors: it takes part in every round, so that nothing is used that was forgotten.
"""

from collections.abc import Mapping

import numpy as np
import pytest
from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import Node
from attributor.core.first_round import fewest_evaluations
from attributor.core.fixed import FixedIntegrator
from attributor.core.integrator import Integral, Integrator, StopReason, Tolerance
from attributor.core.rules import FIXED_RULES
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import (
    PROBLEMS,
    Journey,
    Problem,
    above,
    chain,
    integrate,
    named,
    relu,
    same,
    star,
    straight,
    tagged,
    tell,
)

ABSOLUTE = 1e-9
#: Sums of weights that were added up in another order.
CLOSE = 1e-9


class Kept:
    """Vectors by node: kept, summed up and forgotten as an integrator says."""

    def __init__(self, journey: Journey, most: int) -> None:
        self.journey, self.most = journey, most
        self.nodes: dict[int, Node] = {}
        self.kept: set[int] = set()
        self.gone: set[int] = set()
        self.peak = self.seals = 0
        targets = range(len(journey.targets))
        self.sealed: list[tuple[dict[int, float], dict[int, float]]] = [({}, {}) for _ in targets]

    def seal(self, integrator: Integrator) -> None:
        if (seal := integrator.seal()) is None:
            return
        self.seals += 1
        for known, *final in zip(self.sealed, seal.weights, seal.coarse_weights, strict=True):
            for total, weights in zip(known, final, strict=True):
                for node, weight in (weights or {}).items():
                    assert node in self.kept, "a weight for a vector that is not there"
                    total[node] = total.get(node, 0.0) + weight
        assert seal.dropped
        assert set(seal.dropped) <= self.kept
        self.kept -= set(seal.dropped)
        self.gone |= set(seal.dropped)
        assert integrator.seal() is None, "each once"

    def check(self, weights: Mapping[int, float] | None, target: int = 0, *, coarse: bool = False) -> None:
        """Of what is gone, exactly what was summed up must be in the weights; there is nothing to add more of."""
        if weights is not None:
            known = self.sealed[target][coarse]
            assert all(weights.get(node, 0.0) == known.get(node, 0.0) for node in self.gone)

    def run(self, integrator: Integrator) -> Integral:
        while not integrator.done:
            self.seal(integrator)
            self.check(integrator.weights_now())
            asks = integrator.ask()
            for ask in asks:
                self.nodes |= {node.index: node for node in ask.nodes}
                self.kept |= {node.index for node in ask.nodes if ask.gradient}
            self.peak = max(self.peak, len(self.kept))
            assert self.peak <= self.most
            for ask in asks:
                tell(integrator, self.journey, ask)
            if not asks:
                check = integrator.check()
                assert check is not None
                integrator.tell_errors(self.journey.attribution_errors(check, self.nodes))
        integral = integrator.result()
        for target in range(len(self.journey.targets)):
            self.check(integral.weights[target], target)
            self.check(integral.coarse_weights[target], target, coarse=True)
        return integral


def run(along: Problem | Journey, most: int, tolerance: Tolerance, budget: int = 2000) -> tuple[Integral, Kept]:
    journey = along if isinstance(along, Journey) else straight(along)
    kept = Kept(journey, max(most, fewest_evaluations(journey.curves)))
    return kept.run(AdaptiveIntegrator(journey.curves, len(journey.targets), tolerance, budget, most)), kept


def assert_honest(integral: Integral, journey: Journey) -> None:
    """Converged: the weighted slopes are within the limit; not converged: it says why."""
    for target, converged in enumerate(integral.converged):
        summed = journey.summed(integral, integral.weights[target], target).sum()
        error = abs(summed - integral.gaps[target])
        assert not converged or error <= integral.limits[target] * (1 + CLOSE)
    assert all(integral.converged) == (integral.stop_reason is StopReason.TOLERANCE)


def kinked_net(seed: int, n_kinks: int = 400, n_features: int = 3) -> Problem:
    """A hidden layer of ReLUs, all of whose kinks lie on the path."""
    rng = np.random.default_rng(seed)
    into = rng.normal(size=(n_kinks, n_features))
    bias = -rng.uniform(0, 1, n_kinks) * into.sum(axis=1)
    out = rng.normal(size=n_kinks) / np.sqrt(n_kinks)
    return Problem(
        "net",
        "kinked",
        value=lambda x: relu(x @ into.T + bias) @ out,
        gradient=lambda x: (above(x @ into.T + bias) * out) @ into,
        baseline=(0.0,) * n_features,
        example=(1.0,) * n_features,
        exact=(0.0,) * n_features,
    )


@pytest.mark.parametrize("most", [2, 5, 12, 18, 30, 60])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_no_more_is_kept_than_allowed_and_the_answer_is_within_tolerance_or_says_so(problem, most):
    for tolerance in (Tolerance(1e-2, ABSOLUTE), Tolerance(1e-4, ABSOLUTE), Tolerance(1e-3, ABSOLUTE, 0.01)):
        integral, _ = run(problem, most, tolerance, budget=300)
        assert_honest(integral, straight(problem))


@pytest.mark.parametrize("seed", range(3))
def test_a_net_with_many_kinks_is_integrated_with_a_fifth_of_its_vectors(seed):
    problem, tolerance = kinked_net(seed), Tolerance(1e-3, ABSOLUTE)
    whole = integrate(AdaptiveIntegrator(straight(problem).curves, 1, Tolerance(1e-4, ABSOLUTE), 3000), problem)
    n_nodes = len(whole.nodes)
    assert n_nodes > 300
    integral, kept = run(problem, n_nodes // 5, Tolerance(1e-4, ABSOLUTE))
    assert integral.stop_reason is StopReason.TOLERANCE
    assert kept.seals > 2
    assert len(integral.nodes) < 1.3 * n_nodes
    assert_honest(integral, straight(problem))
    # The vectors too, not only their sums.
    found = straight(problem).summed(integral, integral.weights[0])
    exact = straight(problem).summed(whole, whole.weights[0])
    np.testing.assert_allclose(found, exact, atol=tolerance.relative * np.abs(exact).sum())


def test_whoever_may_keep_all_computes_the_same():
    for problem in tagged("smooth", "kinked", "singular_end"):
        tolerance = Tolerance(1e-3, ABSOLUTE, 0.01)
        whole = integrate(AdaptiveIntegrator(straight(problem).curves, 1, tolerance, 400), problem)
        roomy, kept = run(problem, 2000, tolerance, budget=400)
        assert same(whole, roomy)
        assert kept.seals == 0


def test_a_sealed_panel_is_never_split_again_and_its_nodes_weights_stay():
    problem = kinked_net(1)
    integrator = AdaptiveIntegrator(straight(problem).curves, 1, Tolerance(1e-4, ABSOLUTE), 2000, 60)
    kept, journey = Kept(straight(problem), 60), straight(problem)
    gone: dict[int, float] = {}
    while not integrator.done:
        kept.seal(integrator)
        now = integrator.weights_now() or {}
        assert all(now[node] == weight for node, weight in gone.items())
        gone = {node: now.get(node, 0.0) for node in kept.gone}
        stretches = sorted(kept.nodes[node].alpha for node in gone)
        asks = integrator.ask()
        for ask in asks:
            kept.nodes |= {node.index: node for node in ask.nodes}
            kept.kept |= {node.index for node in ask.nodes if ask.gradient}
            if stretches and ask.gradient:
                # The nodes on both sides of a new one are still kept.
                alphas = sorted((node.alpha, index) for index, node in kept.nodes.items())
                place = alphas.index((ask.nodes[0].alpha, ask.nodes[0].index))
                beside = {alphas[place - 1][1], alphas[place + 1][1]}
                assert not beside & gone.keys()
            tell(integrator, journey, ask)
    assert len(gone) > 100


@pytest.mark.parametrize("seed", range(2))
def test_polylines_and_several_targets_seal_too(seed):
    nets = kinked_net(seed), kinked_net(seed + 10)
    journey = chain((0.0, 0.0, 0.0), (0.2, 0.9, 0.4), (1.0, 1.0, 1.0), targets=nets)
    integral, kept = run(journey, 120, Tolerance(3e-4, ABSOLUTE))
    assert kept.seals > 0
    assert_honest(integral, journey)
    assert integral.stop_reason is StopReason.TOLERANCE


def test_where_nothing_may_be_sealed_it_stops_for_want_of_memory():
    net = kinked_net(0)
    journey = star((1.0,) * 3, (0.0,) * 3, (0.1, 0.3, 0.0), targets=(net,))
    integrator = AdaptiveIntegrator(journey.curves, 1, Tolerance(1e-4, ABSOLUTE), 2000, 40, seals=False)
    kept = Kept(journey, 40)
    integral = kept.run(integrator)
    assert integral.stop_reason is StopReason.MEMORY
    assert integral.converged == (False,)
    assert (kept.seals, kept.peak) == (0, 40)
    assert_honest(integral, journey)


def test_an_attribution_tolerance_that_sealed_panels_cannot_meet_is_not_said_to_be_met():
    problem = named("turning_gradients")
    integral, _ = run(problem, 12, Tolerance(1e-2, ABSOLUTE, 1e-6), budget=300)
    assert integral.attribution_errors is not None
    assert integral.attribution_errors[0] > 1e-6
    assert integral.converged == (False,)
    assert integral.stop_reason in (StopReason.MEMORY, StopReason.MAX_EVALUATIONS)


def test_the_coarse_rule_of_what_is_sealed_is_coarser():
    problem = kinked_net(2)
    integral, kept = run(problem, 60, Tolerance(1e-4, ABSOLUTE))
    fine, coarse = kept.sealed[0]
    assert coarse
    assert set(coarse) < set(fine)
    assert sum(integral.weights[0].values()) == pytest.approx(1.0, rel=CLOSE)
    assert sum(integral.coarse_weights[0].values()) == pytest.approx(1.0, rel=CLOSE)


@pytest.mark.parametrize("rule", FIXED_RULES)
@pytest.mark.parametrize("most", [1, 3, 7, 19, 20])
def test_a_fixed_rule_of_more_nodes_than_may_be_kept_is_summed_up_round_by_round(rule, most):
    problem = named("odd_kinks")
    for journey in (straight(problem), chain((0.0, 0.0), (0.3, 0.8), (1.0, 1.0), targets=(problem,))):
        n_ends = len(journey.curves)  # a vertex has a vector for each of its curves
        make = FIXED_RULES[rule](20)
        kept = Kept(journey, max(most, n_ends))
        integral = kept.run(FixedIntegrator(journey.curves, make, 1, Tolerance(0.1, ABSOLUTE), most))
        whole = integrate(FixedIntegrator(journey.curves, make, 1, Tolerance(0.1, ABSOLUTE)), journey)
        assert same(integral, whole)
        assert kept.seals >= len(whole.weights[0]) // max(most, n_ends) - 1
        # All but the last round is in the sums.
        assert len(kept.gone) + len(kept.kept) >= len(whole.weights[0])
        assert all(kept.sealed[0][0][node] == whole.weights[0][node] for node in kept.gone & whole.weights[0].keys())


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    n_kinks=st.integers(1, 120),
    most=st.integers(2, 80),
    relative=st.sampled_from([1e-2, 1e-3, 1e-4]),
    attribution=st.sampled_from([None, 0.05, 0.005]),
    budget=st.integers(10, 300),
)
def test_whatever_is_asked_nothing_forgotten_is_used_and_nothing_false_is_said(
    seed, n_kinks, most, relative, attribution, budget
):
    problem = kinked_net(seed, n_kinks)
    integral, _ = run(problem, most, Tolerance(relative, ABSOLUTE, attribution), budget)
    assert_honest(integral, straight(problem))
