"""What a method found for one example, before it is put into words: float64 vectors and scores, per target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Curve
from attributor.core.integrator import Integral
from attributor.engine.baselines import NamedBaseline
from attributor.engine.route import Vectors
from attributor.errors import NonFiniteGradient
from attributor.jobs.explanation import Target
from attributor.jobs.model import Tensors
from attributor.jobs.result import InteriorGradients, LayerResult, SaturationResult

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Copy:
    """An example to explain: x itself, or a noisy copy of it, which has a number and random numbers of its own.

    `word` sets its routes apart from others'.
    """

    example: Tensors
    targets: tuple[Target, ...]
    word: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A baseline with what its own path gave, per target: F(x'), and |sum of attributions - (F(x) - F(x'))|."""

    baseline: NamedBaseline
    scores: tuple[float, ...]
    errors: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Integration:
    """How the integral was found: its curves and weights, and ||A - A_coarse||_1 per target."""

    curves: tuple[Curve, ...]
    integral: Integral
    coarse_differences: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One example explained. Tuples are per target; `targets` are resolved, `predicted` are the classes predicted at x,
    at each target's position (None for regression).

    `incomplete`: why completeness is not promised, None where it is. `converged`: whether all integrations did, None
    without any. `standard_errors`: of sampled attributions;
    `spreads`: standard deviations over the baselines, where there are several. `precision_errors`: relative L1, of
    answers from passes in bfloat16.
    """

    targets: tuple[Target, ...]
    predicted: tuple[int | None, ...]
    scores: tuple[float, ...]
    attributions: tuple[Vectors, ...]
    incomplete: str | None = None
    lines: tuple[Line, ...] = ()
    converged: tuple[bool, ...] | None = None
    integration: Integration | None = None
    spreads: tuple[Vectors, ...] | None = None
    standard_errors: tuple[Vectors, ...] | None = None
    interior: tuple[InteriorGradients, ...] | None = None
    saturation: SaturationResult | None = None
    layer: LayerResult | None = None
    precision_errors: tuple[float, ...] | None = None

    def baseline_score(self, target: int) -> float | None:
        """Mean of F(x') over the baselines; None without any."""
        return sum(line.scores[target] for line in self.lines) / len(self.lines) if self.lines else None


def mean(vectors: Sequence[Vectors]) -> Vectors:
    """Of sets of vectors, by name."""
    if len(vectors) == 1:
        return vectors[0]
    return {name: np.mean([each[name] for each in vectors], axis=0) for name in vectors[0]}


def deviation(vectors: Sequence[Vectors]) -> Vectors:
    """Standard deviation over several sets of vectors (n - 1), by name; zero for one."""
    ddof = 1 if len(vectors) > 1 else 0
    return {name: np.std([each[name] for each in vectors], axis=0, ddof=ddof) for name in vectors[0]}


def scaled(vectors: Vectors, factor: float) -> Vectors:
    """Times a number."""
    return {name: values * factor for name, values in vectors.items()}


def total(vectors: Mapping[str, np.ndarray]) -> float:
    """The sum of all elements, in float64."""
    return float(sum(values.sum(dtype=np.float64) for values in vectors.values()))


def l1(vectors: Vectors) -> float:
    """The L1 norm over all elements."""
    return float(sum(np.abs(values).sum() for values in vectors.values()))


def require_representable(vectors: Vectors) -> None:
    """Raises NonFiniteGradient for values that float32, in which attributions are answered, cannot hold."""
    if any(not (np.abs(values) <= LARGEST_FLOAT32).all() for values in vectors.values()):
        raise NonFiniteGradient("the gradients on the path are too large to add up")


def as_served(vectors: Vectors) -> Mapping[str, NDArray[np.float32]]:
    """float32, as attributions are answered. Raises NonFiniteGradient where that overflows."""
    require_representable(vectors)
    return {name: values.astype(np.float32) for name, values in vectors.items()}
