"""The seam between the engine and a model. Named in the engine's words; the adapter lives in `runtimes`."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Asks, Floats, Indices
from attributor.core.integrator import Seal
from attributor.core.stack import StackVectors, interleaved
from attributor.jobs.explanation import Layer, Precision, Target
from attributor.jobs.model import ModelInfo, Tensors


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """What is evaluated along the curves of a route: targets of the model at and around one example.

    `layer`: the module whose output is attributed in place of the inputs. `observed`: modules whose output is compared,
    at every point, with that at the example; None: nothing is observed, not even the score on both scales.
    `straight`: there is one curve, straight in the inputs, and of its vectors only sums are asked for.
    """

    example: Tensors
    targets: tuple[Target, ...]
    layer: Layer | None = None
    observed: tuple[str, ...] | None = None
    precision: Precision = Precision.FLOAT32
    straight: bool = False


@dataclass(frozen=True, slots=True)
class Blur:
    """Scale space: gamma(alpha) is the example blurred by a gaussian of standard deviation (1 - alpha) * sigma pixels,
    by the heat equation on the image with reflecting borders (Xu, Venugopalan, Sundararajan 2020). The curve's start
    follows from its end."""

    sigma: float


@dataclass(frozen=True, slots=True)
class Registered:
    """A path object of the bundle, by name; called with both ends."""

    name: str


@dataclass(frozen=True, slots=True)
class CurveSpec:
    """A smooth curve between two inputs, straight except for the inputs in `bends`.

    `plain`: the vector kept at a node is the gradient itself, not its product with gamma'. With `start` and `end` the
    same object, it is a point.
    """

    start: Tensors
    end: Tensors
    bends: Mapping[str, Blur | Registered] = field(default_factory=dict)
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """Evaluations of a route, all with a gradient or all without."""

    route: str
    asks: Asks


@dataclass(frozen=True, slots=True, eq=False)
class Evaluations:
    """What the model says about some asks, float64: the scores F, shape (asks, targets), and the slopes, shape (nodes,
    targets), NaN without a gradient.

    The slope is the sum of gradient * gamma', whatever the vector kept is (a plain curve's or a layer's), so that it is
    always dF/dalpha. Scores and slopes may be non-finite. `tops`, shape (asks,): the index of the largest output (of a
    sequence: at the first target's position).
    """

    scores: Floats
    slopes: Floats
    tops: Indices


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Straight paths from one baseline to many examples, with the same nodes on each: a stack of rows.

    `examples`: per input, shape (rows, *input shape), float32; `start`: the baseline, of the input's shape. `target`:
    as asked; `alphas`: of the nodes with gradients, ascending in (0, 1).
    """

    examples: Tensors
    start: Tensors
    target: Target
    alphas: tuple[float, ...]

    @property
    def n_rows(self) -> int:
        """How many examples there are."""
        return len(next(iter(self.examples.values())))

    @property
    def n_points(self) -> int:
        """The nodes and the example of each row, and the start, which they share."""
        return self.n_rows * (len(self.alphas) + 1) + 1


@dataclass(frozen=True, slots=True, eq=False)
class StackTold:
    """What the model says of a stack, float64: `scores` at both ends and the nodes between, shape (rows, nodes + 2);
    `slopes` at the nodes, shape (rows, nodes). May be non-finite. Per row, what is so at its example: the target as
    `resolved`, the `outputs`, float32, of the output's shape, and the index of the largest, `tops`."""

    scores: Floats
    slopes: Floats
    resolved: tuple[Target, ...]
    tops: Indices
    outputs: NDArray[np.float32]
    vectors: StackVectors

    def refined(self, rows: Indices, between: "StackTold") -> "StackTold":
        """Some rows, with what was told of the nodes around and between theirs."""
        scores = interleaved(self.scores[rows][:, 1:-1], between.scores[:, 1:-1])
        return StackTold(
            scores=np.concatenate([between.scores[:, :1], scores, between.scores[:, -1:]], axis=1),
            slopes=interleaved(self.slopes[rows], between.slopes),
            resolved=between.resolved,
            tops=between.tops,
            outputs=between.outputs,
            vectors=self.vectors.refined(rows, between.vectors),
        )


def joined_told(parts: Sequence[StackTold]) -> StackTold:
    """What was told of a stack in parts."""
    kept = [part.vectors.by_input for part in parts]
    return StackTold(
        scores=np.concatenate([part.scores for part in parts]),
        slopes=np.concatenate([part.slopes for part in parts]),
        resolved=tuple(target for part in parts for target in part.resolved),
        tops=np.concatenate([part.tops for part in parts]),
        outputs=np.concatenate([part.outputs for part in parts]),
        vectors=StackVectors({name: np.concatenate([each[name] for each in kept]) for name in kept[0]}),
    )


@dataclass(frozen=True, slots=True)
class Observation:
    """What diagnostics keep of an evaluated point: the first target on both scales, and per observed layer the L2 norm
    of the difference to its output at the example, and 1 - cosine. `probability` is None for regression outputs;
    `logit` is the log-probability where outputs are probabilities."""

    node: int
    probability: float | None
    logit: float
    distances: tuple[tuple[float, float], ...]


class GradientModel(Protocol):
    """A loaded model. Vectors stay inside, keyed by route, target and node index, until `close`."""

    @property
    def max_points(self) -> int:
        """The most points that one pass of any lane should have."""

    @property
    def looks(self) -> bool:
        """Whether scores should show where the first gradients of an adaptive integration are wanted. Not of a model so
        small that the passes for it cost more than some gradients more, spread evenly."""

    @property
    def stacks(self) -> bool:
        """Whether `evaluate_stack` can be asked."""

    def evaluate_stack(self, stack: Stack) -> StackTold:
        """One forward pass over the ends and nodes of all rows, and one backward pass from the nodes. No route is open
        for them. Raises whatever the model raises."""

    def take_over(self, route: str, asks: Asks, told: StackTold, row: int) -> Evaluations:
        """Go on with a row by itself: a straight route to its example, with its curve, gets the vectors of the nodes
        and is resolved. `asks`: those of all of the row's points, at its example first, then its start, then the
        nodes."""

    def pass_points(self, lane: Hashable) -> int:
        """The most points that the next pass of a lane should have."""

    def vector_bytes(self, route: str) -> int:
        """What the vectors of one node take on the device, all targets together."""

    def vertex_bytes(self, route: str) -> int:
        """What one vertex of the route's curves takes on the device."""

    def lane(self, spec: RouteSpec) -> Hashable:
        """Points of routes with equal lanes may share a pass."""

    def open(self, route: str, spec: RouteSpec) -> None:
        """Begin a route. Raises UnknownLayer and UnsupportedByModel for what this model cannot do."""

    def add_curve(self, route: str, spec: CurveSpec) -> int:
        """Place a curve on the device; returns its number in the route, from 0. Where curves run in a layer's output,
        its values at the ends are found by the first `evaluate` that needs them."""

    def start(self, route: str, curve: int) -> Tensors:
        """The inputs at the curve's alpha 0, as they are computed (of a blur path, the blurred image)."""

    def evaluate(self, points: Sequence[Points]) -> list[Evaluations]:
        """One forward pass over all points, of one lane and one kind, and with gradients a backward pass per target.
        Before it, for curves in a layer's output, passes of at most `max_points` rows that find new ends there; these,
        and the passes of `open` and `layer_is_cut`, are nobody's evaluations and are not counted as forward passes. Nor
        is the pass that finds scores and outputs at the ends of curves in float32, where gradients are in bfloat16.

        Targets are resolved at the route's first point, which must be at the example. Raises whatever the model raises.
        """

    def targets(self, route: str) -> tuple[Target, ...]:
        """The targets as resolved: with terms, and with a position from 0 where the output is a sequence."""

    def outputs(self, route: str) -> NDArray[np.float32]:
        """The raw outputs at the example, of the output's shape."""

    def attributions(
        self, route: str, target: int, weights: Mapping[int, float], *, coarse: bool = False
    ) -> Mapping[str, NDArray[np.float64]]:
        """Sum over nodes of weight * vector, per attributed input, of its shape (summed over a token's embedding), or
        under the layer's name, of its output's shape. float64. Of nodes that were sealed, `weights` hold at least what
        was, of the rule or of the coarse one."""

    def seal(self, route: str, seal: Seal) -> None:
        """Take the sums of vectors whose weights are final, and forget the vectors that only they needed."""

    def observations(self, route: str) -> Sequence[Observation]:
        """One per evaluated point (by its first node), in order of evaluation; empty where nothing is observed."""

    def layer_is_cut(self, route: str, baseline: Tensors) -> bool:
        """Whether all of the first target's score passes through the route's layer: with the layer held at its output
        for `baseline` and everything else at the example, the score is that of the baseline."""

    def close(self, route: str) -> None:
        """Forget a route, its curves and vectors."""


class ModelProvider(Protocol):
    """Loaded models by reference."""

    def get(self, ref: str, digest: str) -> GradientModel:
        """Raises ModelNotReady if it is not loaded, failed its proof, or has another digest."""

    def info(self, ref: str) -> ModelInfo:
        """The description it was loaded by."""

    def reference_set(self, ref: str) -> Tensors:
        """The bundle's reference set: per input, shape (count, *input shape); empty without one."""
