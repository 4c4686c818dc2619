"""Gradients at the example itself: saliency, and gradient times input. One backward pass per target."""

import numpy as np

from attributor.core.asks import Node
from attributor.engine.outcome import Copy, Outcome
from attributor.engine.prediction import predicted_classes
from attributor.engine.route import Route, Vectors
from attributor.engine.steps import Steps, evaluated
from attributor.engine.work import Work
from attributor.errors import NonFiniteGradient, NonFiniteScore
from attributor.jobs.explanation import Method
from attributor.jobs.model import NO_TOKEN, InputKind, InputSpec, Tensors

#: Why the sums do not add up to a difference of scores.
LOCAL = {
    Method.SALIENCY: "a gradient says how the score changes close to the input, not how it came about",
    Method.GRADIENT_X_INPUT: "gradient times input adds up to the score only for functions that are linear without a "
    "constant",
}


def saliency(work: Work, copy: Copy) -> Steps[Outcome]:
    """dF/dx at the example, or its magnitude (Simonyan, Vedaldi and Zisserman 2014)."""
    route = work.open(f"{copy.word}gradient", copy.example, copy.targets)
    # A point, whose vector is the gradient itself.
    curve = route.add_curve(copy.example, copy.example, plain=True)
    vectors, scores = yield from _at_example(route, curve)
    if work.explanation.absolute:
        vectors = [{name: np.abs(values) for name, values in each.items()} for each in vectors]
    return _finish(work, route, vectors, scores)


def gradient_x_input(work: Work, copy: Copy) -> Steps[Outcome]:
    """dF/dx * x, elementwise (Shrikumar, Greenside, Shcherbina and Kundaje 2016)."""
    route = work.open(f"{copy.word}gradient", copy.example, copy.targets)
    # On the straight path from zero gamma' is x.
    zero = {spec.name: _zero(spec, copy.example) for spec in work.info.inputs}
    curve = route.add_curve(zero, copy.example)
    vectors, scores = yield from _at_example(route, curve)
    return _finish(work, route, vectors, scores)


def _zero(spec: InputSpec, example: Tensors) -> np.ndarray:
    values = example[spec.name]
    if not spec.attributed:
        return values
    return np.full_like(values, NO_TOKEN if spec.kind is InputKind.TOKENS else 0)


def _at_example(route: Route, curve: int) -> Steps[tuple[list[Vectors], tuple[float, ...]]]:
    told = yield from evaluated(route, [Node(0, curve, 1.0)], gradient=True)
    scores = tuple(told.scores[0].tolist())
    if not np.isfinite(scores).all():
        raise NonFiniteScore("the model's score at the input is not finite")
    vectors = [route.attributions(k, {0: 1.0}) for k in range(len(scores))]
    if not all(np.isfinite(values).all() for each in vectors for values in each.values()):
        raise NonFiniteGradient("the gradient at the input is not finite")
    return vectors, scores


def _finish(work: Work, route: Route, vectors: list[Vectors], scores: tuple[float, ...]) -> Outcome:
    outcome = Outcome(
        targets=route.model.targets(route.id),
        predicted=predicted_classes(work, route),
        scores=scores,
        attributions=tuple(vectors),
        incomplete=LOCAL[work.explanation.method],
    )
    route.close()
    return outcome
