"""From what was found to the answer in words: sums, completeness, attribution error, labels, warnings."""

from collections.abc import Mapping
from functools import lru_cache
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.core.completeness import completeness
from attributor.core.integrator import Integral
from attributor.engine.cautions import cautions
from attributor.engine.outcome import Integration, Outcome, as_served, l1, total
from attributor.engine.work import Costs, Question
from attributor.jobs.explanation import Method, Target
from attributor.jobs.job import Quadrature
from attributor.jobs.model import ModelInfo, Tensors
from attributor.jobs.result import BaselineResult, Nodes, PathResult, ResolvedTarget


def path_results(question: Question, costs: Costs, outcome: Outcome, computing_s: float) -> tuple[PathResult, ...]:
    """One result per target. Raises NonFiniteGradient where an attribution overflows float32."""
    return tuple(_result(question, costs, outcome, k, computing_s) for k in range(len(outcome.targets)))


def _result(question: Question, costs: Costs, outcome: Outcome, k: int, computing_s: float) -> PathResult:
    explanation, quadrature = question.explanation, question.spec.quadrature
    integration = outcome.integration
    integral = integration.integral if integration else None
    served = as_served(outcome.attributions[k])
    # Of the numbers as they are served, float32: who adds them up finds the stated sum and the stated error.
    attribution_sum = total(served)
    score, baseline_score = outcome.scores[k], outcome.baseline_score(k)
    complete = None
    if outcome.incomplete is None and baseline_score is not None:
        complete = completeness(attribution_sum, score, baseline_score)
    error = _attribution_error(outcome, k, complete.error if complete else 0.0)
    return PathResult(
        input=question.number,
        method=explanation.method,
        target=resolved_target(outcome, k, question.info),
        score=score,
        baseline_score=baseline_score,
        attribution_sum=attribution_sum,
        completeness_error=complete.error if complete else None,
        relative_completeness_error=complete.relative if complete else None,
        completeness_reason=outcome.incomplete,
        tolerance=quadrature.tolerance if outcome.converged else None,
        absolute_tolerance=_absolute_tolerance(quadrature, integral, k) if outcome.converged else None,
        attribution_tolerance=quadrature.attribution_tolerance if outcome.converged else None,
        converged=outcome.converged[k] if outcome.converged else None,
        stop_reason=integral.stop_reason.value if integral else None,
        attribution_error=error,
        rule=_rule(question, outcome),
        evaluations=costs.evaluations,
        forwards=costs.forwards,
        backwards=costs.backwards,
        nodes=_nodes(integration, k) if integration else None,
        attributions=served,
        baseline=_mean_baseline(outcome),
        baselines=tuple(
            BaselineResult(line.baseline.name, line.scores[k], line.errors[k] if line.errors else None)
            for line in outcome.lines
        ),
        warnings=cautions(question, outcome, k, error),
        computing_s=computing_s,
        spread=as_served(outcome.spreads[k]) if outcome.spreads else None,
        standard_error=as_served(outcome.standard_errors[k]) if outcome.standard_errors else None,
        interior=outcome.interior[k] if outcome.interior else None,
        saturation=outcome.saturation if k == 0 else None,
        layer=outcome.layer,
        seed=explanation.seed,
        precision=explanation.precision,
        precision_error=outcome.precision_errors[k] if outcome.precision_errors else None,
    )


def _absolute_tolerance(quadrature: Quadrature, integral: Integral | None, k: int) -> float:
    """The one asked for, or the larger one that took the place of the relative tolerance (core/integrator.py)."""
    if integral is None or quadrature.tolerance is None:
        return quadrature.absolute_tolerance
    governs = integral.limits[k] > quadrature.tolerance * abs(integral.gaps[k])
    return integral.limits[k] if governs else quadrature.absolute_tolerance


def _rule(question: Question, outcome: Outcome) -> str | None:
    if question.explanation.method is Method.EXPECTED_GRADIENTS:
        return "random"
    return question.spec.quadrature.rule.value if outcome.converged else None


def resolved_target(outcome: Outcome, k: int, info: ModelInfo) -> ResolvedTarget:
    """A target with the names of its outputs."""
    return named_target(outcome.targets[k], outcome.predicted[k], info)


def named_target(target: Target, predicted_class: int | None, info: ModelInfo) -> ResolvedTarget:
    """The same of one target. `predicted_class`: at its position; None for regression."""
    (first, *others) = target.terms
    predicted = not others and first.weight == 1.0 and first.index == predicted_class
    return _named(target, tuple([info.output.labels[term.index] for term in target.terms]), predicted=predicted)


@lru_cache(maxsize=1024)  # The same object for all answers of a class: the codec writes it once.
def _named(target: Target, labels: tuple[str, ...], *, predicted: bool) -> ResolvedTarget:
    return ResolvedTarget(
        terms=target.terms,
        labels=labels,
        label=_label(target, labels),
        position=target.position,
        scale=target.scale,
        predicted=predicted,
    )


def _label(target: Target, labels: tuple[str, ...]) -> str:
    """`A`, `A - B`, `0.5 A + 2 B`."""
    text = ""
    for term, label in zip(target.terms, labels, strict=True):
        factor = "" if abs(term.weight) == 1.0 else f"{abs(term.weight):g} "
        sign = "-" if term.weight < 0 else "+"
        text += f" {sign} {factor}{label}" if text else f"{'-' if term.weight < 0 else ''}{factor}{label}"
    return text


def _attribution_error(outcome: Outcome, k: int, completeness_error: float) -> float | None:
    """||A - A_coarse||_1 / ||A||_1, A_coarse from the same rule on every other node; None where undefined.

    Never below the completeness error over ||A||_1: a sum that is off by so much has entries that are.
    """
    size = l1(outcome.attributions[k])
    coarse = outcome.integration.coarse_differences[k] if outcome.integration else None
    return max(coarse, completeness_error) / size if coarse is not None and size > 0 else None


def _mean_baseline(outcome: Outcome) -> Tensors | None:
    """The mean of the baselines; token ids only where there is one."""
    if not outcome.lines:
        return None
    tensors: list[Mapping[str, NDArray[Any]]] = [line.baseline.tensors for line in outcome.lines]
    if len(tensors) == 1:
        return tensors[0]
    names = [name for name in tensors[0] if tensors[0][name].dtype == np.float32]
    return {
        name: np.mean([each[name] for each in tensors], axis=0, dtype=np.float64).astype(tensors[0][name].dtype)
        for name in names
    }


def _nodes(integration: Integration, k: int) -> Nodes:
    integral = integration.integral
    known = integral.known
    weights = integral.weights[k]
    return Nodes(
        alpha=tuple(known.alpha.tolist()),
        weight=tuple([weights.get(index, 0.0) for index in known.index.tolist()]),
        score=tuple(known.scores[:, k].tolist()),
        slope=tuple([None if isnan(slope) else slope for slope in known.slopes[:, k].tolist()]),
        piece=tuple(known.curve.tolist()),
    )
