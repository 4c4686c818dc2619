"""The reference set of a bundle: inputs that stand for what the model usually sees, one npy file per input.

Knows numpy's file format and what a manifest declares. Never loads torch, never unpickles.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.errors import BundleError
from attributor.jobs.model import InputSpec, Tensors
from attributor.registry.files import read_verified
from attributor.registry.manifest import Manifest


def count_references(folder: Path, manifest: Manifest) -> int:
    """How many inputs the reference set holds, by the headers of its files alone; 0 without one.

    Raises BundleError for a file that is no npy array of numbers of the declared type and shape, or other counts.
    """
    counts: dict[str, int] = {}
    for spec in manifest.info.inputs:
        if file := manifest.reference_files.get(spec.name):
            try:
                # Mapped, so that the values stay on disk. `open_memmap` refuses pickles and zipped arrays.
                array = np.lib.format.open_memmap(folder / file, mode="r")
            except (ValueError, EOFError) as error:
                raise _wrong(spec, f"{file} is not a readable npy file ({error})") from None
            _require_declared(spec, file, array)
            counts[spec.name] = len(array)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise BundleError(f"reference_set: all inputs need the same count; there are {listed}.", field="reference_set")
    return next(iter(counts.values()), 0)


def read_references(folder: Path, manifest: Manifest) -> Tensors:
    """The reference set: per input, shape (count, *input shape), read-only; empty without one.

    Raises BundleError if a file changed since the manifest was sealed, or holds values that the input cannot have.
    """
    return {
        spec.name: _checked(spec, file, read_verified(folder, file, manifest.files[file]))
        for spec in manifest.info.inputs
        if (file := manifest.reference_files.get(spec.name))
    }


def _checked(spec: InputSpec, file: str, data: bytes) -> NDArray[Any]:
    try:
        array = np.lib.format.read_array(BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _wrong(spec, f"{file} is not a readable npy file ({error})") from None
    _require_declared(spec, file, array)
    if spec.vocabulary is not None and not ((array >= 0) & (array < spec.vocabulary)).all():
        raise _wrong(spec, f"{file} holds ids outside the vocabulary, 0 to {spec.vocabulary - 1}")
    if not np.isfinite(array).all():
        raise _wrong(spec, f"{file} holds NaN or infinity")
    array.setflags(write=False)
    return array


def _require_declared(spec: InputSpec, file: str, array: NDArray[Any]) -> None:
    dtype = np.dtype(np.float32 if spec.vocabulary is None else np.int64)
    if array.dtype != dtype:
        raise _wrong(spec, f"{file} holds {array.dtype}; {dtype} is needed")
    if array.ndim == 0 or len(array) == 0 or array.shape[1:] != spec.shape:
        needed = ", ".join(["count", *map(str, spec.shape)])
        raise _wrong(spec, f"{file} has shape {list(array.shape)}; [{needed}] is needed, count at least 1")


def _wrong(spec: InputSpec, what: str) -> BundleError:
    field = f"reference_set.{spec.name}"
    return BundleError(f"{field}: {what}.", field=field)
