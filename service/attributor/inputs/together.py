"""Many inputs of one form as one array: what takes most requests' time otherwise is to look at each by itself.

Only what is right in every respect is read here; all else is left to `decode`, which knows what to say of it.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from attributor.errors import InvalidInput, InvalidShape
from attributor.inputs.numbers import finite_float32
from attributor.jobs.model import InputKind, InputSpec, Tensors
from attributor.jobs.once import once

#: Numbers read at once, at most. Ours: 2 MB as they are converted; of inputs half as large, nothing is gained.
_MOST_NUMBERS = 2**18
_KEYS = frozenset({"shape", "datatype", "data"})
_INTS = frozenset({int})


def decode_tensors(specs: Sequence[InputSpec], items: Sequence[Mapping[str, Any]]) -> list[Tensors] | None:
    """The inputs of a model of one tensor of numbers, each sent as a tensor object of FP32 with its numbers in a row;
    None where anything is otherwise, or wrong."""
    if len(specs) != 1:
        return None
    [spec] = specs
    size = _numbers(spec)
    if size == 0:
        return None
    shapes = (list(spec.shape), [1, *spec.shape])
    rows = []
    for item in items:
        value = item.get(spec.name)
        if len(item) != 1 or type(value) is not dict or not value.keys() <= _KEYS:
            return None
        data, shape = value.get("data"), value.get("shape")
        if type(data) is not list or len(data) != size:
            return None
        if type(shape) is not list or shape not in shapes or not _INTS.issuperset(map(type, shape)):
            return None  # 1.0 and true are no sizes
        if value.get("datatype", "FP32") != "FP32":
            return None
        rows.append(data)
    return _read(spec, rows, _MOST_NUMBERS // size)


@once
def _numbers(spec: InputSpec) -> int:
    """How many numbers such an input has; 0 where it is not to be read here."""
    if spec.kind is InputKind.TOKENS or spec.variable or any(each.name == "data" for each in spec.features):
        return 0
    size = prod(spec.shape)
    return size if size <= _MOST_NUMBERS // 2 else 0


def _read(spec: InputSpec, rows: list[list[Any]], n_at_once: int) -> list[Tensors] | None:
    found: list[Tensors] = []
    for start in range(0, len(rows), n_at_once):
        some = rows[start : start + n_at_once]
        try:
            array = finite_float32(some, field=spec.name)
        except (InvalidInput, InvalidShape):
            return None
        if array.ndim != 2:  # rows of lists of one number each
            return None
        found += [{spec.name: each} for each in array.reshape(len(some), *spec.shape)]
    return found
