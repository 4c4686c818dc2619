"""What a job answers. Arrays float32 of the input's shape; sums, scores and errors float64 Python floats."""

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class AttributionResult:
    """One PathResult per input and target: all targets of the first input, then of the second."""

    results: tuple[PathResult, ...]


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
