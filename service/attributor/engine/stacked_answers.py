"""The answers of many alike inputs in words, from arrays: what `answer.path_results` says of each. Knows what was asked
and what was found; no model, no job's state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

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
from attributor.jobs.model import OutputKind, OutputScale, Tensors
from attributor.jobs.result import (
    BaselineResult,
    Nodes,
    PathResult,
    ResolvedTarget,
    ResultColumns,
    ResultWarning,
    numbers_or_none,
)
from attributor.model_port import StackTold

T = TypeVar("T")


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


def answers(
    alike: Alike, asked: Sequence[Row], rows: NDArray[np.intp], told: StackTold, found: Integrated
) -> "Answers":
    """Of inputs whose numbers in the stack are `rows`. All of them are representable."""
    rounds = found.rounds
    served = {name: values.astype(np.float32) for name, values in found.fine.items()}
    scores = told.scores[rows]
    figures = _figures(served, found, scores[:, -1], scores[:, 0])
    limits = rounds.limits[rows]
    predicted = told.tops[rows].tolist() if alike.info.output.kind is not OutputKind.VALUES else [None] * len(rows)
    weights = np.zeros(scores.shape)
    weights[:, 1:-1] = rounds.weights[rows]
    columns = {
        "inputs": np.array([row.number for row in asked]),
        "scores": scores,
        "weights": weights,
        "slopes": told.slopes[rows],
        **figures,
        "absolute_tolerances": _absolute_tolerances(alike, limits, scores[:, -1] - scores[:, 0]),
        "computing_s": np.array([row.computing_s for row in asked]),
    }
    return Answers(
        _like(alike, found.rule, found.made),
        columns,
        served,
        _targets(alike, [told.resolved[row] for row in rows.tolist()], predicted),
        _warnings(alike, asked, scores, limits, rounds.variations[rows], figures["attribution_errors"]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Of many jobs' inputs: what ResultColumns holds, but targets and warnings as a list of each row's."""

    like: PathResult
    columns: Mapping[str, NDArray[Any]]
    attributions: Tensors
    targets: Sequence[ResolvedTarget]
    warnings: Sequence[tuple[ResultWarning, ...]]

    def of(self, rows: Sequence[int]) -> ResultColumns:
        """Some of them, with nothing of the others."""
        if len(rows) == len(self.targets):
            columns, attributions, targets, warnings = self.columns, self.attributions, self.targets, self.warnings
        else:
            columns, attributions = _taken(self.columns, rows), _taken(self.attributions, rows)
            targets, warnings = [self.targets[row] for row in rows], [self.warnings[row] for row in rows]
        each_target, target = _distinct(targets)
        each_warnings, warned = _distinct(warnings)
        return ResultColumns(
            self.like,
            targets=each_target,
            target=target,
            attributions=attributions,
            warnings=each_warnings,
            warned=warned,
            **columns,
        )


def _taken(arrays: Mapping[str, NDArray[Any]], rows: Sequence[int]) -> dict[str, NDArray[Any]]:
    return {name: values[rows] for name, values in arrays.items()}


def _distinct(values: Sequence[T]) -> tuple[tuple[T, ...], NDArray[np.int64]]:
    """Each once, and which of them stands where."""
    places: dict[T, int] = {}
    at = [places.setdefault(value, len(places)) for value in values]
    return tuple(places), np.array(at)


@lru_cache(maxsize=256)
def _like(alike: Alike, rule: Rule, made: int) -> PathResult:
    """What the answers of such inputs have in common after so many rounds."""
    explanation, quadrature, n = alike.explanation, alike.quadrature, rule.n
    alphas = (0.0, *rule.alphas, 1.0)
    nothing = ResolvedTarget((), (), "", None, alike.target.scale, predicted=False)
    return PathResult(
        input=0,
        method=explanation.method,
        target=nothing,
        score=0.0,
        baseline_score=0.0,
        attribution_sum=0.0,
        completeness_error=0.0,
        relative_completeness_error=None,
        completeness_reason=None,
        tolerance=quadrature.tolerance,
        absolute_tolerance=None,
        attribution_tolerance=None,
        converged=True,
        stop_reason=StopReason.TOLERANCE.value,
        attribution_error=None,
        rule=quadrature.rule.value,
        evaluations=n,
        forwards=n + 2 * made,
        backwards=n,
        nodes=Nodes(alphas, (), (), (), (0,) * len(alphas)),
        attributions={},
        baseline=alike.baseline.tensors,
        baselines=(BaselineResult(alike.baseline.name, 0.0, None),),
        warnings=(),
        computing_s=0.0,
        seed=explanation.seed,
        precision=explanation.precision,
    )


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
) -> dict[str, Floats]:
    """By columns of ResultColumns; a relative error of nothing is not a number."""
    gap = score - baseline_score
    # Of the numbers as they are served, float32: who adds them up finds the stated sum and the stated error.
    added = _by_row(served)
    errors = np.abs(added - gap)
    size = _by_row({name: np.abs(values) for name, values in found.fine.items()})
    differences = _by_row({name: np.abs(values - found.coarse[name]) for name, values in found.fine.items()})
    return {
        "sums": added,
        "errors": errors,
        "relative_errors": np.divide(errors, np.abs(gap), out=np.full_like(gap, np.nan), where=gap != 0),
        "baseline_errors": np.abs(_by_row(found.fine) - gap),
        # A sum that is off by so much has entries that are.
        "attribution_errors": np.divide(
            np.maximum(differences, errors), size, out=np.full_like(gap, np.nan), where=size > 0
        ),
    }


def _by_row(values: Mapping[str, NDArray[np.floating]]) -> Floats:
    """Sums over all elements of all inputs, float64."""
    parts = [each.reshape(len(each), -1).sum(axis=1, dtype=np.float64) for each in values.values()]
    return np.asarray(sum(parts[1:], start=parts[0]))


def _absolute_tolerances(alike: Alike, limits: Floats, gaps: Floats) -> Floats:
    """The one asked for, or the larger one that took the place of the relative tolerance."""
    quadrature = alike.quadrature
    if quadrature.tolerance is None:
        return np.full(len(limits), quadrature.absolute_tolerance)
    governs = limits > quadrature.tolerance * np.abs(gaps)
    return np.where(governs, limits, quadrature.absolute_tolerance)


def _warnings(
    alike: Alike, asked: Sequence[Row], scores: Floats, limits: Floats, variations: Floats, off: Floats
) -> list[tuple[ResultWarning, ...]]:
    """Most important first, as `cautions` has them."""
    examples = stacked([row.spec.inputs[row.number] for row in asked])
    of_examples = of_inputs(alike.explanation, alike.info, examples, [alike.baseline.tensors])
    n_outputs = len(alike.info.output.labels)
    scale = OutputScale.VALUE if alike.info.output.kind is OutputKind.VALUES else alike.target.scale
    found = []
    figures = zip(scores[:, -1].tolist(), scores[:, 0].tolist(), limits.tolist(), variations.tolist(), strict=True)
    for (score, baseline_score, limit, variation), error, own in zip(
        figures, numbers_or_none(off), of_examples, strict=True
    ):
        said = (
            *absolute_governs(alike.quadrature, score - baseline_score, limit, variation),
            *vector_differs(error),
            *small_or_large(score, baseline_score, scale, n_outputs),
            *own,
        )
        found.append(tuple([ResultWarning(code, message) for code, message in said]))
    return found
