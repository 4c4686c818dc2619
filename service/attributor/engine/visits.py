"""Forward passes at any inputs, a pass's worth at a time, keeping nothing on the device but the latest ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from attributor.core.asks import Node
from attributor.engine.route import Route
from attributor.engine.steps import Steps, evaluated
from attributor.errors import NonFiniteScore
from attributor.jobs.model import Tensors
from attributor.model_port import Evaluations


def room(route: Route) -> int:
    """How many inputs one visit should have, so that they fill a pass together with the example."""
    return max(1, route.model.max_points - 1)


def visit(route: Route, inputs: Sequence[Tensors]) -> Steps[Evaluations]:
    """Scores at the route's example, first, and at the inputs.

    The route is begun afresh, so that the device holds no more than one visit; the targets are those found at the
    first, lest rounding turn a near tie into another class. Raises NonFiniteScore.
    """
    route.close()
    route.open()
    numbers = [route.add_curve(each, each) for each in (route.spec.example, *inputs)]
    told = yield from evaluated(route, [Node(n, n, 1.0) for n in numbers], gradient=False)
    if not np.isfinite(told.scores).all():
        raise NonFiniteScore("the score is not finite at an input that the method looks at")
    route.spec = replace(route.spec, targets=route.model.targets(route.id))
    return told
