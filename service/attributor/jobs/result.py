"""What a job answers. Arrays float32 of the input's shape; sums, scores and errors float64 Python floats."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.model import OutputScale, Tensors


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """The target that was explained; `predicted` says that it is the class with the highest score at x."""

    class_index: int
    label: str
    scale: OutputScale
    predicted: bool


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of the rule that was used, in order of alpha: parallel tuples.

    `slope` is None where the gradient was not asked for or not finite; its weight is then 0.
    """

    alpha: tuple[float, ...]
    weight: tuple[float, ...]
    score: tuple[float, ...]
    slope: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ResultWarning:
    """Something the reader should know before trusting the numbers: a stable code and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PathResult:
    """The attributions of one input.

    `completeness_error` = |attribution_sum - (score - baseline_score)|, in units of the score;
    `relative_completeness_error` divides by |score - baseline_score| (None where that is zero).
    `attribution_error`: relative L1 difference to the same rule on every other node (None where undefined).
    """

    target: ResolvedTarget
    score: float
    baseline_score: float
    attribution_sum: float
    completeness_error: float
    relative_completeness_error: float | None
    tolerance: float
    absolute_tolerance: float
    converged: bool
    stop_reason: str
    attribution_error: float | None
    rule: str
    evaluations: int
    forwards: int
    backwards: int
    nodes: Nodes
    attributions: Tensors
    warnings: tuple[ResultWarning, ...]
    computing_s: float


@dataclass(frozen=True, slots=True)
class AttributionResult:
    """One PathResult per input."""

    results: tuple[PathResult, ...]


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """The model's outputs by name, stacked: shape (inputs, classes)."""

    outputs: Mapping[str, NDArray[np.float32]]


JobResult = AttributionResult | PredictionResult
