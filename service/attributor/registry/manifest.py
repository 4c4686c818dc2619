"""The manifest of a bundle, from TOML into plain values (ModelInfo).

Knows TOML and the schema. Never reads the environment, never imports a bundle's code, never loads torch.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from attributor.errors import BundleError, RequestError
from attributor.inputs.numbers import finite_float32, whole_int64
from attributor.jobs.model import (
    NO_TOKEN,
    Baseline,
    Feature,
    InputKind,
    InputSpec,
    ModelInfo,
    OutputKind,
    OutputSpec,
    Tensors,
)
from attributor.registry.files import FileRecord
from attributor.registry.schema import InputTable, ManifestTable, first_place, validation_sentences


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says.

    `entry` is `module:function`; the function takes nothing and returns the module. `reference_files`: input name to
    the name of an npy file. `path_entries`: name of a registered path to `module:function`. The `reference_count` of
    `info` stands in the files, so it is 0 here.
    """

    info: ModelInfo
    entry: str
    files: Mapping[str, FileRecord]
    reference_files: Mapping[str, str]
    path_entries: Mapping[str, str]


def parse(data: bytes) -> Manifest:
    """Reads manifest.toml. Raises BundleError whose `field` is the dotted path of the first thing wrong."""
    try:
        table = ManifestTable.model_validate(tomllib.loads(data.decode()))
    except UnicodeDecodeError as error:
        raise BundleError(f"The manifest is not UTF-8: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise BundleError(f"The manifest is not TOML: {error}.") from None
    except ValidationError as error:
        raise BundleError(f"The manifest is wrong: {validation_sentences(error)}.", field=first_place(error)) from None
    return Manifest(
        info=_info(table, hashlib.sha256(data).hexdigest()),
        entry=table.entry,
        files={name: FileRecord(file.sha256, file.size_bytes) for name, file in table.files.items()},
        reference_files=dict(table.reference_set),
        path_entries={name: path.entry for name, path in table.paths.items()},
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
    )


def _input_spec(table: InputTable) -> InputSpec:
    return InputSpec(
        name=table.name,
        kind=InputKind(table.kind),
        shape=tuple(table.shape),
        features=tuple(Feature(f.name, f.unit, f.minimum, f.maximum) for f in table.features),
        value_range=None if table.value_range is None else (table.value_range[0], table.value_range[1]),
        attributed=table.attributed,
        vocabulary=table.vocabulary,
        embedding=table.embedding,
        pad_id=table.pad_id,
        mask_id=table.mask_id,
    )


def _tensors(field: str, values: Mapping[str, float | list[Any]], inputs: Sequence[InputSpec]) -> Tensors:
    """Arrays of the inputs' shapes. Raises BundleError for a missing or unknown input, or a wrong value."""
    names = {spec.name for spec in inputs}
    if names != set(values):
        raise BundleError(f"{field}: exactly these inputs are needed: {', '.join(sorted(names))}.", field=field)
    return {spec.name: _tensor(f"{field}.{spec.name}", values[spec.name], spec) for spec in inputs}


def _tensor(field: str, value: float | list[Any], spec: InputSpec) -> NDArray[Any]:
    try:
        array = _numbers(field, value if isinstance(value, list) else [value], spec)
    except RequestError as error:
        raise BundleError(f"{error.field}: {error.detail}.", field=error.field) from None
    if not isinstance(value, list):
        return np.full(spec.shape, array[0])
    if array.shape != spec.shape:
        raise BundleError(f"{field}: shape {list(spec.shape)} is needed, this is {list(array.shape)}.", field=field)
    return array


def _numbers(field: str, values: list[Any], spec: InputSpec) -> NDArray[Any]:
    if spec.vocabulary is None:
        return finite_float32(values, field=field)
    # Only the path's end may be without a token: its place is in the embedding's output, not in the ids.
    lowest = NO_TOKEN if spec.attributed else 0
    return whole_int64(values, lowest, spec.vocabulary - 1, field=field)
