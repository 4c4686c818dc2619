"""The words of a request for an explanation: method, baselines, path, targets, layer, smoothing, diagnostics.

Frozen values, in the terms of the papers. Knows nothing of how any of it is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

from attributor.jobs.model import OutputScale, Tensors


class Method(StrEnum):
    """How features get their shares. Those of `COMPARATORS` run beside the engine, through Captum."""

    INTEGRATED_GRADIENTS = "integrated_gradients"
    EXPECTED_GRADIENTS = "expected_gradients"
    SALIENCY = "saliency"
    GRADIENT_X_INPUT = "gradient_x_input"
    SHAPLEY = "shapley"
    DEEP_LIFT = "deep_lift"
    LRP = "lrp"
    GUIDED_BACKPROPAGATION = "guided_backpropagation"
    DECONVOLUTION = "deconvolution"
    OCCLUSION = "occlusion"
    KERNEL_SHAP = "kernel_shap"
    LIME = "lime"


#: Methods of other makers, for comparison: computed one job at a time in a process of their own.
COMPARATORS = frozenset(
    {
        Method.DEEP_LIFT,
        Method.LRP,
        Method.GUIDED_BACKPROPAGATION,
        Method.DECONVOLUTION,
        Method.OCCLUSION,
        Method.KERNEL_SHAP,
        Method.LIME,
    }
)


class BaselineKind(StrEnum):
    """Where a baseline comes from. `NAMED` and `TENSOR` carry their values; the others are made by the worker."""

    NAMED = "named"
    TENSOR = "tensor"
    ZERO = "zero"
    CONSTANT = "constant"
    BLACK = "black"
    WHITE = "white"
    BLUR = "blur"
    UNIFORM = "uniform"
    GAUSSIAN = "gaussian"
    MEAN = "mean"
    MEDIAN = "median"
    MODE = "mode"
    REFERENCE = "reference"
    OTHER_CLASS = "other_class"
    PAD = "pad"
    MASK = "mask"
    ZERO_EMBEDDING = "zero_embedding"


@dataclass(frozen=True, slots=True)
class BaselinePart:
    """The baseline of one input tensor.

    `values`: of `NAMED` and `TENSOR`, the input's shape. `value`: of `CONSTANT`. `sigma`: of `BLUR` in pixels, of
    `GAUSSIAN` in units of the input. `samples`: how many are drawn, for `UNIFORM`, `GAUSSIAN` and `REFERENCE`.
    """

    kind: BaselineKind
    values: NDArray[Any] | None = None
    value: float | None = None
    sigma: float | None = None
    samples: int = 1


@dataclass(frozen=True, slots=True)
class BaselineSpec:
    """One baseline asked for, by input; parts drawn at random are drawn together, `samples` times (equal in all)."""

    name: str
    parts: Mapping[str, BaselinePart]

    @property
    def samples(self) -> int:
        """How many baselines this one stands for."""
        return max((part.samples for part in self.parts.values()), default=1)


class GammaKind(StrEnum):
    """The form of a path. `GUIDED` concerns all inputs at once; the others may differ from input to input."""

    STRAIGHT = "straight"
    POLYLINE = "polyline"
    BLUR = "blur"
    GUIDED = "guided"
    REGISTERED = "registered"


@dataclass(frozen=True, slots=True)
class Gamma:
    """The path of one input tensor from baseline to example.

    `points`: of a polyline, its inner vertices in order, each of the input's shape. `sigma`: of a blur path, the
    standard deviation at alpha 0, pixels. `name`: of a registered path. `steps`, `fraction`: of Guided IG, the number
    of pieces and the share of features that may move in each.
    """

    kind: GammaKind = GammaKind.STRAIGHT
    points: tuple[NDArray[Any], ...] = ()
    sigma: float | None = None
    name: str | None = None
    steps: int = 20
    fraction: float = 0.25


@dataclass(frozen=True, slots=True)
class Term:
    """An output and its factor in a target."""

    index: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """The differentiable scalar F: the sum of weight * output over `terms`, each output read on `scale`.

    Without terms: the class with the `rank`-th largest output at x, from 0. `position`: of a sequence output; negative
    ones count from the end. Class A minus class B is terms (A, 1), (B, -1).
    """

    terms: tuple[Term, ...] = ()
    rank: int = 0
    position: int | None = None
    scale: OutputScale = OutputScale.PROBABILITY


class Quantity(StrEnum):
    """What is attributed to a layer's output z (design.md, section 1).

    `LAYER_IG`: the path is straight in z, from z(x') to z(x). `CONDUCTANCE`: the path is in the input, and a unit gets
    the integral of dF/dz * dz/dalpha (Dhamdhere, Sundararajan, Yan 2018). `INFLUENCE`: the mean of dF/dz over the path
    in the input (Leino, Sen, Datta, Fredrikson, Li 2018); no factor, no completeness.
    """

    LAYER_IG = "layer_ig"
    CONDUCTANCE = "conductance"
    INFLUENCE = "influence"


@dataclass(frozen=True, slots=True)
class Layer:
    """A named module whose output is attributed in place of the inputs."""

    name: str
    quantity: Quantity = Quantity.LAYER_IG


class SmoothForm(StrEnum):
    """What is averaged over noisy copies: A (Smilkov et al. 2017), A squared, or the variance of A (Adebayo et al.
    2018)."""

    PLAIN = "plain"
    SQUARED = "squared"
    VARIANCE = "variance"


@dataclass(frozen=True, slots=True)
class Smoothing:
    """SmoothGrad around any method: `samples` copies of x with gaussian noise of `noise` times the range of x."""

    form: SmoothForm = SmoothForm.PLAIN
    samples: int = 10
    noise: float = 0.1


@dataclass(frozen=True, slots=True)
class Saturation:
    """Diagnostics along the path (Sundararajan, Taly and Yan 2016, 2.2): the score as probability and logit, and for
    `layers` the distance of their output to that at x, at all nodes that the job evaluates and at `alphas`."""

    alphas: tuple[float, ...] = ()
    layers: tuple[str, ...] = ()


class Precision(StrEnum):
    """In what numbers a model's passes are computed. `BFLOAT16`: matrix products and convolutions in bfloat16, faster
    and with an error that the answer states."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is asked of one input.

    `gamma`: the paths that are not straight, by input. `interior_alphas`: where interior gradients are wanted.
    `samples`: of expected gradients and Shapley paths. `absolute`: saliency answers |gradient|. `options`: of a
    comparator. `layer_names`: what the request calls modules that the manifest gives names of their own.
    """

    method: Method = Method.INTEGRATED_GRADIENTS
    baselines: tuple[BaselineSpec, ...] = ()
    gamma: Mapping[str, Gamma] = field(default_factory=dict)
    targets: tuple[Target, ...] = (Target(),)
    layer: Layer | None = None
    smoothing: Smoothing | None = None
    interior_alphas: tuple[float, ...] = ()
    saturation: Saturation | None = None
    samples: int = 1
    absolute: bool = True
    seed: int = 0
    options: Mapping[str, float] = field(default_factory=dict)
    layer_names: Mapping[str, str] = field(default_factory=dict)
    precision: Precision = Precision.FLOAT32


def fixed_baseline(name: str, tensors: Tensors) -> BaselineSpec:
    """A baseline whose values are given for every input."""
    return BaselineSpec(name, {key: BaselinePart(BaselineKind.TENSOR, values) for key, values in tensors.items()})
