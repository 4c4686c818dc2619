"""From a finished path to the answer: weighted sum, completeness, attribution error, warnings."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from attributor.core.completeness import completeness
from attributor.core.integrator import Integral
from attributor.engine.active_job import ActiveJob
from attributor.engine.cautions import cautions
from attributor.errors import NonFiniteGradient, NonFiniteScore
from attributor.jobs.result import Nodes, PathResult, PredictionResult, ResolvedTarget
from attributor.ports import GradientModel

#: Attributions are answered as float32.
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def path_result(job: ActiveJob, i: int, computing_s: float) -> PathResult:
    """The answer for input number `i`, whose path is done. Raises NonFiniteGradient if it overflows float32."""
    spec, path = job.spec, job.paths[i]
    integral = path.integrator.result()
    exact = job.model.attributions(path.id, integral.weights)
    if any(not (np.abs(values) <= LARGEST_FLOAT32).all() for values in exact.values()):
        raise NonFiniteGradient("the gradients on the path are too large to add up")
    # Of the numbers as they are served, float32: who adds them up finds the stated sum and the stated error.
    served = {name: values.astype(np.float32) for name, values in exact.items()}
    total = float(sum(values.sum(dtype=np.float64) for values in served.values()))
    first, last = integral.nodes[0], integral.nodes[-1]
    complete = completeness(total, last.score, first.score)
    class_index, predicted = job.model.target_class(path.id)
    quadrature = spec.quadrature
    attribution_error = _attribution_error(job.model, path.id, integral, exact, complete.error)
    return PathResult(
        target=ResolvedTarget(class_index, job.info.output.labels[class_index], spec.target.scale, predicted),
        score=last.score,
        baseline_score=first.score,
        attribution_sum=total,
        completeness_error=complete.error,
        relative_completeness_error=complete.relative,
        tolerance=quadrature.tolerance,
        absolute_tolerance=quadrature.absolute_tolerance,
        converged=integral.converged,
        stop_reason=integral.stop_reason.value,
        attribution_error=attribution_error,
        rule=quadrature.rule.value,
        evaluations=path.backwards,
        forwards=path.forwards,
        backwards=path.backwards,
        nodes=_nodes(integral),
        attributions=served,
        warnings=cautions(job.info, spec, spec.inputs[i], integral, attribution_error),
        computing_s=computing_s,
    )


def prediction_result(job: ActiveJob) -> PredictionResult:
    """The outputs of every input of a prediction. Raises NonFiniteScore, naming the input."""
    rows = [job.model.outputs(path.id) for path in job.paths]
    for i, row in enumerate(rows):
        if not np.isfinite(row).all():
            raise NonFiniteScore(f"the model's output for inputs.{i} is not finite")
    return PredictionResult({job.info.output.name: np.stack(rows)})


def _attribution_error(
    model: GradientModel,
    path_id: str,
    integral: Integral,
    exact: Mapping[str, NDArray[np.float64]],
    completeness_error: float,
) -> float | None:
    """||A - A_half||_1 / ||A||_1, with A_half from the same rule on every other node; None where undefined.

    Never below the completeness error over ||A||_1: a sum that is off by so much has entries that are.
    """
    size = float(sum(np.abs(values).sum() for values in exact.values()))
    if integral.coarse_weights is None or size == 0:
        return None
    coarse = model.attributions(path_id, integral.coarse_weights)
    difference = float(sum(np.abs(exact[name] - coarse[name]).sum() for name in exact))
    return max(difference, completeness_error) / size


def _nodes(integral: Integral) -> Nodes:
    told = integral.nodes
    return Nodes(
        alpha=tuple(t.alpha for t in told),
        weight=tuple(integral.weights.get(t.index, 0.0) for t in told),
        score=tuple(t.score for t in told),
        slope=tuple(t.slope for t in told),
    )
