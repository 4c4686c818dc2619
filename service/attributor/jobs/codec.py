"""Jobs, results and reports as bytes: what lies in the store between the API and the workers.

A message is a fixed head (magic, version, header length), a JSON header with every value but the tensors, and
the tensors, raw, little-endian, row by row. What is the same in message after message stands in it as a text, made and
read once: such a part in the form of a message, compressed. The frozen types are walked by their annotations
(`json_writers`, `json_readers`), so a field added with a default still reads old messages; a change that old readers
would misread must raise VERSION.
Must not know where the bytes are kept.
"""

import binascii
import math
import re
import zlib
from functools import cache
from struct import Struct
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from attributor.jobs.explanation import Explanation
from attributor.jobs.job import Failure, JobSpec
from attributor.jobs.json_readers import Readers
from attributor.jobs.json_writers import TENSOR_KINDS, Writers, dumped
from attributor.jobs.model import InputSpec, ModelReport
from attributor.jobs.result import AttributionResult, JobResult, PartialResult, PredictionResult, ResolvedTarget

#: Of the layout and the types in it. Ours: raised by one whenever an old reader would misread a new message, or the
#: other way round. 2: explanations with methods, several targets, baselines made by the worker. 3: what was given in
#: place of tensors, inputs of variable length, pictures normalised by channel. 4: deadlines, precision, parts of
#: results; what repeats as texts, tensors of one shape under one entry. 5: what repeats is compressed, explanations
#: too.
VERSION = 5

#: Ours: three letters that no JSON, npy or compressed stream starts with.
_MAGIC = b"ATB"
_HEAD = Struct("<3sBI")
#: A type of numbers as numpy writes it. What numpy reads besides is a small language, with errors of its own.
_DTYPE = re.compile(rf"[<>|][{TENSOR_KINDS}][0-9]{{1,2}}")

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
#: The tag of a message within a message.
_PART = "part"

#: What a model takes is the same in all its jobs, what is asked of it in many, and what was explained in their results.
_REPEATED = frozenset[type]({InputSpec, Explanation, ResolvedTarget})
#: Of the tensors in what may repeat, bytes. Ours: larger ones are compressed for longer than they are written.
_MOST_REPEATED = 4096

T = TypeVar("T")
_Array = NDArray[Any]


class OtherRelease(ValueError):
    """The message has another format version: a release before or after this one wrote it."""


def encode(value: JobSpec | JobResult | PartialResult | ModelReport | Failure) -> bytes:
    """The message of a value. Raises ValueError for what JSON has not: a number outside a tensor that is not finite, a
    text without a UTF-8 form."""
    tensors: list[_Array] = []
    return _joined(_TAGS[type(value)], _WRITERS.write(value, tensors), tensors)


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
        return _READERS.reader(kind)(header["body"], _tensors(header["tensors"], tail, most=len(data)))
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"the message's header is not as documented: {error!r}") from error


def _joined(tag: str, body: Any, tensors: list[_Array]) -> bytes:
    header = dumped({"type": tag, "body": body, "tensors": _entries(tensors)})
    head = _HEAD.pack(_MAGIC, VERSION, len(header))
    return b"".join((head, header, *tensors))  # type: ignore[arg-type]  # arrays have buffers; join copies them once


def _packed(body: Any, tensors: list[_Array]) -> str | None:
    """The text of what may repeat; None where its tensors are large."""
    if sum(tensor.nbytes for tensor in tensors) > _MOST_REPEATED:
        return None
    return binascii.b2a_base64(zlib.compress(_joined(_PART, body, tensors)), newline=False).decode()


def _unpacked(text: str) -> tuple[Any, list[_Array]]:
    try:
        data = zlib.decompress(binascii.a2b_base64(text))
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"the message holds {text[:40]!r} where what repeats belongs") from error
    header, tail = _split(data)
    return header["body"], _tensors(header["tensors"], tail, most=len(data))


_WRITERS, _READERS = Writers(_REPEATED, _packed), Readers(_REPEATED, _unpacked)


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


def _entries(tensors: list[_Array]) -> list[dict[str, Any]]:
    """What the header says of the tensors, one entry for neighbours of the same type and shape."""
    entries: list[dict[str, Any]] = []
    before: tuple[np.dtype[Any], tuple[int, ...]] | None = None
    for tensor in tensors:
        if (tensor.dtype, tensor.shape) != before:
            before = tensor.dtype, tensor.shape
            entries.append({"dtype": _name(tensor.dtype), "shape": tensor.shape, "count": 0})
        entries[-1]["count"] += 1
    return entries


@cache
def _name(dtype: np.dtype[Any]) -> str:
    return dtype.str


@cache
def _native(name: str) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """A type as it is stored, and as this machine has it."""
    if not _DTYPE.fullmatch(name):
        raise ValueError(f"the message declares a tensor of {name!r}, which it cannot hold")
    dtype = np.dtype(name)
    return dtype, dtype.newbyteorder("=")


def _tensors(entries: list[dict[str, Any]], tail: memoryview, *, most: int) -> list[_Array]:
    """The raw arrays, writable (torch refuses read-only memory) and aligned: those of one entry share a copy.

    `most` of them: empty ones take no bytes, but each is named in the message, so there are fewer than it has bytes.
    """
    arrays: list[_Array] = []
    offset = 0
    for entry in entries:
        (dtype, native), shape, count = _native(entry["dtype"]), entry["shape"], entry.get("count", 1)
        if any(size < 0 for size in (count, *shape)) or len(arrays) + count > most:
            raise ValueError(f"the message declares {count} tensors of {dtype} {shape}, which it cannot hold")
        size = math.prod(shape)
        end = offset + count * size * dtype.itemsize
        if end > len(tail):
            raise ValueError(f"the message is cut off in tensor {len(arrays)}")
        # A copy of bytes, then one of numbers only on a machine of the other byte order.
        flat = np.frombuffer(tail, np.uint8, end - offset, offset).copy().view(dtype).astype(native, copy=False)
        if shape:
            arrays.extend(flat.reshape((count, *shape)))
        else:
            arrays.extend([flat[i : i + 1].reshape(()) for i in range(count)])
        offset = end
    if offset != len(tail):
        raise ValueError(f"the message has {len(tail) - offset} bytes after its last tensor")
    return arrays
