"""What a job answers. Arrays float32 of the input's shape; sums, scores and errors float64 Python floats."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import chain, repeat
from typing import Any, get_origin

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.explanation import Method, Precision, Quantity, Term
from attributor.jobs.model import OutputScale, Tensors


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """The target that was explained: its outputs with their labels and factors.

    `label` names it as a whole; `predicted` says that it is the class with the highest score at x.
    """

    terms: tuple[Term, ...]
    labels: tuple[str, ...]
    label: str
    position: int | None
    scale: OutputScale
    predicted: bool


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the rule that was used, by piece of the path, then alpha (on that piece, 0 to 1): parallel tuples.

    `piece` counts the smooth pieces of all paths of the input: one for a straight path from one baseline. `slope` is
    None where the gradient was not asked for or not finite; its weight is then 0.
    """

    alpha: tuple[float, ...]
    weight: tuple[float, ...]
    score: tuple[float, ...]
    slope: tuple[float | None, ...]
    piece: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BaselineResult:
    """One of the baselines used: its score, and the completeness error of the path that starts there (units of
    score)."""

    name: str
    score: float
    completeness_error: float | None


@dataclass(frozen=True, slots=True)
class InteriorGradients:
    """Gradients at chosen alphas, not cumulated (Sundararajan, Taly and Yan 2016, 2.3).

    `vectors`: dF/dgamma, shape (alphas, *input shape), per input. `importance`: |vectors|, summed over the channels of
    an image (equations 1 and 4), shape (alphas, height, width); else |vectors|. `mean_magnitude`: mean of |vectors|,
    per alpha. The path is that from the first baseline.
    """

    alphas: tuple[float, ...]
    vectors: Tensors
    importance: Tensors
    mean_magnitude: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class LayerDistance:
    """How far a layer's output at each node is from that at x: L2 norm of the difference, and 1 - cosine."""

    layer: str
    l2: tuple[float, ...]
    cosine: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SaturationResult:
    """The first target's score along the path from the first baseline, at ascending alphas: parallel tuples.

    `probability` and `logit`: of the target on both scales, `probability` None for regression outputs; `logit` is the
    log-probability (of 0, that of the smallest normal float32) where outputs are probabilities.
    """

    alpha: tuple[float, ...]
    score: tuple[float, ...]
    probability: tuple[float, ...] | None
    logit: tuple[float, ...]
    layers: tuple[LayerDistance, ...]


@dataclass(frozen=True, slots=True)
class LayerResult:
    """Where the attributions are. `cut`: whether all of the score passes through the layer, so that completeness can
    hold; found by holding it at its value for the baseline and comparing scores. None where that was not tried."""

    name: str
    quantity: Quantity
    cut: bool | None


