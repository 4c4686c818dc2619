"""One entry of a request's `inputs` to the model's tensors: which names, and which reader for each value.

Knows the kinds of input and which of them are made from a source, and leaves the values to `tabular`, `image`,
`tokens`, `tensor` and the readers of sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.errors import InvalidInput, InvalidShape
from attributor.inputs.image import decode_image
from attributor.inputs.tabular import decode_features, listed
from attributor.inputs.tensor import decode_tensor
from attributor.inputs.tokens import decode_ids
from attributor.jobs.given import Given, GivenMolecule, GivenPicture, GivenText
from attributor.jobs.model import InputKind, InputSpec, Part, Tensors
from attributor.ports import SourceReader

#: What a value may be, per kind, for errors.
_FORMS = {
    InputKind.TABULAR: "an object of feature name to number, or a tensor object",
    InputKind.IMAGE: "a PNG or JPEG as base64 text, or a tensor object",
    InputKind.TENSOR: 'a tensor object {"shape": [...], "datatype": "FP32", "data": [...]}',
    InputKind.TOKENS: 'a list of token ids, or a tensor object {"shape": [...], "datatype": "INT64", "data": [...]}',
}

#: What stands for a part of a text that is left out beside the ids: all tokens are there, and all of the first text.
_FILLINGS = {Part.MASK: 1, Part.SEGMENTS: 0}


@dataclass(slots=True)
class _Found:
    """What has been read so far."""

    tensors: dict[str, NDArray[Any]] = field(default_factory=dict)
    texts: dict[str, GivenText] = field(default_factory=dict)
    molecules: dict[str, GivenMolecule] = field(default_factory=dict)
    pictures: dict[str, GivenPicture] = field(default_factory=dict)


def decode_inputs(
    specs: Sequence[InputSpec], sources: Mapping[str, SourceReader], item: Mapping[str, object], *, field: str
) -> tuple[Tensors, Given]:
    """Each of `specs` by name as an array of a shape that it takes (int64 for token ids, else float32), and what was
    given in place of tensors.

    `item` is keyed by names of inputs and of `sources`; a source fills all inputs that are made from it. `specs` may be
    some of the model's inputs, in the model's order. `field` is the item's place in the request, such as `inputs.0`.
    Raises InvalidInput, InvalidShape, InvalidImage, ImageTooLarge, InvalidBase64, UnsupportedByModel, each with the
    place of the first fault.
    """
    _require_names(specs, sources, item, field)
    found = _Found()
    for name in dict.fromkeys(spec.source for spec in specs if spec.source in sources and spec.source in item):
        _read_source(str(name), specs, sources, item, (found, field))
    for spec in specs:
        if spec.name in item:
            _read_input(spec, item[spec.name], found, field=f"{field}.{spec.name}")
    for spec in specs:
        if spec.name not in found.tensors:
            found.tensors[spec.name] = _filled(spec, specs, found)
    _require_equal_positions(specs, found, field)
    tensors = {spec.name: found.tensors[spec.name] for spec in specs}
    return tensors, Given(found.texts, found.molecules, found.pictures)


def _require_names(
    specs: Sequence[InputSpec], sources: Mapping[str, SourceReader], item: Mapping[str, object], field: str
) -> None:
    """All inputs are given, each once, and nothing else."""
    usable = {spec.source for spec in specs if spec.source in sources}
    names = {spec.name for spec in specs}
    for name in item:
        if name not in names and name not in usable:
            raise InvalidInput(f"unknown input; the model takes {_takes(specs, sources)}", field=f"{field}.{name}")
    for spec in specs:
        made = spec.source in usable and spec.source in item
        if made and spec.name in item:
            detail = f'is made from "{spec.source}", which is given as well; give one of the two'
            raise InvalidInput(detail, field=f"{field}.{spec.name}")
        if not made and spec.name not in item and _ids_beside(spec, specs, item) is None:
            begun = any(other.name in item for other in specs if other.source == spec.source)
            missing = spec.name if begun or spec.source not in usable else spec.source
            detail = f"is missing; the model takes {_takes(specs, sources)}"
            raise InvalidInput(detail, field=f"{field}.{missing}")


def _takes(specs: Sequence[InputSpec], sources: Mapping[str, SourceReader]) -> str:
    """What an item may hold, as a sentence lists it: sources first, with the tensors that they stand for."""
    made: dict[str, list[str]] = {}
    for spec in specs:
        if spec.source is not None and spec.source in sources:
            made.setdefault(spec.source, []).append(spec.name)
    parts = [f'"{source}" (or the tensors {listed(names)} in its place)' for source, names in made.items()]
    plain = [spec.name for spec in specs if spec.source not in made]
    return ", ".join([*parts, *([listed(plain)] if plain else [])])


def _ids_beside(spec: InputSpec, specs: Sequence[InputSpec], names: Mapping[str, object]) -> str | None:
    """The given token ids of variable length by which a part that is left out can be filled."""
    if spec.source is None or not spec.variable or spec.part not in _FILLINGS:
        return None
    ids = (other for other in specs if other.source == spec.source and other.part is Part.IDS and other.variable)
    return next((other.name for other in ids if other.name in names), None)


def _filled(spec: InputSpec, specs: Sequence[InputSpec], found: _Found) -> NDArray[Any]:
    ids = _ids_beside(spec, specs, found.tensors)
    count = len(found.tensors[ids or ""])  # _require_names has seen that there are ids
    return np.full((count, *spec.shape[1:]), _FILLINGS[spec.part or Part.MASK], _datatype(spec))


def _read_source(
    name: str,
    specs: Sequence[InputSpec],
    sources: Mapping[str, SourceReader],
    item: Mapping[str, object],
    into: tuple[_Found, str],
) -> None:
    found, field = into
    parts, given = sources[name].read(item[name], field=f"{field}.{name}")
    for spec in specs:
        if spec.source == name and spec.part is not None:
            found.tensors[spec.name] = parts[spec.part].astype(_datatype(spec))
    if isinstance(given, GivenText):
        found.texts[name] = given
    else:
        found.molecules[name] = given


def _read_input(spec: InputSpec, value: object, found: _Found, *, field: str) -> None:
    if isinstance(value, str) and spec.kind is InputKind.IMAGE:
        found.tensors[spec.name], picture = decode_image(spec, value, field=field)
        if picture is not None:
            found.pictures[spec.name] = picture
    else:
        found.tensors[spec.name] = _array(spec, value, field=field)


def _array(spec: InputSpec, value: object, *, field: str) -> NDArray[Any]:
    if isinstance(value, list) and spec.kind is InputKind.TOKENS:
        return decode_ids(spec, value, field=field)
    if isinstance(value, list) and spec.kind is InputKind.TENSOR:
        detail = f"a plain list is one of token ids, and this input takes numbers: it must be {_FORMS[spec.kind]}"
        raise InvalidInput(detail, field=field)
    if not isinstance(value, Mapping):
        beside = f', or give "{spec.source}" in its place' if spec.source else ""
        raise InvalidInput(f"must be {_FORMS[spec.kind]}{beside}", field=field)
    if spec.kind is InputKind.TABULAR and not _is_tensor(spec, value):
        return decode_features(spec, value, field=field)
    return decode_tensor(spec, value, field=field)


def _is_tensor(spec: InputSpec, value: Mapping[str, object]) -> bool:
    """A table may have a column named "data": the object is a tensor only where that is not a feature."""
    return "data" in value and all(feature.name != "data" for feature in spec.features)


def _datatype(spec: InputSpec) -> type[np.int64] | type[np.float32]:
    return np.int64 if spec.kind is InputKind.TOKENS else np.float32


def _require_equal_positions(specs: Sequence[InputSpec], found: _Found, field: str) -> None:
    variable = [spec.name for spec in specs if spec.variable]
    for name in variable[1:]:
        first, count, own = variable[0], len(found.tensors[variable[0]]), len(found.tensors[name])
        if own != count:
            detail = f'has {own} positions and "{first}" {count}; inputs of variable length need equally many'
            raise InvalidShape(detail, field=f"{field}.{name}")
