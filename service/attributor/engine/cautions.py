"""What a reader should know before trusting an attribution: the warnings that go with every answer.

"Warnings are part of the product": each has a stable code and a sentence that says what to do.
"""

from collections.abc import Iterator, Sequence

from attributor.core.integrator import StopReason
from attributor.engine.input_cautions import Caution, of_inputs
from attributor.engine.outcome import Outcome
from attributor.engine.paths import OTHER_CLASS
from attributor.engine.work import Question
from attributor.jobs.explanation import Quantity
from attributor.jobs.job import Quadrature
from attributor.jobs.model import OutputScale
from attributor.jobs.result import ResultWarning

#: A gap below this says little: Vertex Explainable AI's documentation advises another baseline there. In units of a
#: probability; on other scales (ours) a share of the larger score.
SMALL_GAP = 0.05
#: A baseline should score "near zero" (Sundararajan, Taly and Yan 2017, section 5); ours: this share of the score.
BASELINE_SHARE = 0.2
#: Times 1 / classes: a probability that says nothing of the class. Ours: a tenth above chance is still chance.
CHANCE = 1.1
#: An estimated error of the attributions, relative L1, from which it is said. Ours: ranks of features change then.
LARGE_ATTRIBUTION_ERROR = 0.1
#: The adaptive rule asks that the errors of the path's parts, taken together as independent ones, are within the
#: tolerance, so that they cannot cancel by luck: the completeness error itself may be small all the same.
_ABOVE = "the errors along the path, taken together, are above the tolerance"
_STOPPED = {
    StopReason.MAX_EVALUATIONS: f"{_ABOVE}, and the budget of evaluations was used up; raise max_evaluations or the "
    "tolerance",
    StopReason.FLOAT_NOISE: f"{_ABOVE}, and what is left is as small as the model's rounding errors; raise the "
    "tolerance",
    StopReason.FIXED_RULE: "the completeness error is above the tolerance: the fixed rule has too few nodes; raise "
    "n_steps or use the adaptive rule",
    StopReason.RESOLUTION: f"{_ABOVE}, and are left where float32 cannot tell points of the path apart; raise the "
    "tolerance",
    StopReason.MEMORY: f"{_ABOVE}, and no more gradients may be kept at a time; raise the tolerance, ask for fewer "
    "baselines, inputs or targets at once, or give the worker more memory for vectors",
    StopReason.DISCONTINUITY: f"{_ABOVE}: the score jumps on it, or changes too steeply to follow, where no gradient "
    "explains it",
}

#: What would bring the attribution error down, if not more evaluations.
_REMEDIES = {StopReason.FIXED_RULE: "n_steps", StopReason.MEMORY: "the worker's memory for vectors"}


def cautions(
    question: Question, outcome: Outcome, k: int, attribution_error: float | None
) -> tuple[ResultWarning, ...]:
    """The warnings of one answer, for target number `k`, most important first."""
    found = [
        *_convergence(question, outcome, k),
        *vector_differs(attribution_error),
        *_layer(question, outcome),
        *_scores(question, outcome, k),
        *_inputs(question, outcome),
    ]
    return tuple(ResultWarning(code, message) for code, message in found)


def _convergence(question: Question, outcome: Outcome, k: int) -> Iterator[Caution]:
    if outcome.converged and not outcome.converged[k]:
        yield "not_converged", _why(question, outcome, k)
    if outcome.integration is None:
        return
    integral, curves = outcome.integration.integral, outcome.integration.curves
    if integral.discontinuous_at is not None:
        curve, alpha = integral.discontinuous_at
        where = f"alpha = {alpha:.6g}" + (f" of piece {curve} of the path" if len(curves) > 1 else "")
        yield "discontinuous", f"the score jumps, or nearly so, at {where}"
    variation = integral.variations[k] if integral.variations else 0.0
    yield from absolute_governs(question.spec.quadrature, integral.gaps[k], integral.limits[k], variation)


def absolute_governs(quadrature: Quadrature, gap: float, limit: float, variation: float) -> Iterator[Caution]:
    """Where the difference of the scores is too small for the relative tolerance to be what decides."""
    gap = abs(gap)
    if quadrature.tolerance is None or limit <= quadrature.tolerance * gap:
        return
    if limit > quadrature.absolute_tolerance:
        why = f", little beside the {variation:.3g} that the score moves up and down along the path"
    else:
        why = ""
    yield (
        "absolute_tolerance_governs",
        f"score and baseline score differ by {gap:.3g}{why}, so an absolute tolerance of {limit:.3g} was used in place "
        "of the relative one",
    )