@dataclass(frozen=True, slots=True)
class ResultWarning:
    """Something the reader should know before trusting the numbers: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PathResult:
    """The attributions of one input for one target.

    `completeness_error` = |attribution_sum - (score - baseline_score)|, in units of the score;
    `relative_completeness_error` divides by |score - baseline_score| (None where that is zero). Both are None, and
    `completeness_reason` says why, for methods without the axiom. `baseline_score` is the mean over `baselines`.
    `attribution_error`: relative L1 difference to the same rule on every other node (None where undefined). What
    concerns integration (tolerances, `converged`, `rule`, `nodes`) is None for methods that do not integrate.
    `saturation` stands in the first target's result. `spread`: standard deviation of the attributions over the
    baselines (n - 1), where there are several.
    `standard_error`: of sampled attributions, per feature. `baseline`: the (mean) baseline, in the input's units.
    """

    input: int
    method: Method
    target: ResolvedTarget
    score: float
    baseline_score: float | None
    attribution_sum: float
    completeness_error: float | None
    relative_completeness_error: float | None
    completeness_reason: str | None
    tolerance: float | None
    absolute_tolerance: float | None
    attribution_tolerance: float | None
    converged: bool | None
    stop_reason: str | None
    attribution_error: float | None
    rule: str | None
    evaluations: int
    forwards: int
    backwards: int
    nodes: Nodes | None
    attributions: Tensors
    baseline: Tensors | None
    baselines: tuple[BaselineResult, ...]
    warnings: tuple[ResultWarning, ...]
    computing_s: float
    seed: int | None = None
    precision: Precision = Precision.FLOAT32
    spread: Tensors | None = None
    standard_error: Tensors | None = None
    interior: InteriorGradients | None = None
    saturation: SaturationResult | None = None
    layer: LayerResult | None = None
    precision_error: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ResultColumns:
    """Results of inputs that were asked alike, on one straight path each, in one target: as columns, where one object
    for each takes longer to make, to write and to read than its numbers to compute.

    `like`: what they have in common; what the columns say means nothing there. Per row: `inputs`, its number; which of
    the `targets`, and of the `warnings`; `scores` and `weights` of the nodes with both ends, shape (rows, nodes), and
    `slopes`, without them; `sums` to `computing_s`: PathResult's fields, `baseline_errors` those of its only
    BaselineResult, not a number where it has None; `attributions`: per input, shape (rows, *input shape).
    """

    like: PathResult
    inputs: NDArray[np.int64]
    targets: tuple[ResolvedTarget, ...]
    target: NDArray[np.int64]
    scores: NDArray[np.float64]
    weights: NDArray[np.float64]
    slopes: NDArray[np.float64]
    sums: NDArray[np.float64]
    errors: NDArray[np.float64]
    relative_errors: NDArray[np.float64]
    baseline_errors: NDArray[np.float64]
    absolute_tolerances: NDArray[np.float64]
    attribution_errors: NDArray[np.float64]
    computing_s: NDArray[np.float64]
    attributions: Tensors
    warnings: tuple[tuple[ResultWarning, ...], ...]
    warned: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[PathResult]:
        own = self._by_field()
        return map(PathResult, *[own[name] if name in own else repeat(getattr(self.like, name)) for name in _FIELDS])

    def result(self, row: int) -> PathResult:
        """One of them."""
        one = slice(row, row + 1)
        arrays = {name: getattr(self, name)[one] for name in _ARRAYS}
        attributions = {name: values[one] for name, values in self.attributions.items()}
        return next(iter(replace(self, attributions=attributions, **arrays)))

    def _by_field(self) -> dict[str, list[Any]]:
        """What the columns say, by fields of PathResult, a list with one entry per row."""
        scores = self.scores.tolist()
        first, last = self.scores[:, 0].tolist(), self.scores[:, -1].tolist()
        (baseline,), nodes = self.like.baselines, self.like.nodes
        each = zip(self.weights.tolist(), scores, self.slopes.tolist(), strict=True)
        return {
            "input": self.inputs.tolist(),
            "target": [self.targets[i] for i in self.target.tolist()],
            "score": last,
            "baseline_score": first,
            "attribution_sum": self.sums.tolist(),
            "completeness_error": self.errors.tolist(),
            "relative_completeness_error": numbers_or_none(self.relative_errors),
            "absolute_tolerance": self.absolute_tolerances.tolist(),
            "attribution_error": numbers_or_none(self.attribution_errors),
            "nodes": [
                nodes and Nodes(nodes.alpha, tuple(w), tuple(f), (None, *s, None), nodes.piece) for w, f, s in each
            ],
            "attributions": [
                dict(zip(self.attributions, values, strict=True))
                for values in zip(*self.attributions.values(), strict=True)
            ],
            "baselines": [
                (BaselineResult(baseline.name, score, error),)
                for score, error in zip(first, self.baseline_errors.tolist(), strict=True)
            ],
            "warnings": [self.warnings[i] for i in self.warned.tolist()],
            "computing_s": self.computing_s.tolist(),
        }


_FIELDS = tuple(each.name for each in fields(PathResult))
#: Those of ResultColumns that have one entry per row.
_ARRAYS = tuple(each.name for each in fields(ResultColumns) if get_origin(each.type) is np.ndarray)


def numbers_or_none(values: NDArray[np.float64]) -> list[float | None]:
    """None for what is not a number."""
    return [None if value != value else value for value in values.tolist()]


@dataclass(frozen=True, slots=True)
class AttributionResult:
    """One PathResult per input and target: all targets of the first input, then of the second. `columns`: those of
    inputs that were computed together; `apart`: the others, in their order."""

    apart: tuple[PathResult, ...]
    columns: tuple[ResultColumns, ...] = ()

    def __len__(self) -> int:
        return len(self.apart) + sum(map(len, self.columns))

    @property
    def results(self) -> tuple[PathResult, ...]:
        """All of them, in their order."""
        if not self.columns:
            return self.apart
        return tuple(sorted(chain(self.apart, *self.columns), key=lambda result: result.input))

    def result(self, number: int) -> PathResult:
        """One of them. Raises IndexError."""
        if not self.columns:
            return self.apart[number]
        # With columns there is one target, so that results have their inputs' numbers.
        for columns in self.columns:
            (rows,) = np.nonzero(columns.inputs == number)
            if len(rows):
                return columns.result(int(rows[0]))
        return next(each for each in self.apart if each.input == number)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of an input that is still being computed, for its first target.

    `completeness_error`: relative, None while it is unknown. `attributions`: float32, None before the first round.
    """

    input: int
    evaluations: int
    completeness_error: float | None
    attributions: Tensors | None


@dataclass(frozen=True, slots=True)
class PartialResult:
    """What a running job has so far: the results of inputs that are done, and estimates of those under way."""

    results: tuple[PathResult, ...]
    estimates: tuple[Estimate, ...] = ()


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """The model's outputs by name, stacked: shape (inputs, *output shape)."""

    outputs: Mapping[str, NDArray[np.float32]]


JobResult = AttributionResult | PredictionResult
