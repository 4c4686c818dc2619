"""Integrated gradients along any paths, and expected gradients: routes, integrators and the sums of their vectors."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from attributor.core.adaptive import AdaptiveIntegrator
from attributor.core.asks import EXAMPLE, Curve
from attributor.core.first_round import fewest_evaluations
from attributor.core.fixed import FixedIntegrator, random_integrator
from attributor.core.integrator import Integral, Integrator, Tolerance
from attributor.core.rules import FIXED_RULES
from attributor.engine import diagnostics
from attributor.engine.baselines import NamedBaseline
from attributor.engine.outcome import (
    Copy,
    Integration,
    Line,
    Outcome,
    deviation,
    l1,
    mean,
    require_representable,
    scaled,
    total,
)
from attributor.engine.paths import Placed, baselines_of, place, walked
from attributor.engine.precise import corrected, recomputed, reserved
from attributor.engine.prediction import predicted_classes
from attributor.engine.route import Route, Vectors
from attributor.engine.sharing import path_spec
from attributor.engine.steps import Steps, integrate
from attributor.engine.work import Work
from attributor.errors import OutOfMemory
from attributor.jobs.explanation import Layer, Quantity
from attributor.jobs.job import Quadrature, RuleName
from attributor.jobs.keeping import kept, sums_can_be_taken
from attributor.jobs.result import LayerResult

INFLUENCE = "influence is a mean gradient of the layer: it has no factor that would make it add up to the score"


@dataclass(frozen=True, slots=True)
class Room:
    """The most nodes whose vectors may be kept at a time, and whether their sums may be taken in the meantime."""

    nodes: int
    seals: bool


def integrator_for(
    quadrature: Quadrature, curves: Sequence[Curve], n_targets: int, room: Room | None = None, rounds: int = 0
) -> Integrator:
    """The integrator that a request's quadrature names. `rounds`: with so many rounds of evenly spread gradients an
    adaptive one begins; 0: scores show where its first gradients are wanted. Raises ValueError for counts that it
    cannot work with."""
    tolerance = tolerance_of(quadrature)
    most_kept = room.nodes if room else None
    if quadrature.rule is RuleName.ADAPTIVE:
        seals = room is None or room.seals
        budget = quadrature.max_evaluations
        integrator = AdaptiveIntegrator(curves, n_targets, tolerance, budget, most_kept, seals=seals)
        return integrator.without_a_look(rounds) if rounds else integrator
    if quadrature.n_steps is None:
        raise ValueError("a fixed rule needs n_steps")
    rule = FIXED_RULES[quadrature.rule](quadrature.n_steps)
    return FixedIntegrator(curves, rule, n_targets, tolerance, most_kept if room and room.seals else None)


def _room(work: Work, route: Route, placed: Placed) -> Room:
    """What a copy's part of the memory holds on a route. Raises OutOfMemory where that is not what it needs at the
    least; its vertices may go beyond, as vectors are what is bounded."""
    explanation = work.explanation
    needed = kept(explanation, work.question.spec.quadrature)
    one, part = max(1, route.model.vector_bytes(route.id)), work.memory.part_bytes
    beside = needed.beside + reserved(explanation.precision, seals=True)
    if (needed.nodes + beside) * one > part:
        raise OutOfMemory(
            f"This explanation keeps {needed.nodes + beside} vectors of {one} bytes at a time at the least, and the "
            f"vectors of a job may take {work.memory.job_bytes} bytes (worker.job_vector_bytes). Ask for fewer "
            "targets, baselines or samples, or a smaller layer or input."
        )
    vertices = needed.vertices * route.model.vertex_bytes(route.id)
    nodes = (part - vertices) // one - beside
    seals = sums_can_be_taken(explanation, len(placed.baselines), len(placed.curves))
    return Room(max(needed.nodes, nodes), seals)


def _is_influence(layer: Layer | None) -> bool:
    return layer is not None and layer.quantity is Quantity.INFLUENCE


def tolerance_of(quadrature: Quadrature) -> Tolerance:
    """What a request allows."""
    return Tolerance(quadrature.tolerance, quadrature.absolute_tolerance, quadrature.attribution_tolerance)


def integrated_gradients(work: Work, copy: Copy) -> Steps[Outcome]:
    """Path integrated gradients, averaged over the baselines (Sundararajan, Taly and Yan 2017, equations 1 and 2)."""
    baselines = yield from baselines_of(work, copy)
    quadrature = work.question.spec.quadrature

    def integrator(curves: Sequence[Curve], room: Room) -> Integrator:
        left = quadrature.max_evaluations
        seals = room.seals and left > room.nodes
        spent = walked(work, len(baselines)) + reserved(work.explanation.precision, seals=seals)
        if spent:  # gone, but the integration needs its first nodes
            left = max(left - spent, fewest_evaluations(curves))
        rounds = 0 if work.model.looks or len(curves) > 1 else work.rounds_made
        return integrator_for(replace(quadrature, max_evaluations=left), curves, len(copy.targets), room, rounds)

    return (yield from _along(work, copy, baselines, integrator))


def expected_gradients(work: Work, copy: Copy) -> Steps[Outcome]:
    """One random alpha per random draw of a baseline (Erion, Janizek, Sturmfels, Lundberg and Lee 2021)."""
    samples = work.explanation.samples
    drawn = yield from baselines_of(work, copy, draws=samples)
    rng = work.question.generator("alphas", copy.number)
    # Each draw of a list of baselines picks one of the list, so that draws are independent of each other.
    by_spec = [list(group) for _, group in groupby(drawn, key=lambda baseline: baseline.place)]
    picks = rng.integers(len(by_spec), size=samples).tolist()
    baselines = [by_spec[pick][n % len(by_spec[pick])] for n, pick in enumerate(picks)]
    alphas = rng.uniform(size=samples).tolist()

    def integrator(curves: Sequence[Curve], room: Room) -> Integrator:
        # However little room there is: each draw's attributions are wanted, for their deviation.
        return random_integrator(curves, alphas, len(copy.targets), tolerance_of(work.question.spec.quadrature))

    outcome = yield from _along(work, copy, baselines, integrator)
    return replace(
        outcome,
        # One random node says nothing of a single baseline's path, and there is no rule whose nodes could be shown.
        lines=tuple(replace(line, errors=None) for line in outcome.lines),
        converged=None,
        integration=None,
        spreads=None,
        standard_errors=_standard_errors(outcome.spreads, samples),
    )


def _along(
    work: Work, copy: Copy, baselines: list[NamedBaseline], integrator: Callable[[Sequence[Curve], Room], Integrator]
) -> Steps[Outcome]:
    """Integrate on the paths from the baselines to the example, with the diagnostics that the request asks for."""
    explanation = work.explanation
    spec = path_spec(explanation, copy.example, copy.targets, len(baselines))
    route = work.open_as(f"{copy.word}path", spec)
    placed = yield from place(work, copy, route, baselines)
    integral = yield from integrate(route, integrator(placed.curves, _room(work, route, placed)))
    if _is_influence(explanation.layer):
        integral = _per_path(placed, integral)
    precise = yield from recomputed(work, copy, route, placed, integral)
    interior = yield from diagnostics.interior_gradients(work, copy, route, placed)
    along = yield from diagnostics.saturation(work, route, placed, integral)
    outcome = _outcome(work, route, placed, integral)
    if precise:
        outcome = corrected(outcome, precise)
    route.close()
    return outcome if interior is None and along is None else replace(outcome, interior=interior, saturation=along)


def _outcome(work: Work, route: Route, placed: Placed, integral: Integral) -> Outcome:
    n_targets = len(integral.weights)
    layer = work.explanation.layer
    influence = _is_influence(layer)
    shares = [_shares(route, placed, integral, k) for k in range(n_targets)]
    for line in (line for each in shares for line in each):
        require_representable(line)  # before anything is made of values that are not finite
    attributions = tuple(mean(each) for each in shares)
    several = len(placed.baselines) > 1
    spreads = tuple(deviation(each) for each in shares) if several else None
    drawn = several and all(baseline.random for baseline in placed.baselines)
    return Outcome(
        targets=route.model.targets(route.id),
        predicted=predicted_classes(work, route),
        scores=_example_scores(integral, placed),
        attributions=attributions,
        incomplete=INFLUENCE if influence else None,
        lines=_lines(placed, integral, None if influence else shares),
        converged=integral.converged,
        integration=Integration(placed.curves, integral, _coarse_differences(route, integral, attributions)),
        spreads=spreads,
        standard_errors=_standard_errors(spreads, len(placed.baselines)) if drawn else None,
        layer=_layer_result(route, layer, placed) if layer else None,
    )


def _shares(route: Route, placed: Placed, integral: Integral, target: int) -> list[Vectors]:
    """The attributions of each baseline's own path."""
    weights = integral.weights[target]
    if len(placed.baselines) == 1:
        return [route.attributions(target, weights)]
    lines: list[dict[int, float]] = [{} for _ in placed.baselines]
    known = integral.known
    for index, number in zip(known.index.tolist(), known.curve.tolist(), strict=True):
        curve = placed.curves[number]
        if index in weights:
            lines[curve.line][index] = weights[index] / curve.weight
    return [route.attributions(target, line) for line in lines]


