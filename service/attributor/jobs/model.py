"""What a bundle's manifest says about a model, as plain values: all that the API needs to validate and describe.

Knows nothing of files, torch or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from numpy.typing import NDArray

#: Values of a model's inputs, by input name; of the declared shape, no batch axis: float32, or int64 for token ids.
Tensors = Mapping[str, NDArray[Any]]

#: In place of a token id: no token, whose embedding is zero.
NO_TOKEN = -1


class InputKind(StrEnum):
    """What a person may send for an input; a tensor is always accepted."""

    TABULAR = "tabular"
    IMAGE = "image"
    TENSOR = "tensor"
    TOKENS = "tokens"


class OutputKind(StrEnum):
    """What a model returns per input.

    `CLASSES`: logits, shape (n,). `VALUES`: numbers that stand for themselves (regression), shape (n,). `SEQUENCE`:
    logits per position, shape (positions, n).
    """

    CLASSES = "classes"
    VALUES = "values"
    SEQUENCE = "sequence"


class OutputScale(StrEnum):
    """The scale on which an output is read; `VALUE`, as it stands, is the only one for regression outputs."""

    PROBABILITY = "probability"
    LOGIT = "logit"
    LOG_PROBABILITY = "log_probability"
    VALUE = "value"


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
    channels 1 (grey) or 3 (RGB); `value_range` holds the model's values for pixel 0 and pixel 255. Tokens: ids, shape
    (positions,), from 0 to `vocabulary` - 1; the path runs through the output of the module named `embedding`, and a
    token's attribution is summed over it. `attributed` False: a tensor that is given and never explained (a mask).
    """

    name: str
    kind: InputKind
    shape: tuple[int, ...]
    features: tuple[Feature, ...] = ()
    value_range: tuple[float, float] | None = None
    attributed: bool = True
    vocabulary: int | None = None
    embedding: str | None = None
    pad_id: int | None = None
    mask_id: int | None = None


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What the model returns: `labels` name the n classes or values; `positions` only of a sequence."""

    name: str
    labels: tuple[str, ...]
    kind: OutputKind = OutputKind.CLASSES
    positions: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output for one input, no batch axis."""
        return (len(self.labels),) if self.positions is None else (self.positions, len(self.labels))


@dataclass(frozen=True, slots=True)
class Baseline:
    """A named x', the input that stands for absence."""

    name: str
    description: str
    tensors: Tensors


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One version of one model. `digest` is the sha256 of its manifest, which holds the sha256 of every file.

    `reference_count`: inputs in the bundle's reference set, 0 without one. `paths`: names of the path objects that the
    bundle registers.
    """

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
    reference_count: int = 0
    paths: tuple[str, ...] = ()

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
    """What a worker found when it loaded a model and put it to the proof.

    `layer_types`: the class of each of `layers`. `comparators`: whether that worker can run the comparators' methods.
    """

    ref: str
    digest: str
    readiness: Readiness
    reason: str | None
    layers: tuple[str, ...]
    checks: Mapping[str, str]
    reported_at: float
    layer_types: tuple[str, ...] = ()
    comparators: bool = True
