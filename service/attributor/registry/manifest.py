"""The manifest of a bundle: its schema, and its way into plain values (ModelInfo).

Knows TOML and pydantic. Never reads the environment, never imports a bundle's code, never loads torch.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from attributor.errors import BundleError, RequestError
from attributor.inputs.numbers import finite_float32
from attributor.jobs.model import Baseline, Feature, InputKind, InputSpec, ModelInfo, OutputSpec, Tensors
from attributor.registry.files import FILE_NAME, FileRecord

#: Grey or RGB.
_IMAGE_CHANNELS = (1, 3)
#: Channels, height, width.
_IMAGE_AXES = 3

_Text = Annotated[str, Field(min_length=1)]
#: No underscore in names and versions, so that `attributor_bundle_<name>_<version>` tells any two apart.
_Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
_Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z]+(\.[0-9A-Za-z]+)*$", max_length=32)]
_Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Axis = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    """A manifest is typed by TOML and holds nothing that we do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FeatureTable(_Table):
    """A named column of a tabular input."""

    name: _Text
    unit: _Text | None = None
    minimum: _Number | None = None
    maximum: _Number | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise _wrong("minimum must not be above maximum")
        return self


class InputTable(_Table):
    """A named tensor that the model takes; `shape` without the batch axis."""

    name: _Key
    kind: Literal["tabular", "image", "tensor"]
    shape: Annotated[list[_Axis], Field(min_length=1)]
    features: list[FeatureTable] = []
    value_range: Annotated[list[_Number], Field(min_length=2, max_length=2)] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "tabular":
            if self.shape != [len(self.features)]:
                raise _wrong(f"a tabular input needs shape [{len(self.features)}], one feature per element")
            _require_distinct([feature.name for feature in self.features], "feature names")
        elif self.features:
            raise _wrong("only a tabular input has features")
        if self.kind == "image":
            if len(self.shape) != _IMAGE_AXES or self.shape[0] not in _IMAGE_CHANNELS:
                raise _wrong("an image needs shape [channels, height, width] with 1 or 3 channels")
            if self.value_range is None or self.value_range[0] >= self.value_range[1]:
                raise _wrong("an image needs value_range = [value of pixel 0, value of pixel 255], ascending")
        elif self.value_range is not None:
            raise _wrong("only an image has a value_range")
        return self


class OutputTable(_Table):
    """The logits of a classifier, one label each."""

    name: _Key
    labels: Annotated[list[_Text], Field(min_length=1)]

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        _require_distinct(self.labels, "labels")
        return self


class BaselineTable(_Table):
    """A named x'. `values`: per input one number for all elements, or nested lists of the input's shape."""

    description: _Text
    values: dict[_Key, _Number | list[Any]]


class FileTable(_Table):
    """A file of the bundle."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)]


class ManifestTable(_Table):
    """The whole of manifest.toml, schema version 1."""

    schema_version: Literal[1]
    name: _Name
    version: _Version
    title: _Text
    description: _Text
    framework: Literal["torch"]
    entry: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*:[A-Za-z_][A-Za-z0-9_]*$")]
    licence: _Text
    source: _Text
    inputs: Annotated[list[InputTable], Field(min_length=1, max_length=1)]
    output: OutputTable
    baselines: Annotated[dict[_Key, BaselineTable], Field(min_length=1)]
    default_baseline: str
    metadata: dict[_Key, str] = {}
    files: dict[str, FileTable]

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.default_baseline not in self.baselines:
            raise _wrong(f"default_baseline must be one of {', '.join(self.baselines)}")
        for name in self.files:
            if not FILE_NAME.fullmatch(name):
                raise _wrong(f"files.{name}: a file name is plain (letters, digits, dot, underscore, hyphen), no path")
        code = f"{self.entry.partition(':')[0]}.py"
        if code not in self.files:
            raise _wrong(f"entry names {code}, which files does not list")
        return self


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says. `entry` is `module:function`; the function takes nothing and returns the module."""

    info: ModelInfo
    entry: str
    files: Mapping[str, FileRecord]


def parse(data: bytes) -> Manifest:
    """Reads manifest.toml. Raises BundleError whose `field` is the dotted path of the first thing wrong."""
    try:
        table = ManifestTable.model_validate(tomllib.loads(data.decode()))
    except UnicodeDecodeError as error:
        raise BundleError(f"The manifest is not UTF-8: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise BundleError(f"The manifest is not TOML: {error}.") from None
    except ValidationError as error:
        raise _bundle_error(error) from None
    files = {name: FileRecord(file.sha256, file.size_bytes) for name, file in table.files.items()}
    return Manifest(_info(table, hashlib.sha256(data).hexdigest()), table.entry, files)


def _info(table: ManifestTable, digest: str) -> ModelInfo:
    inputs = tuple(_input_spec(input_) for input_ in table.inputs)
    baselines = {
        name: Baseline(name, baseline.description, _tensors(f"baselines.{name}.values", baseline.values, inputs))
        for name, baseline in table.baselines.items()
    }
    return ModelInfo(
        name=table.name,
        version=table.version,
        digest=digest,
        title=table.title,
        description=table.description,
        licence=table.licence,
        source=table.source,
        inputs=inputs,
        output=OutputSpec(table.output.name, tuple(table.output.labels)),
        baselines=baselines,
        default_baseline=table.default_baseline,
        metadata=dict(table.metadata),
    )


def _input_spec(table: InputTable) -> InputSpec:
    return InputSpec(
        name=table.name,
        kind=InputKind(table.kind),
        shape=tuple(table.shape),
        features=tuple(Feature(f.name, f.unit, f.minimum, f.maximum) for f in table.features),
        value_range=None if table.value_range is None else (table.value_range[0], table.value_range[1]),
    )


def _tensors(field: str, values: Mapping[str, float | list[Any]], inputs: Sequence[InputSpec]) -> Tensors:
    """Float32 arrays of the inputs' shapes. Raises BundleError for a missing or unknown input, or a wrong value."""
    names = {spec.name for spec in inputs}
    if names != set(values):
        raise BundleError(f"{field}: exactly these inputs are needed: {', '.join(sorted(names))}.", field=field)
    return {spec.name: _tensor(f"{field}.{spec.name}", values[spec.name], spec.shape) for spec in inputs}


def _tensor(field: str, value: float | list[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        array = finite_float32(value if isinstance(value, list) else [value], field=field)
    except RequestError as error:
        raise BundleError(f"{error.field}: {error.detail}.", field=error.field) from None
    if not isinstance(value, list):
        return np.full(shape, array[0])
    if array.shape != shape:
        raise BundleError(f"{field}: shape {list(shape)} is needed, this is {list(array.shape)}.", field=field)
    return array


def _require_distinct(names: Sequence[str], what: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise _wrong(f"{what} must differ; repeated: {', '.join(repeated)}")


def _wrong(what: str) -> PydanticCustomError:
    # The text goes in as a value: as a template, braces in a user's name would be taken for placeholders.
    return PydanticCustomError("manifest", "{what}", {"what": what})


def _bundle_error(error: ValidationError) -> BundleError:
    place = _path(error.errors(include_url=False)[0]["loc"])
    return BundleError(f"The manifest is wrong: {validation_sentences(error)}.", field=place or None)


def validation_sentences(error: ValidationError) -> str:
    """All that pydantic found, one clause each, with its dotted path."""
    problems = error.errors(include_url=False)
    return "; ".join(": ".join(filter(None, (_path(problem["loc"]), problem["msg"]))) for problem in problems)


def _path(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location)
