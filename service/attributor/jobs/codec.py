"""Jobs, results and reports as bytes: what lies in the store between the API and the workers.

A message is a fixed head (magic, version, header length), a JSON header, and what goes beside it, raw and
little-endian: parts, runs of float64 numbers, tensors row by row. A part is what is the same in message after message:
made and read once, and itself in the form of a message, compressed. The header is a list: the tag, the value,
the bytes of each part, the length of each run, and the tensors (type, shape, how many). The frozen types are walked by
their annotations (`json_writers`, `json_readers`) and stand as the list of their fields, so a field added as the last,
with a default, still reads old messages; a change that old readers would misread must raise VERSION.
Must not know where the bytes are kept.
"""

import math
import re
import zlib
from functools import cache, lru_cache
from itertools import chain
from struct import Struct, pack, unpack_from
from struct import error as struct_error
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from attributor.jobs.job import Failure, JobSpec
from attributor.jobs.json_readers import Beside, Readers
from attributor.jobs.json_writers import TENSOR_KINDS, Aside, Writers, dumped, require_finite
from attributor.jobs.model import ModelReport
from attributor.jobs.result import (
    AttributionResult,
    JobResult,
    PartialResult,
    PathResult,
    PredictionResult,
    ResultColumns,
)

#: Of the layout and the types in it. Ours: raised by one whenever an old reader would misread a new message, or the
#: other way round. 2: explanations with methods, several targets, baselines made by the worker. 3: what was given in
#: place of tensors, inputs of variable length, pictures normalised by channel. 4: deadlines, precision, parts of
#: results; what repeats as texts, tensors of one shape under one entry. 5: what repeats is compressed, explanations
#: too. 6: fields by position, parts in place of texts, runs of numbers. 7: results of alike inputs as columns.
VERSION = 7

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

#: What a model takes is the same in all its jobs, what is asked of it in many, and so is what many results say alike.
#: Nothing that is made for one job only: each such part would be compressed, and kept.
_REPEATED: dict[type, tuple[tuple[str, ...], ...]] = {
    JobSpec: (
        ("model", "version", "digest", "declared"),
        ("kind", "explanation", "quadrature", "visualizations"),
    ),
    PathResult: (("method", "target", "completeness_reason", "converged", "stop_reason", "rule", "precision"),),
    ResultColumns: (("like",), ("targets",)),
}
#: Of what may repeat, bytes in all, and of the tensors and runs in it. Ours: a table of 300 columns; larger tensors are
#: compressed for longer than they are written.
_MOST_REPEATED, _MOST_NUMBERS_REPEATED = 32_000, 4_096
#: Parts kept compressed. Ours: as many as the writers keep of one kind.
_MOST_PACKED = 256

T = TypeVar("T")
_Array = NDArray[Any]


class OtherRelease(ValueError):
    """The message has another format version: a release before or after this one wrote it."""


def encode(value: JobSpec | JobResult | PartialResult | ModelReport | Failure) -> bytes:
    """The message of a value. Raises ValueError for what JSON has not: a number outside a tensor that is not finite, a
    text without a UTF-8 form."""
    aside = Aside()
    return _joined(_TAGS[type(value)], _WRITERS.write(value, aside), aside)


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
    try:
        tag, body, beside = _split(data)
        return _READERS.reader(_KINDS[tag])(body, beside)
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"the message's header is not as documented: {error!r}") from error


def _joined(tag: str, body: Any, aside: Aside) -> bytes:
    runs = _numbers_of(aside)
    lengths = list(map(len, aside.runs))
    header = dumped((tag, body, list(map(len, aside.parts)), lengths, _entries(aside.arrays)))
    head = _HEAD.pack(_MAGIC, VERSION, len(header))
    return b"".join((head, header, *aside.parts, runs, *aside.arrays))  # type: ignore[arg-type]  # arrays have buffers


def _numbers_of(aside: Aside) -> bytes:
    numbers = list(chain.from_iterable(aside.runs))
    try:
        packed = pack(f"<{len(numbers)}d", *numbers)
    except (struct_error, OverflowError) as error:
        raise ValueError(f"a tuple of numbers cannot be stored: {error}") from error
    require_finite(numbers)
    require_finite(aside.numbers)
    return packed


