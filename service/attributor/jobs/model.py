"""What a bundle's manifest says about a model, as plain values: all that the API needs to validate and describe.

Knows nothing of files, torch or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

#: Values of one model input, by input name; each float32 of the declared shape, no batch axis.
Tensors = Mapping[str, NDArray[np.float32]]


class InputKind(StrEnum):
    """What a person may send for an input; a tensor is always accepted."""

    TABULAR = "tabular"
    IMAGE = "image"
    TENSOR = "tensor"


class OutputScale(StrEnum):
    """The scale on which a class score is read."""

    PROBABILITY = "probability"
    LOGIT = "logit"
    LOG_PROBABILITY = "log_probability"


@dataclass(frozen=True, slots=True)
class Feature:
    """One named column of a tabular input; `minimum` and `maximum` bound its declared domain."""

    name: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A named tensor the model takes.

    `shape` has no batch axis. Tabular: shape (n,), one Feature each. Image: shape (channels, height, width),
    channels 1 (grey) or 3 (RGB); `value_range` holds the model's values for pixel 0 and pixel 255.
    """

    name: str
    kind: InputKind
    shape: tuple[int, ...]
    features: tuple[Feature, ...] = ()
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """A classifier's logits: shape (n,), one label each."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """A named x', the input that stands for absence."""

    name: str
    description: str
    tensors: Tensors


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One version of one model. `digest` is the sha256 of its manifest, which holds the sha256 of every file."""

    name: str
    version: str
    digest: str
    title: str
    description: str
    licence: str
    source: str
    inputs: tuple[InputSpec, ...]
    output: OutputSpec
    baselines: Mapping[str, Baseline]
    default_baseline: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


class Readiness(StrEnum):
    """Whether a worker can serve a model."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a worker found when it loaded a model and put it to the proof."""

    ref: str
    digest: str
    readiness: Readiness
    reason: str | None
    layers: tuple[str, ...]
    checks: Mapping[str, str]
    reported_at: float