def _why(question: Question, outcome: Outcome, k: int) -> str:
    """What kept an integration from its tolerance."""
    if outcome.integration is None:
        return "some of the noisy copies did not reach the tolerance; raise max_evaluations or the tolerance"
    integral, wanted = outcome.integration.integral, question.spec.quadrature.attribution_tolerance
    found = integral.attribution_errors[k] if integral.attribution_errors else None
    if wanted is not None and (found is None or found > wanted):
        remedy = _REMEDIES.get(integral.stop_reason, "max_evaluations")
        said = "is not known with so few nodes" if found is None else f"of {found:.3g} is above it"
        return f"attribution_tolerance is {wanted:g} and the attribution error {said}; raise {remedy} or the tolerance"
    return _STOPPED[integral.stop_reason]


def vector_differs(attribution_error: float | None) -> Iterator[Caution]:
    """Where single attributions may be far off, although they add up."""
    if attribution_error is not None and attribution_error > LARGE_ATTRIBUTION_ERROR:
        yield (
            "attribution_error_large",
            f"the attributions add up, but with half the nodes they differ by {attribution_error:.0%}: single features "
            "may be off by as much; ask for an attribution_tolerance",
        )


def _layer(question: Question, outcome: Outcome) -> Iterator[Caution]:
    layer = outcome.layer
    if layer and layer.cut is False and layer.quantity is not Quantity.INFLUENCE:
        lost = (
            "the baseline score is that of the example with the layer held at its output for the baseline"
            if layer.quantity is Quantity.LAYER_IG
            else "the attributions of the layer need not add up to the difference of the scores"
        )
        name = question.explanation.layer_names.get(layer.name, layer.name)
        yield "layer_not_a_cut", f"a part of the score does not pass through '{name}': {lost}"


def _scores(question: Question, outcome: Outcome, k: int) -> Iterator[Caution]:
    score, baseline_score = outcome.scores[k], outcome.baseline_score(k)
    if baseline_score is None:
        return
    at_boundary = any(line.baseline.name == OTHER_CLASS for line in outcome.lines)
    yield from small_or_large(
        score, baseline_score, outcome.targets[k].scale, len(question.info.output.labels), at_boundary=at_boundary
    )


def small_or_large(
    score: float, baseline_score: float, scale: OutputScale, n_outputs: int, *, at_boundary: bool = False
) -> Iterator[Caution]:
    """Where the scores hardly differ, or that of the baseline is not near zero. `at_boundary`: the baseline is of
    another class."""
    saturated = scale is OutputScale.PROBABILITY and min(score, baseline_score) > 1 - SMALL_GAP
    size = 1.0 if scale is OutputScale.PROBABILITY else max(abs(score), abs(baseline_score))
    if abs(score - baseline_score) < SMALL_GAP * size or score == baseline_score:
        yield (
            "score_gap_small",
            f"score ({score:.4g}) and baseline score ({baseline_score:.4g}) hardly differ: there is little to explain; "
            "try another baseline or class" + (", or the logit, which is not saturated" if saturated else ""),
        )
    # The log of a small probability is far from zero by nature, and zero may mean nothing to a regression. A class that
    # is no likelier than by chance is as near zero as it gets where there are two; at a boundary it must be likely.
    chance = CHANCE / n_outputs if scale is OutputScale.PROBABILITY else 0.0
    near_zero = abs(baseline_score) <= max(BASELINE_SHARE * abs(score), chance)
    if scale in (OutputScale.PROBABILITY, OutputScale.LOGIT) and not near_zero and not at_boundary:
        yield (
            "baseline_score_not_near_zero",
            f"the baseline itself scores {baseline_score:.4g}: the attributions explain only the difference to it",
        )


def _inputs(question: Question, outcome: Outcome) -> Sequence[Caution]:
    one = {name: values[None] for name, values in question.example.items()}
    (found,) = of_inputs(question.explanation, question.info, one, [line.baseline.tensors for line in outcome.lines])
    return found
