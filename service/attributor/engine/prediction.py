"""What the model says at the input: one forward pass, no gradient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Node
from attributor.engine.outcome import Copy
from attributor.engine.route import Route
from attributor.engine.steps import Steps, evaluated
from attributor.engine.work import Work
from attributor.errors import NonFiniteScore, UnsupportedByModel
from attributor.jobs.explanation import Target
from attributor.jobs.fitting import AS_RETURNED
from attributor.jobs.lengths import output_at
from attributor.jobs.model import ModelInfo, OutputKind
from attributor.jobs.result import PredictionResult


@dataclass(frozen=True, slots=True)
class Resolved:
    """The targets as they stand at an example; per target the class predicted there and the score."""

    targets: tuple[Target, ...]
    predicted: tuple[int | None, ...]
    scores: tuple[float, ...]


def resolved(work: Work, copy: Copy) -> Steps[Resolved]:
    """The targets at an example, for methods that use them on routes of other examples. Raises NonFiniteScore."""
    route = work.open(f"{copy.word}targets", copy.example, copy.targets)
    curve = route.add_curve(copy.example, copy.example)
    told = yield from evaluated(route, [Node(0, curve, 1.0)], gradient=False)
    if not np.isfinite(told.scores).all():
        raise NonFiniteScore("the model's score at the input is not finite")
    answer = Resolved(work.model.targets(route.id), predicted_classes(work, route), tuple(told.scores[0].tolist()))
    route.close()
    return answer


def predicted_classes(work: Work, route: Route) -> tuple[int | None, ...]:
    """Per target, the class predicted at the example: of a sequence, at the target's position. None for regression."""
    targets = route.model.targets(route.id)
    if work.info.output.kind is OutputKind.VALUES:
        return (None,) * len(targets)
    outputs = route.model.outputs(route.id)
    return tuple(int(np.argmax(outputs if target.position is None else outputs[target.position])) for target in targets)


def predict(work: Work) -> Steps[NDArray[np.float32]]:
    """The model's outputs at the input, of the output's shape.

    Raises NonFiniteScore; UnsupportedByModel where sequences of several lengths would have to stand in one tensor.
    """
    _require_one_length(work)
    target = Target(scale=AS_RETURNED[work.info.output.kind])
    route = work.open("prediction", work.example, (target,))
    curve = route.add_curve(work.example, work.example)
    told = yield from evaluated(route, [Node(0, curve, 1.0)], gradient=False)
    outputs = work.model.outputs(route.id)
    if not (np.isfinite(outputs).all() and np.isfinite(told.scores).all()):
        raise NonFiniteScore("the model's output is not finite")
    return outputs


def _require_one_length(work: Work) -> None:
    declared, output = work.info.inputs, work.info.output
    lengths = {output_at(output, declared, example).positions for example in work.question.spec.inputs}
    if len(lengths) > 1:
        raise UnsupportedByModel(
            "the outputs of one request stand in one tensor, and inputs of unequal length have outputs of unequal "
            "length; send each length in a request of its own",
            field="inputs",
        )


def prediction_result(rows: Sequence[NDArray[np.float32]], info: ModelInfo) -> PredictionResult:
    """The outputs of every input of a prediction."""
    return PredictionResult({info.output.name: np.stack(rows)})
