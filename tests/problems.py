"""Scores with known answers: functions of an input vector, the path's two ends, and the exact attributions.

Everything works on rows: `value` takes (points, features) and gives (points,), `gradient` gives (points, features).
Exact attributions follow from one of three facts, named in each entry: the score is separable (a feature gets its own
difference), it is symmetric with equal features (equal shares), or the integral was done by hand.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from attributor.core.asks import EXAMPLE, Ask, Asks, Curve, Node
from attributor.core.integrator import Check, Integral, Integrator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: What the score does on the path: exactly one of these per problem.
TAGS = frozenset({"smooth", "kinked", "jump", "singular_end"})


@dataclass(frozen=True)
class Problem:
    """`breaks`: the alphas at which the slope jumps (kinked), the score jumps (jump) or the slope is not finite."""

    name: str
    tag: str
    value: Callable[[Floats], Floats]
    gradient: Callable[[Floats], Floats]
    baseline: tuple[float, ...]
    example: tuple[float, ...]
    exact: tuple[float, ...]
    breaks: tuple[float, ...] = field(default=())

    def points(self, alpha: Floats) -> Floats:
        """The path at `alpha`, shape (n,): shape (n, features)."""
        start, end = np.array(self.baseline), np.array(self.example)
        return start + np.asarray(alpha)[:, None] * (end - start)

    def scores(self, alpha: Floats) -> Floats:
        """F(alpha), shape (n,)."""
        return self.value(self.points(alpha))

    def vectors(self, alpha: Floats) -> Floats:
        """Gradient times the path's derivative, shape (n, features); NaN or infinite where it is."""
        with np.errstate(all="ignore"):
            return self.gradient(self.points(alpha)) * (np.array(self.example) - np.array(self.baseline))

    def slopes(self, alpha: Floats) -> Floats:
        """h(alpha) = dF/dalpha, shape (n,)."""
        with np.errstate(all="ignore"):
            return self.vectors(alpha).sum(axis=1)

    @property
    def gap(self) -> float:
        """F at the example minus F at the baseline."""
        start, end = self.scores(np.array([0.0, 1.0]))
        return float(end - start)


def sigmoid(z: Floats) -> Floats:
    """The logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(z / 2))


def sigmoid_slope(z: Floats) -> Floats:
    """Its derivative."""
    return sigmoid(z) * sigmoid(-z)


def relu(z: Floats) -> Floats:
    """max(z, 0)."""
    return np.maximum(z, 0.0)


def above(z: Floats) -> Floats:
    """1 where z > 0, else 0: the derivative of `relu`."""
    return (z > 0).astype(float)


def sum_of(*parts: tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]) -> dict[str, Callable[..., Floats]]:
    """A separable score: one (function, derivative) per feature."""
    return {
        "value": lambda x: sum(f(x[:, i]) for i, (f, _) in enumerate(parts)),
        "gradient": lambda x: np.stack([d(x[:, i]) for i, (_, d) in enumerate(parts)], axis=1),
    }


def of_sum(f: Callable[[Floats], Floats], d: Callable[[Floats], Floats]) -> dict[str, Callable[..., Floats]]:
    """A score of the features' sum."""
    return {
        "value": lambda x: f(x.sum(axis=1)),
        "gradient": lambda x: np.repeat(d(x.sum(axis=1))[:, None], x.shape[1], axis=1),
    }


def choice(pick: Callable[..., NDArray[np.intp]]) -> dict[str, Callable[..., Floats]]:
    """The smallest or largest feature (np.argmin, np.argmax); the first one where they tie."""
    return {
        "value": lambda x: np.take_along_axis(x, pick(x, axis=1)[:, None], axis=1)[:, 0],
        "gradient": lambda x: np.eye(x.shape[1])[pick(x, axis=1)],
    }


def clipped_product(clip: float) -> dict[str, Callable[..., Floats]]:
    """min(x1, clip) * x2."""
    return {
        "value": lambda x: np.minimum(x[:, 0], clip) * x[:, 1],
        "gradient": lambda x: np.stack([above(clip - x[:, 0]) * x[:, 1], np.minimum(x[:, 0], clip)], axis=1),
    }


def inverse_root(x: Floats) -> Floats:
    """1 / (2 sqrt x), infinite at 0."""
    with np.errstate(divide="ignore"):
        return 0.5 / np.sqrt(x)


