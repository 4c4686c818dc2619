"""The reference set of a bundle: inputs that stand for what the model usually sees, one npy file per input.

Knows numpy's file format and what a manifest declares. Never loads torch, never unpickles.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from attributor.errors import BundleError
from attributor.jobs.model import InputSpec, Tensors
from attributor.registry.files import read_verified
from attributor.registry.foreign import shortened
from attributor.registry.manifest import Manifest

#: Of the file of one input. Ours: a gigabyte, 1700 pictures of 224 x 224 in three colours; it is held in memory.
MAX_REFERENCE_BYTES = 10**9

#: Of what a file's header says, in an error. Ours: a line.
_MOST_CHARS = 120

#: By the version of the format. The third is for names of columns, which no tensor has.
_READERS: Mapping[tuple[int, int], Callable[[BinaryIO], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True)
class _Header:
    """What an npy file says of itself. `by_columns`: in Fortran's order. `begins_at`: where the numbers do, bytes."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]
    begins_at: int


def count_references(folder: Path, manifest: Manifest) -> int:
    """How many inputs the reference set holds, by the headers of its files alone; 0 without one.

    Raises BundleError for a file that is no npy array of numbers of the declared type and shape, or other counts.
    """
    counts: dict[str, int] = {}
    for spec in manifest.info.inputs:
        if file := manifest.reference_files.get(spec.name):
            with (folder / file).open("rb") as data:
                counts[spec.name] = _header(spec, file, data, (folder / file).stat().st_size).shape[0]
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise BundleError(f"reference_set: all inputs need the same count; there are {listed}.", field="reference_set")
    return next(iter(counts.values()), 0)


def read_references(folder: Path, manifest: Manifest) -> Tensors:
    """The reference set: per input, shape (count, *input shape), read-only; empty without one.

    Raises BundleError if a file changed since the manifest was sealed, or holds values that the input cannot have.
    """
    found = {}
    for spec in manifest.info.inputs:
        if file := manifest.reference_files.get(spec.name):
            record = manifest.files[file]
            _require_size(spec, file, record.size_bytes)
            found[spec.name] = _checked(spec, file, read_verified(folder, file, record))
    return found


def _checked(spec: InputSpec, file: str, data: bytes) -> NDArray[Any]:
    header = _header(spec, file, BytesIO(data), len(data))
    flat = np.frombuffer(data, header.dtype, offset=header.begins_at)
    array = flat.reshape(header.shape, order="F" if header.by_columns else "C")
    if spec.vocabulary is not None and not ((array >= 0) & (array < spec.vocabulary)).all():
        raise _wrong(spec, f"{file} holds ids outside the vocabulary, 0 to {spec.vocabulary - 1}")
    if not np.isfinite(array).all():
        raise _wrong(spec, f"{file} holds NaN or infinity")
    return array  # read-only, as the bytes are


def _header(spec: InputSpec, file: str, data: BinaryIO, size_bytes: int) -> _Header:
    """Of a file that holds what is declared, and as many numbers as it says: reading it makes nothing larger."""
    _require_size(spec, file, size_bytes)
    try:
        version = np.lib.format.read_magic(data)
        if version not in _READERS:
            raise ValueError(f"its format is {version}")
        shape, by_columns, dtype = _READERS[version](data)
    except (ValueError, EOFError) as error:
        raise _wrong(spec, f"{file} is not a readable npy file ({shortened(str(error), _MOST_CHARS)})") from None
    header = _Header(shape, by_columns, dtype, data.tell())
    _require_declared(spec, file, header)
    if (held := size_bytes - header.begins_at) != (needed := prod(shape) * dtype.itemsize):
        raise _wrong(spec, f"{file} is not a readable npy file (it needs {needed} bytes of numbers and has {held})")
    return header


def _require_size(spec: InputSpec, file: str, size_bytes: int) -> None:
    if size_bytes > MAX_REFERENCE_BYTES:
        raise _wrong(spec, f"{file} has {size_bytes} bytes; at most {MAX_REFERENCE_BYTES} are read")


def _require_declared(spec: InputSpec, file: str, header: _Header) -> None:
    dtype = np.dtype(np.float32 if spec.vocabulary is None else np.int64)
    if header.dtype != dtype:
        said = "objects, which are pickled" if header.dtype.hasobject else shortened(str(header.dtype), _MOST_CHARS)
        raise _wrong(spec, f"{file} holds {said}; {dtype} is needed")
    if not header.shape or header.shape[0] < 1 or header.shape[1:] != spec.shape:
        needed = ", ".join(["count", *map(str, spec.shape)])
        shape = shortened(str(list(header.shape)), _MOST_CHARS)
        raise _wrong(spec, f"{file} has shape {shape}; [{needed}] is needed, count at least 1")


def _wrong(spec: InputSpec, what: str) -> BundleError:
    field = f"reference_set.{spec.name}"
    return BundleError(f"{field}: {what}.", field=field)
