"""What a reader should know before trusting an attribution: the warnings that go with every answer.

"Warnings are part of the product": each has a stable code and a sentence that says what to do.
"""

from collections.abc import Iterator

import numpy as np

from attributor.core.integrator import Integral, StopReason, Tolerance
from attributor.jobs.job import JobSpec
from attributor.jobs.model import InputSpec, ModelInfo, OutputScale, Tensors
from attributor.jobs.result import ResultWarning

#: A gap below this says little: Vertex Explainable AI's documentation advises another baseline there.
SMALL_GAP = 0.05
#: A baseline should score "near zero" (Sundararajan, Taly and Yan 2017, section 5); ours: this share of the score.
BASELINE_SHARE = 0.2
#: Share of features at their baseline from which it is said that they get zero. Ours: less is no surprise to anyone.
EQUAL_SHARE = 0.1
#: An estimated error of the attributions, relative L1, from which it is said. Ours: ranks of features change then.
LARGE_ATTRIBUTION_ERROR = 0.1
#: So many features outside their domain are named; the rest are counted.
NAMED_FEATURES = 5

#: The adaptive rule asks that the errors of the path's parts add up to less than the tolerance, so that they cannot
#: cancel by luck: the completeness error itself may be small all the same.
_STOPPED = {
    StopReason.MAX_EVALUATIONS: "the errors along the path add up to more than the tolerance, and the budget of "
    "evaluations was used up; raise max_evaluations or the tolerance",
    StopReason.FLOAT_NOISE: "the errors along the path add up to more than the tolerance, and what is left is as small "
    "as the model's rounding errors; raise the tolerance",
    StopReason.FIXED_RULE: "the completeness error is above the tolerance: the fixed rule has too few nodes; raise "
    "n_steps or use the adaptive rule",
    StopReason.RESOLUTION: "the errors along the path add up to more than the tolerance, and are left where float32 "
    "cannot tell points of the path apart; raise the tolerance",
    StopReason.DISCONTINUITY: "the errors along the path add up to more than the tolerance: the score jumps on it, or "
    "changes too steeply to follow, where no gradient explains it",
}


def cautions(
    info: ModelInfo, spec: JobSpec, example: Tensors, integral: Integral, attribution_error: float | None
) -> tuple[ResultWarning, ...]:
    """The warnings of one answer, most important first."""
    found = [
        *_convergence(spec, integral),
        *_vector(attribution_error),
        *_scores(spec, integral),
        *_inputs(info, spec, example),
    ]
    return tuple(ResultWarning(code, message) for code, message in found)


def _convergence(spec: JobSpec, integral: Integral) -> Iterator[tuple[str, str]]:
    quadrature = spec.quadrature
    if not integral.converged:
        yield "not_converged", _STOPPED[integral.stop_reason]
    if integral.discontinuous_at is not None:
        yield "discontinuous", f"the score jumps, or nearly so, at alpha = {integral.discontinuous_at:.6g}"
    for end in integral.open_ends:
        side = "baseline" if end == 0 else "input"
        yield "gradient_not_finite_at_end", f"the gradient is not finite at the {side}; an open rule was used there"
    gap = integral.nodes[-1].score - integral.nodes[0].score
    tolerance = Tolerance(quadrature.tolerance, quadrature.absolute_tolerance)
    if tolerance.limit(gap) > quadrature.tolerance * abs(gap):
        yield (
            "absolute_tolerance_governs",
            f"score and baseline score differ by {abs(gap):.3g}, so the absolute tolerance of "
            f"{quadrature.absolute_tolerance:.3g} was used in place of the relative one",
        )


def _vector(attribution_error: float | None) -> Iterator[tuple[str, str]]:
    if attribution_error is not None and attribution_error > LARGE_ATTRIBUTION_ERROR:
        yield (
            "attribution_error_large",
            f"the attributions add up, but with half the nodes they differ by {attribution_error:.0%}: single features "
            "may be off by as much; lower the tolerance",
        )


def _scores(spec: JobSpec, integral: Integral) -> Iterator[tuple[str, str]]:
    score, baseline_score = integral.nodes[-1].score, integral.nodes[0].score
    if abs(score - baseline_score) < SMALL_GAP:
        yield (
            "score_gap_small",
            f"score ({score:.4g}) and baseline score ({baseline_score:.4g}) hardly differ: there is little to explain; "
            "try another baseline or class",
        )
    # The log of a small probability is far from zero by nature: the advice is about the other scales.
    near_zero = abs(baseline_score) <= BASELINE_SHARE * abs(score)
    if spec.target.scale is not OutputScale.LOG_PROBABILITY and not near_zero:
        yield (
            "baseline_score_not_near_zero",
            f"the baseline itself scores {baseline_score:.4g}: the attributions explain only the difference to it",
        )


def _inputs(info: ModelInfo, spec: JobSpec, example: Tensors) -> Iterator[tuple[str, str]]:
    baseline = spec.baseline or {}
    for declared in info.inputs:
        values = example[declared.name]
        share = float(np.mean(values == baseline[declared.name])) if declared.name in baseline else 0.0
        if share >= EQUAL_SHARE:
            yield (
                "features_equal_to_baseline",
                f"{share:.0%} of the features of '{declared.name}' equal the baseline; they get zero by construction",
            )
        outside = _outside_domain(declared, example)
        if outside:
            named = ", ".join(outside[:NAMED_FEATURES])
            more = f" and {len(outside) - NAMED_FEATURES} more" if len(outside) > NAMED_FEATURES else ""
            yield "outside_domain", f"outside the domain that the model declares: {named}{more}"


def _outside_domain(declared: InputSpec, example: Tensors) -> list[str]:
    values = example[declared.name]
    if declared.value_range is not None:
        low, high = declared.value_range
        beyond = int(((values < low) | (values > high)).sum())
        return [f"{beyond} values of '{declared.name}' beyond [{low:g}, {high:g}]"] if beyond else []
    return (
        [
            f"{feature.name} = {value:.4g}"
            for feature, value in zip(declared.features, values.tolist(), strict=True)
            if (feature.minimum is not None and value < feature.minimum)
            or (feature.maximum is not None and value > feature.maximum)
        ]
        if declared.features
        else []
    )