def _coarse_differences(
    route: Route, integral: Integral, attributions: tuple[Vectors, ...]
) -> tuple[float | None, ...]:
    """||A - A_coarse||_1 per target, with A_coarse from the same rule on every other node."""
    return tuple(
        None
        if weights is None
        else l1(
            {
                name: attributions[k][name] - values
                for name, values in route.attributions(k, weights, coarse=True).items()
            }
        )
        for k, weights in enumerate(integral.coarse_weights)
    )


def _example_scores(integral: Integral, placed: Placed) -> tuple[float, ...]:
    last = next(n for n, curve in enumerate(placed.curves) if curve.end == EXAMPLE)
    known = integral.known
    # Nodes stand by curve, then alpha.
    return tuple(known.scores[int(known.curve.searchsorted(last, side="right")) - 1].tolist())


def _per_path(placed: Placed, integral: Integral) -> Integral:
    """Weights that sum to 1 on every path: a mean over it has no gamma' that would make up for its number of pieces."""
    pieces = Counter(curve.line for curve in placed.curves)
    nodes = zip(integral.known.index.tolist(), integral.known.curve.tolist(), strict=True)
    share = {index: 1 / pieces[placed.curves[number].line] for index, number in nodes}

    def shared(weights: Mapping[int, float]) -> dict[int, float]:
        return {index: weight * share[index] for index, weight in weights.items()}

    return replace(
        integral,
        weights=tuple(shared(weights) for weights in integral.weights),
        coarse_weights=tuple(weights and shared(weights) for weights in integral.coarse_weights),
    )


def _lines(placed: Placed, integral: Integral, shares: list[list[Vectors]] | None) -> tuple[Line, ...]:
    """Per baseline its scores and what its own attributions (if they should add up) miss."""
    scores = _example_scores(integral, placed)
    starts: dict[int, tuple[float, ...]] = {}
    known = integral.known
    for n in np.flatnonzero(known.alpha == 0.0).tolist():
        starts.setdefault(placed.curves[int(known.curve[n])].line, tuple(known.scores[n].tolist()))
    return tuple(
        Line(
            baseline,
            starts[n],
            None
            if shares is None
            else tuple(abs(total(shares[k][n]) - (score - starts[n][k])) for k, score in enumerate(scores)),
        )
        for n, baseline in enumerate(placed.baselines)
    )


def _standard_errors(spreads: tuple[Vectors, ...] | None, samples: int) -> tuple[Vectors, ...] | None:
    return spreads and tuple(scaled(each, 1 / np.sqrt(samples)) for each in spreads)


def _layer_result(route: Route, layer: Layer, placed: Placed) -> LayerResult:
    return LayerResult(layer.name, layer.quantity, route.layer_is_cut(placed.baselines[0].tensors))
