"""The files of a bundle: which there are, and whether they are the ones that its manifest names.

Knows paths, sizes and hashes. Knows nothing of what the files mean, and never imports or runs one.
"""

import hashlib
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attributor.errors import BundleError

#: The one file of a bundle that does not list itself; its sha256 is the digest of the model.
MANIFEST = "manifest.toml"

#: Plain names only: no separator and no leading dot, so that no name can lead out of the bundle's folder.
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

#: Python may leave this folder beside code that someone imported. The loader neither reads nor writes it.
_BYTECODE_FOLDER = "__pycache__"

#: Ours: a mean image of 128 x 128 in three colours, written out, is within it, and it is parsed in a second or two.
MAX_MANIFEST_BYTES = 1_000_000

#: Ours: float32 weights of five thousand million numbers; they are hashed before each load, at about 1 GB a second.
MAX_FILES_BYTES = 20 * 10**9

#: Files that hold pickles as a rule, whose loading runs what their author wrote.
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".bin", ".ckpt")

#: Files that we open by what they are called, and so look into first: graphs and exported programs.
_PROGRAMS = (".onnx", ".pt2")

#: How a pickle begins: the opcode PROTO and a version from 2 to 5 (CPython, Lib/pickle.py).
_PICKLE_BEGINNINGS = tuple(bytes((0x80, version)) for version in range(2, 6))

#: What mends a list of files that is behind them.
SEAL = "run `attributor models seal` on the version's folder"

_HOW_TO_CONVERT = (
    "Save weights as safetensors, or the model as ONNX (torch.onnx.export, skl2onnx) or as a .pt2 (torch.export); "
    "TorchScript: export the original module to ONNX."
)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a manifest says of a file: sha256 in lower-case hexadecimal, and its size."""

    sha256: str
    size_bytes: int


def list_files(folder: Path) -> list[str]:
    """Names of all files of a bundle but the manifest, sorted.

    Raises BundleError for a link, a folder, anything else that is not a plain file, a name that is not plain, a pickle
    (by its name; of graphs and programs by content, too), and for more than MAX_FILES_BYTES in all.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.name not in (MANIFEST, _BYTECODE_FOLDER))
    for name in names:
        if not FILE_NAME.fullmatch(name):
            raise BundleError(
                f"File name {name!r} is not plain: letters, digits, dot, underscore, hyphen.", field="files"
            )
        require_plain_file(folder / name)
        _refuse_pickle(folder / name)
    size_bytes = sum((folder / name).stat().st_size for name in names)
    if size_bytes > MAX_FILES_BYTES:
        raise BundleError(f"The files have {size_bytes} bytes; at most {MAX_FILES_BYTES} are read.", field="files")
    return names


def read_manifest(folder: Path) -> bytes:
    """The manifest's text. Raises BundleError if it is missing, a link, or larger than MAX_MANIFEST_BYTES."""
    path = folder / MANIFEST
    require_plain_file(path)
    if (size_bytes := path.stat().st_size) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST} has {size_bytes} bytes; at most {MAX_MANIFEST_BYTES} are read.", field=MANIFEST)
    return path.read_bytes()


def require_plain_file(path: Path) -> None:
    """Raises BundleError unless there is a regular file at `path` itself (a link to one does not count)."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        raise BundleError(f"{path.name} is missing.", field=_field(path.name)) from None
    if stat.S_ISLNK(mode):
        raise BundleError(f"{path.name} is a link; a bundle holds plain files only.", field=_field(path.name))
    if not stat.S_ISREG(mode):
        raise BundleError(f"{path.name} is not a plain file.", field=_field(path.name))


def record_of(data: bytes) -> FileRecord:
    """The record that a manifest should hold for a file with these bytes."""
    return FileRecord(hashlib.sha256(data).hexdigest(), len(data))


def record_of_file(path: Path) -> FileRecord:
    """As `record_of`, of a file that may be larger than memory."""
    with path.open("rb") as file:
        return FileRecord(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())


def read_verified(folder: Path, name: str, record: FileRecord) -> bytes:
    """The bytes of a file, proved to be those of `record`.

    Callers use exactly these bytes, so nothing can be exchanged between the check and the use.
    Raises BundleError if the file is missing, a link, or has another size or hash.
    """
    path = folder / name
    _require_size(path, record)
    data = path.read_bytes()
    _require_hash(name, record_of(data), record)
    return data


def verify(folder: Path, records: Mapping[str, FileRecord]) -> None:
    """Raises BundleError unless the folder holds exactly the recorded files, with their sizes and hashes."""
    for name in list_files(folder):
        if name not in records:
            raise BundleError(f"{name} is not declared; remove it, or {SEAL}.", field=_field(name))
    for name, record in records.items():
        _require_size(folder / name, record)
        _require_hash(name, record_of_file(folder / name), record)


def pickle_in(path: Path) -> str | None:
    """What a file holds in place of the graph or program that its name promises, if it is a pickle; else None."""
    with path.open("rb") as file:
        if file.read(2) in _PICKLE_BEGINNINGS:
            return "a pickle"
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if "data.pkl" not in names:
        return None
    return "TorchScript" if "constants.pkl" in names else "a pickle of torch.save"


def _require_size(path: Path, record: FileRecord) -> None:
    require_plain_file(path)
    size_bytes = path.stat().st_size
    if size_bytes != record.size_bytes:
        raise BundleError(
            f"{path.name} has {size_bytes} bytes, the manifest says {record.size_bytes}. If so be it, {SEAL}.",
            field=f"{_field(path.name)}.size_bytes",
        )


def _require_hash(name: str, found: FileRecord, record: FileRecord) -> None:
    if found.sha256 != record.sha256:
        raise BundleError(
            f"{name} has sha256 {found.sha256}, the manifest says {record.sha256}. If the change is meant, {SEAL}.",
            field=f"{_field(name)}.sha256",
        )


def _refuse_pickle(path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        what = f"{path.name}: files that end in {suffix} are pickles as a rule"
    elif suffix in _PROGRAMS and (held := pickle_in(path)):
        what = f"{path.name} is {held}"
    else:
        return
    raise BundleError(
        f"{what}, and loading one runs whatever its author wrote. {_HOW_TO_CONVERT}", field=_field(path.name)
    )


def _field(name: str) -> str:
    return f"files.{name}"
