"""The procedure of one input: its method, alone or around noisy copies, and the answer in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from attributor.engine.active_job import Procedure
from attributor.engine.answer import path_results
from attributor.engine.diagnostics import smoothed_interior
from attributor.engine.gradients import gradient_x_input, saliency
from attributor.engine.integration import expected_gradients, integrated_gradients
from attributor.engine.noise import combine, noisy_copies
from attributor.engine.outcome import Copy, Line, Outcome, deviation, mean, scaled
from attributor.engine.paths import baselines_of
from attributor.engine.prediction import resolved
from attributor.engine.route import Route
from attributor.engine.shapley import Sampled, shapley_values
from attributor.engine.steps import Steps, in_parts
from attributor.engine.work import Work
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Method, SmoothForm, Smoothing
from attributor.jobs.fitting import cannot_explain
from attributor.jobs.model import InputKind, Tensors
from attributor.jobs.result import InteriorGradients, PathResult
from attributor.ports import Clock

SMOOTHED = "averaged over noisy copies of the input, whose scores differ from this one's"


def shapley(work: Work, copy: Copy) -> Steps[Outcome]:
    """Sampled Shapley paths, averaged over the baselines (Castro, Gomez and Tejada 2009)."""
    baselines = yield from baselines_of(work, copy)
    routes = [work.open(f"{copy.word}orders{n}", copy.example, copy.targets) for n in range(len(baselines))]
    visit_bytes = work.model.vertex_bytes(routes[0].id) * work.model.max_points
    images = [spec.name for spec in work.info.inputs if spec.kind is InputKind.IMAGE]

    def of_baseline(n: int, route: Route, baseline: Tensors) -> Steps[Sampled]:
        rng = work.question.generator("orders", copy.number, n)
        sampled = yield from shapley_values(route, baseline, copy.example, work.explanation.samples, rng, images=images)
        route.close()  # the next may wait for its memory
        return sampled

    procedures = [
        of_baseline(n, route, each.tensors) for n, (route, each) in enumerate(zip(routes, baselines, strict=True))
    ]
    sampled = yield from in_parts(procedures, max(1, work.memory.part_bytes // max(1, visit_bytes)))
    at_example = yield from resolved(work, copy)
    several = len(baselines) > 1
    n_targets = len(at_example.targets)
    spreads = tuple(deviation([each.values[k] for each in sampled]) for k in range(n_targets)) if several else None
    drawn = spreads if all(baseline.random for baseline in baselines) else None
    return Outcome(
        targets=at_example.targets,
        predicted=at_example.predicted,
        scores=sampled[0].score,
        attributions=tuple(mean([each.values[k] for each in sampled]) for k in range(n_targets)),
        lines=tuple(Line(b, each.baseline_score, None) for b, each in zip(baselines, sampled, strict=True)),
        spreads=spreads,
        # Where the baselines are draws, their spread has that of the orders in it.
        standard_errors=tuple(scaled(each, len(baselines) ** -0.5) for each in drawn)
        if drawn
        else tuple(_standard_error(sampled, k) for k in range(n_targets)),
    )


def _standard_error(sampled: list[Sampled], target: int) -> Mapping[str, np.ndarray]:
    """Of the mean over given baselines, whose orders were drawn independently."""
    errors = [each.standard_error[target] for each in sampled]
    return {name: np.sqrt(sum(each[name] ** 2 for each in errors)) / len(errors) for name in errors[0]}


METHODS: Mapping[Method, Callable[[Work, Copy], Steps[Outcome]]] = {
    Method.INTEGRATED_GRADIENTS: integrated_gradients,
    Method.EXPECTED_GRADIENTS: expected_gradients,
    Method.SALIENCY: saliency,
    Method.GRADIENT_X_INPUT: gradient_x_input,
    Method.SHAPLEY: shapley,
}


def explain(clock: Clock) -> Procedure:
    """The procedure that answers an input with one result per target."""

    def procedure(work: Work) -> Steps[tuple[PathResult, ...]]:
        explanation = work.explanation
        method = METHODS.get(explanation.method)
        if method is None:
            raise UnsupportedByModel(f"{explanation.method} is not computed by the engine", field="method")
        if reason := cannot_explain(explanation.method, work.info):
            raise UnsupportedByModel(reason, field="method")
        copy = Copy(work.example, explanation.targets)
        if explanation.smoothing:
            outcome = yield from _smoothed(work, copy, method, explanation.smoothing)
        else:
            outcome = yield from method(work, copy)
        return path_results(work.question, work.costs, outcome, clock() - work.started_s)

    return procedure


def _smoothed(
    work: Work, copy: Copy, method: Callable[[Work, Copy], Steps[Outcome]], smoothing: Smoothing
) -> Steps[Outcome]:
    """SmoothGrad around a method (Smilkov, Thorat, Kim, Viegas and Wattenberg 2017), in the targets resolved at x."""
    at_example = yield from resolved(work, copy)
    copies = noisy_copies(copy.example, work.info, smoothing, work.question.generator("noise"))
    outcomes = yield from in_parts(
        [method(work, Copy(noisy, at_example.targets, f"copy{n}/", n)) for n, noisy in enumerate(copies, start=1)],
        work.memory.copies,
    )
    n_targets = len(at_example.targets)
    samples = [[outcome.attributions[k] for outcome in outcomes] for k in range(n_targets)]
    converged = [outcome.converged for outcome in outcomes if outcome.converged]
    return Outcome(
        targets=at_example.targets,
        predicted=at_example.predicted,
        scores=at_example.scores,
        attributions=tuple(combine(smoothing.form, each) for each in samples),
        incomplete=SMOOTHED,
        lines=_common_lines(outcomes),
        converged=tuple(all(each[k] for each in converged) for k in range(n_targets)) if converged else None,
        standard_errors=tuple(scaled(deviation(each), len(copies) ** -0.5) for each in samples)
        if smoothing.form is SmoothForm.PLAIN
        else None,
        layer=outcomes[0].layer,
        precision_errors=_largest_errors(outcomes),
        interior=_smoothed_interior(work, smoothing.form, outcomes),
    )


def _smoothed_interior(
    work: Work, form: SmoothForm, outcomes: Sequence[Outcome]
) -> tuple[InteriorGradients, ...] | None:
    """Per target, the interior gradients of all copies taken together; None where none are asked for."""
    found = [outcome.interior for outcome in outcomes if outcome.interior]
    return tuple(smoothed_interior(work, form, each) for each in zip(*found, strict=True)) if found else None


def _largest_errors(outcomes: Sequence[Outcome]) -> tuple[float, ...] | None:
    """Per target, the largest error of low precision; None where there is none."""
    errors = [outcome.precision_errors for outcome in outcomes if outcome.precision_errors]
    return tuple(max(each) for each in zip(*errors, strict=True)) if errors else None


def _common_lines(outcomes: Sequence[Outcome]) -> tuple[Line, ...]:
    """The baselines, where all copies had the same; none where they hang on the copy or were drawn for it."""
    first = outcomes[0].lines
    same = all(
        np.array_equal(values, other.baseline.tensors[name])
        for outcome in outcomes[1:]
        for line, other in zip(first, outcome.lines, strict=True)
        for name, values in line.baseline.tensors.items()
    )
    return tuple(replace(line, errors=None) for line in first) if same else ()
