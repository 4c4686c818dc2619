"""The files of a bundle: which there are, and whether they are the ones that its manifest names.

Knows paths, sizes and hashes. Knows nothing of what the files mean, and never imports or runs one.
"""

import hashlib
import re
import stat
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


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a manifest says of a file: sha256 in lower-case hexadecimal, and its size."""

    sha256: str
    size_bytes: int


def list_files(folder: Path) -> list[str]:
    """Names of all files of a bundle but the manifest, sorted.

    Raises BundleError for a link, a folder, anything else that is not a plain file, and a name that is not plain.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.name not in (MANIFEST, _BYTECODE_FOLDER))
    for name in names:
        if not FILE_NAME.fullmatch(name):
            raise BundleError(
                f"File name {name!r} is not plain: letters, digits, dot, underscore, hyphen.", field="files"
            )
        require_plain_file(folder / name)
    return names


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


def read_verified(folder: Path, name: str, record: FileRecord) -> bytes:
    """The bytes of a file, proved to be those of `record`.

    Callers use exactly these bytes, so nothing can be exchanged between the check and the use.
    Raises BundleError if the file is missing, a link, or has another size or hash.
    """
    path = folder / name
    require_plain_file(path)
    size_bytes = path.stat().st_size
    if size_bytes != record.size_bytes:
        raise BundleError(
            f"{name} has {size_bytes} bytes, the manifest says {record.size_bytes}.", field=f"{_field(name)}.size_bytes"
        )
    data = path.read_bytes()
    found = record_of(data)
    if found.sha256 != record.sha256:
        raise BundleError(
            f"{name} has sha256 {found.sha256}, the manifest says {record.sha256}. If the change is meant, "
            "seal the bundle again.",
            field=f"{_field(name)}.sha256",
        )
    return data


def verify(folder: Path, records: Mapping[str, FileRecord]) -> None:
    """Raises BundleError unless the folder holds exactly the recorded files, with their sizes and hashes."""
    for name in list_files(folder):
        if name not in records:
            raise BundleError(f"{name} is not declared; declare it (seal the bundle) or remove it.", field=_field(name))
    for name, record in records.items():
        read_verified(folder, name, record)


def _field(name: str) -> str:
    return f"files.{name}"
