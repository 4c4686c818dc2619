"""Jobs, results and reports as bytes: what lies in the store between the API and the workers.

A message is a fixed head (magic, version, header length), a JSON header with every value but the tensors, and
the tensors, raw, little-endian, row by row. Walks the frozen types by their annotations, so a field added with a
default still reads old messages; a change that old readers would misread must raise VERSION.
Must not know where the bytes are kept.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from struct import Struct
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import orjson
from numpy.typing import NDArray

from attributor.jobs.job import Failure, JobSpec
from attributor.jobs.model import ModelReport
from attributor.jobs.result import AttributionResult, JobResult, PartialResult, PredictionResult

#: Of the layout and the types in it. Ours: raised by one whenever an old reader would misread a new message, or the
#: other way round. 2: explanations with methods, several targets, baselines made by the worker. 3: what was given in
#: place of tensors, inputs of variable length, pictures normalised by channel. 4: deadlines, precision, parts of results.
VERSION = 4

#: Ours: three letters that no JSON, npy or compressed stream starts with.
_MAGIC = b"ATB"
_HEAD = Struct("<3sBI")

#: What a message may hold, by the tag in its header.
_KINDS: dict[str, type] = {
    "spec": JobSpec,
    "attribution": AttributionResult,
    "partial": PartialResult,
    "prediction": PredictionResult,
    "report": ModelReport,
    "failure": Failure,
}
_TAGS = {kind: tag for tag, kind in _KINDS.items()}

#: Boolean, signed, unsigned and floating numbers: the kinds of numpy whose bytes mean the same everywhere.
_TENSOR_KINDS = "biuf"

T = TypeVar("T")
_Array = NDArray[Any]


class OtherRelease(ValueError):
    """The message has another format version: a release before or after this one wrote it."""


def encode(value: JobSpec | JobResult | PartialResult | ModelReport | Failure) -> bytes:
    """The message of a value. Raises ValueError for a non-finite number outside a tensor (JSON has none)."""
    tensors: list[_Array] = []
    body = _dump(value, tensors)
    header = orjson.dumps(
        {
            "type": _TAGS[type(value)],
            "body": body,
            "tensors": [{"dtype": tensor.dtype.str, "shape": tensor.shape} for tensor in tensors],
        }
    )
    head = _HEAD.pack(_MAGIC, VERSION, len(header))
    return b"".join((head, header, *(tensor.tobytes() for tensor in tensors)))


def decode(data: bytes, kind: type[T]) -> T:
    """The value of a message of that kind. Raises OtherRelease, and ValueError for any other bytes."""
    value = _read(data)
    if not isinstance(value, kind):
        raise ValueError(f"the message holds a {type(value).__name__}, not a {kind.__name__}")
    return value


def decode_result(data: bytes) -> JobResult:
    """The result in a message, of either kind. Raises OtherRelease, and ValueError for any other bytes."""
    value = _read(data)
    if not isinstance(value, AttributionResult | PredictionResult):
        raise ValueError(f"the message holds a {type(value).__name__}, not a result")
    return value


def _read(data: bytes) -> object:
    header, tail = _split(data)
    try:
        kind = _KINDS[header["type"]]
        return _load(kind, header["body"], _tensors(header["tensors"], tail))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"the message's header is not as documented: {error!r}") from error


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Header and tensor bytes; checks magic, version and length."""
    if len(data) < _HEAD.size or data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("not a message of the job store: it does not start with its magic bytes")
    _, version, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise OtherRelease(
            f"the message has format version {version}, this release reads {VERSION}: "
            "run the same release in all processes, or let old jobs expire first"
        )
    end = _HEAD.size + length
    if len(data) < end:
        raise ValueError(f"the message is cut off: {len(data)} bytes of at least {end}")
    header = orjson.loads(memoryview(data)[_HEAD.size : end])
    if not isinstance(header, dict):
        raise ValueError("the message's header is not a JSON object")
    return header, memoryview(data)[end:]


def _tensors(entries: list[dict[str, Any]], tail: memoryview) -> list[_Array]:
    """The raw arrays, each a writable copy (torch refuses read-only memory, and slices may be unaligned)."""
    arrays: list[_Array] = []
    offset = 0
    for entry in entries:
        dtype = np.dtype(entry["dtype"])
        count = math.prod(entry["shape"])
        if dtype.kind not in _TENSOR_KINDS or any(size < 0 for size in entry["shape"]):
            raise ValueError(f"the message declares a tensor of {dtype} {entry['shape']}, which it cannot hold")
        end = offset + count * dtype.itemsize
        if end > len(tail):
            raise ValueError(f"the message is cut off in tensor {len(arrays)}")
        flat = np.frombuffer(tail[offset:end], dtype)
        arrays.append(flat.astype(dtype.newbyteorder("=")).reshape(entry["shape"]))
        offset = end
    if offset != len(tail):
        raise ValueError(f"the message has {len(tail) - offset} bytes after its last tensor")
    return arrays


def _dump(value: Any, tensors: list[_Array]) -> Any:
    """A JSON value; arrays are put aside and stand as their index."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _TENSOR_KINDS:
            raise ValueError(f"a tensor of {value.dtype} cannot be stored")
        tensors.append(value.astype(value.dtype.newbyteorder("<"), order="C", copy=False))
        return len(tensors) - 1
    if is_dataclass(value):
        return {field.name: _dump(getattr(value, field.name), tensors) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: _dump(item, tensors) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_dump(item, tensors) for item in value]
    return _dump_scalar(value)


def _dump_scalar(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be stored: only tensors may hold NaN or infinity")
        return float(value)  # numpy's float64 is a float that orjson does not take
    if value is None or isinstance(value, bool | int | str):
        return value
    raise ValueError(f"a {type(value).__name__} cannot be stored")


def _load(hint: Any, value: Any, tensors: list[_Array]) -> Any:
    """The value of a JSON value, by its annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        return _load(next(option for option in arguments if option is not NoneType), value, tensors)
    if origin is tuple:
        return tuple(_load(arguments[0], item, tensors) for item in value)
    if origin is Mapping:
        return {name: _load(arguments[1], item, tensors) for name, item in value.items()}
    if origin is np.ndarray:
        return tensors[value]
    if is_dataclass(hint):
        return _load_dataclass(hint, value, tensors)
    return _load_scalar(hint, value)


def _load_scalar(hint: type, value: Any) -> Any:
    if issubclass(hint, Enum):
        return hint(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"the message holds {value!r} where a {hint.__name__} belongs")
    return value


def _load_dataclass(kind: Any, value: dict[str, Any], tensors: list[_Array]) -> Any:
    hints = _hints(kind)
    if unknown := value.keys() - hints.keys():
        raise ValueError(f"the message gives a {kind.__name__} the unknown fields {sorted(unknown)}")
    known = {name: _load(hints[name], item, tensors) for name, item in value.items()}
    if missing := [field.name for field in fields(kind) if field.name not in known and _required(field)]:
        raise ValueError(f"the message lacks the fields {missing} of a {kind.__name__}")
    return kind(**known)


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
