"""The answers of many alike inputs in words, from arrays: what `answer.path_results` says of each. Knows what was asked
and what was found; no model, no job's state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Floats
from attributor.core.integrator import StopReason
from attributor.core.spectral import Rule
from attributor.core.stack import FirstRounds
from attributor.engine.alike import Alike, stacked
from attributor.engine.answer import named_target
from attributor.engine.cautions import absolute_governs, small_or_large, vector_differs
from attributor.engine.input_cautions import of_inputs
from attributor.jobs.explanation import Target
from attributor.jobs.job import JobSpec
from attributor.jobs.model import OutputKind, OutputScale
from attributor.jobs.result import BaselineResult, Nodes, PathResult, ResolvedTarget, ResultWarning
from attributor.model_port import StackTold


@dataclass(frozen=True, slots=True)
class Row:
    """An input to be answered, and for how long its job has been computed, seconds."""

    spec: JobSpec
    number: int
    computing_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Integrated:
    """Rows of a stack after so many rounds (`made`), by the nodes of `rule`: what `rounds` found of all, and of those
    that are answered weighted sums of vectors, by the rule and by every other node, per input, shape (rows, *input
    shape)."""

    rule: Rule
    made: int
    rounds: FirstRounds
    fine: Mapping[str, Floats]
    coarse: Mapping[str, Floats]


@dataclass(frozen=True, slots=True)
class _Figures:
    """Numbers of the answers, per row; None stands for a relative error of nothing."""

    sums: list[float]
    errors: list[float]
    relative: list[float | None]
    baseline_errors: list[float]
    attribution_errors: list[float | None]


def answers(
    alike: Alike, asked: Sequence[Row], rows: NDArray[np.intp], told: StackTold, found: Integrated
) -> list[PathResult]:
    """One per input, whose numbers in the stack are `rows`. All of them are representable."""
    rule, rounds = found.rule, found.rounds
    served = {name: values.astype(np.float32) for name, values in found.fine.items()}
    scores = told.scores[rows]
    figures = _figures(served, found, scores[:, -1], scores[:, 0])
    warnings = _warnings(alike, asked, rows, scores, rounds, figures)
    nodes = _nodes(rule, rounds.weights[rows], scores, told.slopes[rows])
    predicted = told.tops[rows].tolist() if alike.info.output.kind is not OutputKind.VALUES else [None] * len(rows)
    limits = _absolute_tolerances(alike, rounds.limits[rows], scores[:, -1] - scores[:, 0])
    targets = _targets(alike, [told.resolved[row] for row in rows.tolist()], predicted)
    explanation, quadrature, n = alike.explanation, alike.quadrature, rule.n
    rule_name, stop_reason = quadrature.rule.value, StopReason.TOLERANCE.value
    baseline = alike.baseline
    results = []
    for i in range(len(rows)):
        score, baseline_score = nodes[i].score[-1], nodes[i].score[0]
        results.append(
            PathResult(
                input=asked[i].number,
                method=explanation.method,
                target=targets[i],
                score=score,
                baseline_score=baseline_score,
                attribution_sum=figures.sums[i],
                completeness_error=figures.errors[i],
                relative_completeness_error=figures.relative[i],
                completeness_reason=None,
                tolerance=quadrature.tolerance,
                absolute_tolerance=limits[i],
                attribution_tolerance=None,
                converged=True,
                stop_reason=stop_reason,
                attribution_error=figures.attribution_errors[i],
                rule=rule_name,
                evaluations=n,
                forwards=n + 2 * found.made,
                backwards=n,
                nodes=nodes[i],
                attributions={name: values[i] for name, values in served.items()},
                baseline=baseline.tensors,
                baselines=(BaselineResult(baseline.name, baseline_score, figures.baseline_errors[i]),),
                warnings=warnings[i],
                computing_s=asked[i].computing_s,
                seed=explanation.seed,
                precision=explanation.precision,
            )
        )
    return results


def _targets(alike: Alike, resolved: Sequence[Target], predicted: Sequence[int | None]) -> list[ResolvedTarget]:
    """By name, per row. Equal ones are one object in a pass, and are named once."""
    named: dict[tuple[int, int | None], ResolvedTarget] = {}
    found = []
    for target, top in zip(resolved, predicted, strict=True):
        word = id(target), top
        if word not in named:
            named[word] = named_target(target, top, alike.info)
        found.append(named[word])
    return found


def _figures(
    served: Mapping[str, NDArray[np.float32]], found: Integrated, score: Floats, baseline_score: Floats
) -> _Figures:
    gap = score - baseline_score
    # Of the numbers as they are served, float32: who adds them up finds the stated sum and the stated error.
    added = _by_row(served)
    errors = np.abs(added - gap)
    relative = np.divide(errors, np.abs(gap), out=np.full_like(gap, np.nan), where=gap != 0)
    size = _by_row({name: np.abs(values) for name, values in found.fine.items()})
    differences = _by_row({name: np.abs(values - found.coarse[name]) for name, values in found.fine.items()})
    # A sum that is off by so much has entries that are.
    of_vector = np.divide(np.maximum(differences, errors), size, out=np.full_like(gap, np.nan), where=size > 0)
    return _Figures(
        added.tolist(),
        errors.tolist(),
        _none_for_nan(relative),
        np.abs(_by_row(found.fine) - gap).tolist(),
        _none_for_nan(of_vector),
    )


def _by_row(values: Mapping[str, NDArray[np.floating]]) -> Floats:
    """Sums over all elements of all inputs, float64."""
    parts = [each.reshape(len(each), -1).sum(axis=1, dtype=np.float64) for each in values.values()]
    return np.asarray(sum(parts[1:], start=parts[0]))


def _none_for_nan(values: Floats) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def _absolute_tolerances(alike: Alike, limits: Floats, gaps: Floats) -> list[float]:
    """The one asked for, or the larger one that took the place of the relative tolerance."""
    quadrature = alike.quadrature
    if quadrature.tolerance is None:
        return [quadrature.absolute_tolerance] * len(limits)
    governs = limits > quadrature.tolerance * np.abs(gaps)
    found: list[float] = np.where(governs, limits, quadrature.absolute_tolerance).tolist()
    return found


def _warnings(
    alike: Alike,
    asked: Sequence[Row],
    rows: NDArray[np.intp],
    scores: Floats,
    rounds: FirstRounds,
    figures: _Figures,
) -> list[tuple[ResultWarning, ...]]:
    """Most important first, as `cautions` has them."""
    examples = stacked([row.spec.inputs[row.number] for row in asked])
    of_examples = of_inputs(alike.explanation, alike.info, examples, [alike.baseline.tensors])
    limits, variations = rounds.limits[rows].tolist(), rounds.variations[rows].tolist()
    n_outputs = len(alike.info.output.labels)
    scale = OutputScale.VALUE if alike.info.output.kind is OutputKind.VALUES else alike.target.scale
    found = []
    for i, (score, baseline_score) in enumerate(zip(scores[:, -1].tolist(), scores[:, 0].tolist(), strict=True)):
        said = (
            *absolute_governs(alike.quadrature, score - baseline_score, limits[i], variations[i]),
            *vector_differs(figures.attribution_errors[i]),
            *small_or_large(score, baseline_score, scale, n_outputs),
            *of_examples[i],
        )
        found.append(tuple([ResultWarning(code, message) for code, message in said]))
    return found


def _nodes(rule: Rule, weights: Floats, scores: Floats, slopes: Floats) -> list[Nodes]:
    """Per row; no gradient was asked for at the ends."""
    alpha = (0.0, *rule.alphas, 1.0)
    piece = (0,) * len(alpha)
    each = zip(weights.tolist(), scores.tolist(), slopes.tolist(), strict=True)
    return [
        Nodes(alpha, (0.0, *weight, 0.0), tuple(score), (None, *slope, None), piece) for weight, score, slope in each
    ]