def _norm_gradient(x: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return x / np.linalg.norm(x, axis=1, keepdims=True)


_STEP = (lambda x: (x > 0.37).astype(float), np.zeros_like)
_SINE = (lambda x: x * x * np.sin(x), lambda x: 2 * x * np.sin(x) + x * x * np.cos(x))
_KNEE = (lambda x: 1 - relu(1 - x), lambda x: above(1 - x))
_ROOT = (np.sqrt, inverse_root)

PROBLEMS = (
    # Smooth on the path.
    Problem("linear", "smooth",
            **sum_of((lambda x: 3 * x, lambda x: 3 + 0 * x), (lambda x: -2 * x, lambda x: -2 + 0 * x)),
            baseline=(0.5, 1.0), example=(1.5, 2.0), exact=(3.0, -2.0)),
    Problem("constant", "smooth", **sum_of((lambda x: 3 + 0 * x, np.zeros_like), (np.zeros_like, np.zeros_like)),
            baseline=(0.0, 1.0), example=(1.0, -1.0), exact=(0.0, 0.0)),
    Problem("smaller_of_two", "smooth", **choice(np.argmin), baseline=(0.0, 0.0), example=(1.0, 3.0), exact=(1.0, 0.0)),
    # By hand: the difference of feature i times the mean of the other one.
    Problem("product", "smooth", value=lambda x: x[:, 0] * x[:, 1], gradient=lambda x: x[:, ::-1],
            baseline=(1.0, -1.0), example=(2.0, 3.0), exact=(1.0, 6.0)),
    # By hand: from 0, a monomial of degree 3 gives each feature its power's share.
    Problem("cubic", "smooth", value=lambda x: x[:, 0] ** 2 * x[:, 1],
            gradient=lambda x: np.stack([2 * x[:, 0] * x[:, 1], x[:, 0] ** 2], axis=1),
            baseline=(0.0, 0.0), example=(1.0, 2.0), exact=(4 / 3, 2 / 3)),
    Problem("exp", "smooth", **sum_of((np.exp, np.exp)), baseline=(-1.0,), example=(2.0,),
            exact=(float(np.exp(2) - np.exp(-1)),)),
    Problem("logistic_of_sum", "smooth", **of_sum(lambda s: sigmoid(s - 2), lambda s: sigmoid_slope(s - 2)),
            baseline=(0.0, 0.0, 0.0), example=(2.0, 2.0, 2.0),
            exact=(float(sigmoid(np.array(4.0)) - sigmoid(np.array(-2.0))) / 3,) * 3),
    Problem("steep_sigmoid", "smooth",
            **sum_of((lambda x: sigmoid(80 * (x - 0.31)), lambda x: 80 * sigmoid_slope(80 * (x - 0.31)))),
            baseline=(0.0,), example=(1.0,),
            exact=(float(sigmoid(np.array(80 * 0.69)) - sigmoid(np.array(-80 * 0.31))),)),
    Problem("x_x_sin", "smooth", **sum_of(_SINE), baseline=(0.0,), example=(5.0,), exact=(float(25 * np.sin(5)),)),
    # There and back: the score ends where it began, but for a ten-millionth.
    Problem("whole_wave", "smooth",
            **sum_of((lambda x: np.sin(2 * np.pi * x) + 1e-7 * x, lambda x: 2 * np.pi * np.cos(2 * np.pi * x) + 1e-7)),
            baseline=(0.03,), example=(1.03,), exact=(1e-7,)),
    # On the path x1 = x2 = a the score is a, so that no residual tells how its two gradients turn.
    Problem("turning_gradients", "smooth",
            value=lambda x: x[:, 0] + np.sin(9 * x[:, 0]) - np.sin(9 * x[:, 1]),
            gradient=lambda x: np.stack([1 + 9 * np.cos(9 * x[:, 0]), -9 * np.cos(9 * x[:, 1])], axis=1),
            baseline=(0.0, 0.0), example=(1.0, 1.0), exact=(float(1 + np.sin(9)), -float(np.sin(9)))),
    # Kinked: piecewise linear or with a corner on the path.
    Problem("knee", "kinked", **sum_of(_KNEE), baseline=(0.0,), example=(2.0,), exact=(1.0,), breaks=(0.5,)),
    Problem("knee_off_the_grid", "kinked", **sum_of(_KNEE), baseline=(0.0,), example=(2.7,), exact=(1.0,),
            breaks=(1 / 2.7,)),
    # By hand: the first feature is the smaller one up to alpha = 4/7, then the second.
    Problem("smaller_of_two_crossing", "kinked", **choice(np.argmin), baseline=(0.0, 0.4), example=(1.0, 0.7),
            exact=(4 / 7, 0.3 * 3 / 7), breaks=(4 / 7,)),
    Problem("max_pool", "kinked", **choice(np.argmax), baseline=(0.5, 0.0, 0.2), example=(0.6, 1.0, 0.3),
            exact=(0.1 * 5 / 9, 1 * 4 / 9, 0.0), breaks=(5 / 9,)),
    Problem("odd_kinks", "kinked",
            **sum_of((lambda x: relu(x - 0.3) - 2 * relu(x - 0.7137), lambda x: above(x - 0.3) - 2 * above(x - 0.7137)),
                     (lambda x: 3 * relu(0.41 - x), lambda x: -3 * above(0.41 - x))),
            baseline=(0.0, 0.0), example=(1.0, 1.0), exact=(0.7 - 2 * 0.2863, -1.23), breaks=(0.3, 0.41, 0.7137)),
    # By hand: on the path the product of the two is a^2 up to the clip c, then c a.
    Problem("clipped_product", "kinked", **clipped_product(0.58),
            baseline=(0.0, 0.0), example=(1.0, 1.0), exact=(0.58**2 / 2, 0.58 - 0.58**2 / 2), breaks=(0.58,)),
    # With c = 5/9 the trapezoid over [1/2, 5/8] gets the score right by luck, though not the two attributions.
    Problem("lucky_kink", "kinked", **clipped_product(5 / 9),
            baseline=(0.0, 0.0), example=(1.0, 1.0), exact=(25 / 162, 65 / 162), breaks=(5 / 9,)),
    # The score itself jumps: gradients cannot explain it, so the exact attributions miss the jump.
    Problem("step", "jump", **sum_of(_STEP), baseline=(0.0,), example=(1.0,), exact=(0.0,), breaks=(0.37,)),
    Problem("step_on_a_ramp", "jump", **sum_of(_STEP, (np.sin, np.cos)), baseline=(0.0, 0.0), example=(1.0, 1.0),
            exact=(0.0, float(np.sin(1))), breaks=(0.37,)),
    Problem("step_at_a_node", "jump", **sum_of((lambda x: above(x - 0.5), np.zeros_like)),
            baseline=(0.0,), example=(1.0,), exact=(0.0,), breaks=(0.5,)),
    # An infinite or undefined slope at an end of the path.
    Problem("root", "singular_end", **sum_of(_ROOT), baseline=(0.0,), example=(1.0,), exact=(1.0,), breaks=(0.0,)),
    Problem("root_and_square", "singular_end", **sum_of(_ROOT, (lambda x: x * x, lambda x: 2 * x)),
            baseline=(0.0, 1.0), example=(4.0, 2.0), exact=(2.0, 3.0), breaks=(0.0,)),
    Problem("root_at_the_end", "singular_end",
            **sum_of((lambda x: -np.sqrt(1 - x), lambda x: inverse_root(1 - x))),
            baseline=(0.0,), example=(1.0,), exact=(1.0,), breaks=(1.0,)),
    Problem("roots_at_both_ends", "singular_end",
            **sum_of((lambda x: np.sqrt(x) - np.sqrt(1 - x), lambda x: inverse_root(x) + inverse_root(1 - x))),
            baseline=(0.0,), example=(1.0,), exact=(2.0,), breaks=(0.0, 1.0)),
    # By hand: the norm is linear on a ray, so each feature gets its square over the norm.
    Problem("norm", "singular_end", value=lambda x: np.linalg.norm(x, axis=1), gradient=_norm_gradient,
            baseline=(0.0, 0.0), example=(3.0, 4.0), exact=(9 / 5, 16 / 5), breaks=(0.0,)),
)  # fmt: skip


def named(name: str) -> Problem:
    """One problem by its name."""
    return next(problem for problem in PROBLEMS if problem.name == name)


def tagged(*tags: str) -> tuple[Problem, ...]:
    """The problems with one of these tags."""
    return tuple(problem for problem in PROBLEMS if problem.tag in tags)


@dataclass(frozen=True)
class Journey:
    """Straight curves between vertices, and the scores along them: a target each. Their own ends are not looked at."""

    targets: tuple[Problem, ...]
    curves: tuple[Curve, ...]
    vertices: tuple[tuple[float, ...], ...]

    def scores(self, node: Node) -> list[float]:
        """Per target."""
        return [float(target.value(self._point(node))[0]) for target in self.targets]

    def vectors(self, node: Node) -> list[Floats]:
        """Gradient times the curve's derivative, per target."""
        start, end = self._ends(node)
        with np.errstate(all="ignore"):
            return [target.gradient(self._point(node))[0] * (end - start) for target in self.targets]

    def slopes(self, node: Node) -> list[float]:
        """Along the node's curve, per target."""
        with np.errstate(all="ignore"):
            return [float(vector.sum()) for vector in self.vectors(node)]

    def summed(self, integral: Integral, weights: Mapping[int, float], target: int = 0) -> Floats:
        """The weighted sum of vectors."""
        nodes = {told.node.index: told.node for told in integral.nodes}
        vectors = (weight * self.vectors(nodes[index])[target] for index, weight in weights.items())
        return np.asarray(sum(vectors, np.zeros(len(self.vertices[0]))))

    def attribution_errors(self, check: Check, nodes: Mapping[int, Node]) -> list[float | None]:
        """What an engine finds for a check: ||A - A_coarse||_1 / ||A||_1 per target."""

        def total(weights: Mapping[int, float], target: int) -> Floats:
            return np.asarray(sum(weight * self.vectors(nodes[index])[target] for index, weight in weights.items()))

        errors: list[float | None] = []
        for target, (weights, coarse) in enumerate(zip(check.weights, check.coarse_weights, strict=True)):
            whole = total(weights, target)
            size = float(np.abs(whole).sum())
            defined = coarse is not None and size > 0
            errors.append(float(np.abs(whole - total(coarse, target)).sum()) / size if defined else None)
        return errors

    def _ends(self, node: Node) -> tuple[Floats, Floats]:
        curve = self.curves[node.curve]
        return np.array(self.vertices[curve.start]), np.array(self.vertices[curve.end])

    def _point(self, node: Node) -> Floats:
        start, end = self._ends(node)
        # Both ends exactly, so that a vertex is the same point of all its curves.
        return ((1 - node.alpha) * start + node.alpha * end)[None]


#: One straight curve, from the baseline to the example.
STRAIGHT = (Curve(1, EXAMPLE),)


def straight(*targets: Problem) -> Journey:
    """From the first target's baseline to its example."""
    return Journey(targets, STRAIGHT, (targets[0].example, targets[0].baseline))


def chain(*corners: tuple[float, ...], targets: tuple[Problem, ...]) -> Journey:
    """A polyline through all corners, the baseline first and the example last."""
    vertices = [*range(1, len(corners)), EXAMPLE]
    curves = tuple(Curve(start, end) for start, end in pairwise(vertices))
    return Journey(targets, curves, (corners[-1], *corners[:-1]))


def star(example: tuple[float, ...], *baselines: tuple[float, ...], targets: tuple[Problem, ...]) -> Journey:
    """From each baseline to the example, averaged."""
    share = 1 / len(baselines)
    curves = tuple(Curve(line + 1, EXAMPLE, line, share) for line in range(len(baselines)))
    return Journey(targets, curves, (example, *baselines))


def integrate(integrator: Integrator, along: Problem | Journey) -> Integral:
    """Drive an integrator, one evaluation at a time in the order asked, and answer its checks."""
    journey = along if isinstance(along, Journey) else straight(along)
    nodes: dict[int, Node] = {}
    while not integrator.done:
        asks = integrator.ask()
        for ask in asks:
            nodes |= {node.index: node for node in ask.nodes}
            tell(integrator, journey, ask)
        if not asks:
            check = integrator.check()
            assert check is not None, "an integrator that is not done wants nothing"
            integrator.tell_errors(journey.attribution_errors(check, nodes))
    return integrator.result()


def tell(integrator: Integrator, along: Problem | Journey, ask: Ask) -> None:
    """Tell an integrator what is found at a point."""
    journey = along if isinstance(along, Journey) else straight(along)
    slopes = [journey.slopes(node) for node in ask.nodes] if ask.gradient else None
    say(integrator, ask, journey.scores(ask.nodes[0]), slopes)


def say(integrator: Integrator, ask: Ask, scores: Sequence[float], slopes: Sequence[Sequence[float]] | None) -> None:
    """Tell an integrator of one ask: scores per target, slopes per node and target."""
    told = np.full((len(ask.nodes), len(scores)), np.nan) if slopes is None else np.array(slopes, float)
    integrator.tell(Asks((ask,)), np.array([scores], float), told)


def weighted_sum(integral: Integral, target: int = 0) -> float:
    """The quadrature of the slopes."""
    slopes = {told.node.index: told.slopes[target] for told in integral.nodes}
    return sum(weight * slopes[index] for index, weight in integral.weights[target].items())


def spent(integral: Integral) -> int:
    """Gradients evaluated."""
    return sum(told.slopes != (None,) * len(told.slopes) for told in integral.nodes)


def same(one: Integral, other: Integral) -> bool:
    """Whether two integrals agree in every node and in all else."""
    return one.nodes == other.nodes and replace(one, known=other.known) == other


def until_gradients(integrator: Integrator, along: Problem | Journey) -> tuple[Ask, ...]:
    """Tell the scores that are asked for beforehand; the first asks for gradients, still to be told."""
    asks = integrator.ask()
    while not any(ask.gradient for ask in asks):
        for ask in asks:
            tell(integrator, along, ask)
        asks = integrator.ask()
    return asks
