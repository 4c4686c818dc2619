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

    `CLASSES`: logits, shape (n,). `PROBABILITIES`: the same after a softmax or a vote, adding up to 1, shape (n,).
    `VALUES`: numbers that stand for themselves (regression, an embedding), shape (n,). `SEQUENCE`: logits per
    position, shape (positions, n).
    """

    CLASSES = "classes"
    PROBABILITIES = "probabilities"
    VALUES = "values"
    SEQUENCE = "sequence"


class OutputScale(StrEnum):
    """The scale on which an output is read; `VALUE`, as it stands, is the only one for regression outputs."""

    PROBABILITY = "probability"
    LOGIT = "logit"
    LOG_PROBABILITY = "log_probability"
    VALUE = "value"


class Framework(StrEnum):
    """What a bundle's model is made of.

    `TORCH`: Python code and safetensors. `ONNX`: a graph, differentiable by our importer, or, where the manifest says
    `gradients = false`, run by onnxruntime. `HUGGINGFACE`: a folder as `transformers` saves it. `TORCH_EXPORT`: a
    program of torch.export (`.pt2`), whose loading runs code.
    """

    TORCH = "torch"
    ONNX = "onnx"
    HUGGINGFACE = "huggingface"
    TORCH_EXPORT = "torch-export"


@dataclass(frozen=True, slots=True)
class Element:
    """One number of a tabular input: a column, or one category of a one-hot column (`name` is then "colour=red")."""

    name: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """One named column of a tabular input; `minimum` and `maximum` bound its declared domain.

    With `categories`, a person gives one of them; the model takes its number (from 0), or, `one_hot`, an element per
    category. `missing`: what stands for a missing value: a number of the column, or one of its categories; None: it
    may not be missing.
    """

    name: str
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    one_hot: bool = False
    missing: float | None = None
    missing_category: str | None = None

    @property
    def elements(self) -> tuple[Element, ...]:
        """The numbers that it takes up in the tensor, in order."""
        if self.one_hot:
            return tuple(Element(f"{self.name}={category}", 0.0, 1.0) for category in self.categories)
        if self.categories:
            return (Element(self.name, 0.0, float(len(self.categories) - 1)),)
        return (Element(self.name, self.minimum, self.maximum),)


class SourceKind(StrEnum):
    """What a person gives in one piece, from which several tensors are made."""

    TEXT = "text"
    SMILES = "smiles"


class Part(StrEnum):
    """Which tensor of a source an input is.

    Of a text: `IDS` of its tokens, `MASK` (1 for a token, 0 for padding), `SEGMENTS` (0 in the first text, 1 in the
    second), all int64, shape (positions,). Of a molecule: `ATOMS` (atoms, features), `BONDS` (atoms, atoms, bond
    types), symmetric, `ATOM_MASK` (atoms,) 1 where there is an atom, all float32.
    """

    IDS = "ids"
    MASK = "mask"
    SEGMENTS = "segments"
    ATOMS = "atoms"
    BONDS = "bonds"
    ATOM_MASK = "atom_mask"


@dataclass(frozen=True, slots=True)
class Source:
    """A named thing that a person gives in place of tensors.

    `file`: of a text, the bundle's `tokenizer.json`. `elements`: of a molecule, the symbols that the model knows.
    """

    name: str
    kind: SourceKind
    file: str | None = None
    elements: tuple[str, ...] = ()


class Fit(StrEnum):
    """How a picture of another size becomes one of the model's: `STRETCH` both sides; `CROP`: the shorter side is
    scaled to the model's, and the middle is cut out."""

    STRETCH = "stretch"
    CROP = "crop"


@dataclass(frozen=True, slots=True)
class DeclaredLayer:
    """A layer that the manifest gives a name of its own: `module`, as the model calls it."""

    name: str
    module: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """A named tensor the model takes.

    `shape` has no batch axis. Tabular: shape (n,), one Feature each. Image: shape (channels, height, width),
    channels 1 (grey) or 3 (RGB); `value_range` holds the model's values for pixel 0 and pixel 255. Tokens: ids, shape
    (positions,), from 0 to `vocabulary` - 1; the path runs through the output of the module named `embedding`, and a
    token's attribution is summed over it. `attributed` False: a tensor that is given and never explained (a mask).
    `variable`: of tokens, and of what goes with them: `shape[0]` is the most positions, an example has 1 to that many,
    without padding; all such inputs of an example have equally many. `source`, `part`: made from what a person gives.
    `value_range` may differ by channel: then `normalise` holds mean and standard deviation of each (of pixels from 0
    to 1). `fit`: pictures of other sizes are taken. `groups`: named sets of features.
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
    variable: bool = False
    source: str | None = None
    part: Part | None = None
    normalise: tuple[tuple[float, float], ...] = ()
    fit: Fit | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def elements(self) -> tuple[Element, ...]:
        """Of a tabular input: one for each number of its tensor; empty for other kinds."""
        return tuple(element for feature in self.features for element in feature.elements)

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape, without the batch axis, is one of the input's."""
        if not self.variable:
            return shape == self.shape
        return len(shape) == len(self.shape) and 0 < shape[0] <= self.shape[0] and shape[1:] == self.shape[1:]


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What the model returns: `labels` name the n classes or values; `positions` only of a sequence, the most of them
    where inputs are variable (an output then has as many as the example)."""

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
    bundle registers. `gradients`: whether it can be differentiated; if not, only methods that perturb serve it.
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
    framework: Framework = Framework.TORCH
    gradients: bool = True
    sources: Mapping[str, Source] = field(default_factory=dict)
    layers: Mapping[str, DeclaredLayer] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


class Readiness(StrEnum):
    """Whether a worker can serve a model. `DRAINING`: its folder is gone or changed; what runs on it still ends."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a worker found when it loaded a model and put it to the proof.

    `layer_types`: the class of each of `layers`. `comparators`: whether that worker can run the comparators' methods.
    `loaded`: whether it is in memory; one that is not is loaded when a job wants it. `memory_bytes`: of its parameters
    and buffers. `seconds_per_evaluation`: of one forward and backward pass of one row on that worker, in passes of
    `points_per_pass`, the number that was measured best; `seconds_per_forward`: of the forward pass alone;
    `bytes_per_point`: what a row adds to a pass's peak. `transforms`: what was done to the module without changing its
    answers. `looks`: whether scores show where the first gradients are wanted.
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
    loaded: bool = True
    memory_bytes: int = 0
    seconds_per_evaluation: float | None = None
    seconds_per_forward: float | None = None
    points_per_pass: int | None = None
    bytes_per_point: int | None = None
    transforms: tuple[str, ...] = ()
    looks: bool = True