def _packed(body: Any, aside: Aside) -> bytes | None:
    """The part for what may repeat; None where it is large."""
    if sum(map(len, aside.runs)) * 8 + sum(tensor.nbytes for tensor in aside.arrays) > _MOST_NUMBERS_REPEATED:
        return None
    data = _joined(_PART, body, aside)
    return _compressed(data) if len(data) <= _MOST_REPEATED else None


@lru_cache(_MOST_PACKED)
def _compressed(data: bytes) -> bytes:
    return zlib.compress(data)


def _unpacked(part: bytes) -> tuple[Any, Beside]:
    try:
        data = zlib.decompress(part)
    except zlib.error as error:
        raise ValueError(f"the message holds {part[:40]!r} where what repeats belongs") from error
    _, body, beside = _split(data)
    return body, beside


_WRITERS, _READERS = Writers(_REPEATED, _packed), Readers(_REPEATED, _unpacked)


def _split(data: bytes) -> tuple[str, Any, Beside]:
    """Tag, body and what is beside; checks magic, version and lengths."""
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
    if type(header) is not list or len(header) != 5:
        raise ValueError("the message's header is not a JSON list of five")
    tag, body, sizes, lengths, entries = header
    parts, end = _parts(sizes, data, end)
    runs, end = _runs(lengths, data, end)
    return tag, body, Beside(_tensors(entries, data, end), runs, parts)


def _parts(sizes: list[int], data: bytes, start: int) -> tuple[list[bytes], int]:
    """The parts that start there, and where they end."""
    parts: list[bytes] = []
    for size in sizes:
        end = start + size
        if not start <= end <= len(data):
            raise ValueError(f"the message is cut off in part {len(parts)}")
        parts.append(data[start:end])
        start = end
    return parts, start


def _runs(lengths: list[int], data: bytes, start: int) -> tuple[list[tuple[float, ...]], int]:
    """The runs that start there, and where they end."""
    if not lengths:
        return [], start
    count = sum(lengths)
    if type(count) is not int or min(lengths) < 0 or start + count * 8 > len(data):
        raise ValueError("the message is cut off in its numbers")
    numbers = unpack_from(f"<{count}d", data, start)
    require_finite(numbers)
    runs, at = [], 0
    for length in lengths:
        runs.append(numbers[at : at + length])
        at += length
    return runs, start + count * 8


def _entries(tensors: list[_Array]) -> list[Any]:
    """What the header says of the tensors, one entry for neighbours of the same type and shape."""
    entries: list[Any] = []
    before: tuple[np.dtype[Any], tuple[int, ...]] | None = None
    for tensor in tensors:
        if (tensor.dtype, tensor.shape) != before:
            before = tensor.dtype, tensor.shape
            entries.append([_name(tensor.dtype), tensor.shape, 0])
        entries[-1][2] += 1
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


def _tensors(entries: list[Any], data: bytes, start: int) -> list[_Array]:
    """The raw arrays, writable (torch refuses read-only memory) and aligned: they share a copy.

    There are fewer of them than bytes: empty ones take none, but each is named in the message.
    """
    arrays: list[_Array] = []
    memory = bytearray(memoryview(data)[start:])
    offset = 0
    for name, shape, count in entries:
        dtype, native = _native(name)
        if min(count, *shape, 0) < 0 or len(arrays) + count > len(data):
            raise ValueError(f"the message declares {count} tensors of {dtype} {shape}, which it cannot hold")
        size = math.prod(shape) * dtype.itemsize
        end = offset + count * size
        if end > len(memory):
            raise ValueError(f"the message is cut off in tensor {len(arrays)}")
        made = [np.ndarray(shape, dtype, memory, offset + i * size) for i in range(count)]
        if made and (native is not dtype or not made[0].flags.aligned):
            made = [tensor.astype(native) for tensor in made]
        arrays += made
        offset = end
    if offset != len(memory):
        raise ValueError(f"the message has {len(memory) - offset} bytes after its last tensor")
    return arrays
