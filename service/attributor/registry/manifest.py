"""The manifest of a bundle, from TOML into plain values (ModelInfo).

Knows TOML and the schema. Never reads the environment, never imports a bundle's code, never loads torch.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from attributor.errors import BundleError, RequestError
from attributor.inputs.numbers import finite_float32, whole_int64
from attributor.jobs.domain import pixel_values
from attributor.jobs.model import (
    NO_TOKEN,
    Baseline,
    DeclaredLayer,
    Fit,
    Framework,
    InputKind,
    InputSpec,
    ModelInfo,
    OutputKind,
    OutputSpec,
    Part,
    Source,
    SourceKind,
    Tensors,
)
from attributor.registry.files import MAX_MANIFEST_BYTES, FileRecord
from attributor.registry.schema.inputs import InputTable
from attributor.registry.schema.manifest_table import ManifestTable, first_place, validation_sentences
from attributor.registry.toml_text import read_toml

_EMBEDDING_TASK = "sentence-embedding"
#: As sentence-transformers does where nothing is said.
_DEFAULT_POOLING = "mean"

#: What a baseline may be called where it is a picture's, in the order of `pixel_values`.
_COLOURS = ("black", "white")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says.

    `entry` is `module:function`; the function takes nothing and returns the module (framework torch). `file`: the
    model's own file (onnx, torch-export). `task`, `pooling`, `unit_length`: of Hugging Face models. `input_tensors`:
    the graph's tensor for each input, `output_tensor`: for the output, None for its first float output (onnx).
    `reference_files`: input name to the name of an npy file. `path_entries`: name of a registered path to
    `module:function`. The `reference_count` of `info` stands in the files, so it is 0 here.
    """

    info: ModelInfo
    files: Mapping[str, FileRecord]
    reference_files: Mapping[str, str]
    path_entries: Mapping[str, str]
    entry: str | None = None
    file: str | None = None
    task: str | None = None
    pooling: str | None = None
    unit_length: bool = False
    input_tensors: Mapping[str, str] = field(default_factory=dict)
    output_tensor: str | None = None


def parse(data: bytes) -> Manifest:
    """Reads manifest.toml. Raises BundleError whose `field` is the dotted path of the first thing wrong."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(f"The manifest has {len(data)} bytes; at most {MAX_MANIFEST_BYTES} are read.")
    values = read_toml(data, "The manifest")
    try:
        table = ManifestTable.model_validate(values)
    except ValidationError as error:
        raise BundleError(f"The manifest is wrong: {validation_sentences(error)}.", field=first_place(error)) from None
    return Manifest(
        info=_info(table, hashlib.sha256(data).hexdigest()),
        files={name: FileRecord(file.sha256, file.size_bytes) for name, file in table.files.items()},
        reference_files=dict(table.reference_set),
        path_entries={name: path.entry for name, path in table.paths.items()},
        entry=table.entry,
        file=table.file,
        task=table.task,
        pooling=_pooling(table),
        unit_length=table.unit_length,
        input_tensors={spec.name: spec.tensor or spec.name for spec in table.inputs},
        output_tensor=table.output.tensor,
    )


def _info(table: ManifestTable, digest: str) -> ModelInfo:
    inputs = tuple(_input_spec(input_) for input_ in table.inputs)
    baselines = {
        name: Baseline(name, baseline.description, _tensors(f"baselines.{name}.values", baseline.values, inputs))
        for name, baseline in table.baselines.items()
    }
    output = table.output
    return ModelInfo(
        name=table.name,
        version=table.version,
        digest=digest,
        title=table.title,
        description=table.description,
        licence=table.licence,
        source=table.source,
        inputs=inputs,
        output=OutputSpec(output.name, output.all_labels, OutputKind(output.kind), output.positions),
        baselines=baselines,
        default_baseline=table.default_baseline,
        metadata=dict(table.metadata),
        paths=tuple(table.paths),
        framework=Framework(table.framework),
        gradients=table.gradients,
        sources={
            name: Source(name, SourceKind(source.kind), source.tokenizer, tuple(source.elements or ()))
            for name, source in table.sources.items()
        },
        layers={name: DeclaredLayer(name, layer.module, layer.description) for name, layer in table.layers.items()},
    )


def _pooling(table: ManifestTable) -> str | None:
    """Only a sentence embedding pools."""
    return (table.pooling or _DEFAULT_POOLING) if table.task == _EMBEDDING_TASK else None


def _input_spec(table: InputTable) -> InputSpec:
    return InputSpec(
        name=table.name,
        kind=InputKind(table.kind),
        shape=tuple(table.shape),
        features=tuple(column.feature for column in table.features),
        value_range=None if table.value_range is None else (table.value_range[0], table.value_range[1]),
        attributed=table.attributed,
        vocabulary=table.vocabulary,
        embedding=table.embedding,
        pad_id=table.pad_id,
        mask_id=table.mask_id,
        variable=table.variable,
        source=table.source,
        part=None if table.part is None else Part(table.part),
        normalise=() if (n := table.normalise) is None else tuple(zip(n.mean, n.std, strict=True)),
        fit=None if table.fit is None else Fit(table.fit),
        groups={name: tuple(members) for name, members in table.groups.items()},
    )


def _tensors(field: str, values: Mapping[str, float | str | list[Any]], inputs: Sequence[InputSpec]) -> Tensors:
    """Arrays of the inputs' shapes, read-only where one number stands for all elements. Raises BundleError for an input
    that is missing or unknown, and for a wrong value."""
    names = {spec.name for spec in inputs}
    if names != set(values):
        raise BundleError(f"{field}: exactly these inputs are needed: {', '.join(sorted(names))}.", field=field)
    return {spec.name: _tensor(f"{field}.{spec.name}", values[spec.name], spec) for spec in inputs}


def _tensor(field: str, value: float | str | list[Any], spec: InputSpec) -> NDArray[Any]:
    if isinstance(value, str):
        return _picture(field, value, spec)
    try:
        array = _numbers(field, value if isinstance(value, list) else [value], spec)
    except RequestError as error:
        raise BundleError(f"{error.field}: {error.detail}.", field=error.field) from None
    if not isinstance(value, list):
        return np.broadcast_to(array[0], spec.shape)  # a kilobyte of manifest may stand for gigabytes
    if array.shape != spec.shape:
        raise BundleError(f"{field}: shape {list(spec.shape)} is needed, this is {list(array.shape)}.", field=field)
    return array


def _picture(field: str, colour: str, spec: InputSpec) -> NDArray[np.float32]:
    """Pixel 0 or 255 everywhere, through the value range or the normalisation of each channel."""
    pixels = pixel_values(spec)
    if colour not in _COLOURS or pixels is None:
        fitting = "a number, lists of them" + (', "black" or "white"' if pixels else '; "black" is for images')
        raise BundleError(f"{field}: {colour!r} is no value of {spec.name}: give {fitting}.", field=field)
    return np.broadcast_to(pixels[_COLOURS.index(colour)].astype(np.float32), spec.shape)


def _numbers(field: str, values: list[Any], spec: InputSpec) -> NDArray[Any]:
    if spec.vocabulary is None:
        return finite_float32(values, field=field)
    # Only the path's end may be without a token: its place is in the embedding's output, not in the ids.
    lowest = NO_TOKEN if spec.attributed else 0
    return whole_int64(values, lowest, spec.vocabulary - 1, field=field)
