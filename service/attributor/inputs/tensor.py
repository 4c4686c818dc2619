"""Tensors in Open Inference Protocol form to float32 arrays (int64 for token ids) of a declared shape.

Knows nothing of files or images.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.errors import InvalidInput, InvalidShape
from attributor.inputs.numbers import FLOAT32_MAX, finite_float32, whole_int64
from attributor.jobs.model import InputSpec

#: The protocol's numeric datatypes (it also has BOOL and BYTES), each with its least and greatest value.
_WHOLE = {f"UINT{bits}": (0.0, 2.0**bits - 1) for bits in (8, 16, 32, 64)} | {
    f"INT{bits}": (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)
}
#: FP16 ends at 65504 (IEEE 754-2019, table 3.5); what we compute with is float32.
_REAL = {"FP16": (-65504.0, 65504.0), "FP32": (-FLOAT32_MAX, FLOAT32_MAX), "FP64": (-FLOAT32_MAX, FLOAT32_MAX)}
DATATYPES: Mapping[str, tuple[float, float]] = _WHOLE | _REAL

#: `name` and `parameters` belong to the protocol's form and say nothing that we use.
_KEYS = ("shape", "datatype", "data", "name", "parameters")


def decode_tensor(spec: InputSpec, value: Mapping[str, object], *, field: str) -> NDArray[Any]:
    """`{"shape": [...], "datatype": "FP32", "data": [...]}` as an array that `spec` takes: float32, of tokens int64.

    `data` is flat in row-major order or nested as `shape`; `shape` is the declared one (of variable inputs one with
    fewer positions, too), or that behind a batch axis of 1; `datatype` is FP32 where it is left out, of token ids
    INT64. Raises InvalidInput, InvalidShape.
    """
    if unknown := [key for key in value if key not in _KEYS]:
        raise InvalidInput(f"unknown key; a tensor has {', '.join(_KEYS[:3])}", field=f"{field}.{unknown[0]}")
    for key in ("shape", "data"):
        if key not in value:
            raise InvalidInput("is missing; a tensor has shape, datatype, data", field=f"{field}.{key}")
    shape = _shape(spec, value["shape"], field=f"{field}.shape")
    datatype = _datatype(spec, value, field=f"{field}.datatype")
    data = value["data"]
    if not isinstance(data, list | tuple):
        raise InvalidInput("must be a list of numbers", field=f"{field}.data")
    if len(data) not in (prod(shape), *shape[:1]):  # before any of a long list is read
        detail = f"has {len(data)} entries; it must be nested as {list(shape)}, or {prod(shape)} numbers in a row"
        raise InvalidShape(detail, field=f"{field}.data")
    array = _numbers(spec, data, field=f"{field}.data")
    if array.shape not in (shape, (prod(shape),)):
        detail = f"is nested as {list(array.shape)}; it must be {list(shape)}, or {prod(shape)} numbers in a row"
        raise InvalidShape(detail, field=f"{field}.data")
    _require_range(array, datatype, field=f"{field}.data")
    return array.reshape(shape if spec.takes(shape) else shape[1:])


def _shape(spec: InputSpec, value: object, *, field: str) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or any(type(size) is not int for size in value):
        raise InvalidShape(f"must be a list of whole numbers: {_shape_words(spec)}", field=field)
    shape = tuple(value)
    if not spec.takes(shape) and not (shape[:1] == (1,) and spec.takes(shape[1:])):
        detail = f"is {list(shape)}; the model takes {_shape_words(spec)}, alone or behind a batch axis of 1"
        raise InvalidShape(detail, field=field)
    return shape


def _shape_words(spec: InputSpec) -> str:
    if not spec.variable:
        return str(list(spec.shape))
    return f"[{', '.join([f'1 to {spec.shape[0]}', *map(str, spec.shape[1:])])}]"


def _datatype(spec: InputSpec, tensor: Mapping[str, object], *, field: str) -> str:
    taken, usual = (DATATYPES, "FP32") if spec.vocabulary is None else (_WHOLE, "INT64")
    value = tensor.get("datatype", usual)
    if not isinstance(value, str) or value not in taken:
        what = "" if spec.vocabulary is None else ": the input takes token ids"
        raise InvalidInput(f"must be one of {', '.join(taken)}{what}", field=field)
    return value


def _numbers(spec: InputSpec, data: Sequence[object], *, field: str) -> NDArray[Any]:
    if spec.vocabulary is None:
        return finite_float32(data, field=field)
    return whole_int64(data, 0, spec.vocabulary - 1, field=field)


def _require_range(array: NDArray[Any], datatype: str, *, field: str) -> None:
    """Numbers must be what their datatype says. Integers beyond 2**24 are compared as the float32 they become."""
    low, high = DATATYPES[datatype]
    wrong = (array < low) | (array > high)
    if datatype in _WHOLE:
        wrong |= array != np.trunc(array)
    if wrong.any():
        index = np.unravel_index(int(np.argmax(wrong)), array.shape)
        place = ".".join(str(int(i)) for i in index)
        raise InvalidInput(f"is not a value of the datatype {datatype}", field=f"{field}.{place}")
