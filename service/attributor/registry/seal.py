"""Sealing: writes the sha256 and the size of every file of a bundle into its manifest. Knows no torch, runs no code."""

import re
from pathlib import Path

from attributor.errors import BundleError
from attributor.registry.files import MANIFEST, list_files, read_manifest, record_of_file
from attributor.registry.manifest import Manifest, parse

#: The [files] table, in either form, with all that belongs to it: up to the next other table, or the end.
_FILES_TABLE = re.compile(r"^\[files[\].].*?(?=^\[(?!files[\].])|\Z)", re.MULTILINE | re.DOTALL)


def seal(folder: Path) -> Manifest:
    """Rewrites [files] in the manifest with what lies in the folder; the rest of its text stays as it is.

    Returns the new manifest. Raises BundleError, and writes nothing, for a link or a manifest that is wrong otherwise.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise BundleError(
            f"There is no {MANIFEST} in {folder}: give the folder of one version, such as models/mine/1.",
            field=MANIFEST,
        )
    try:
        rest = _FILES_TABLE.sub("", read_manifest(folder).decode())
    except UnicodeDecodeError as error:
        raise BundleError(f"The manifest is not UTF-8: {error}.") from None
    records = {name: record_of_file(folder / name) for name in list_files(folder)}
    lines = [f'"{name}" = {{ sha256 = "{r.sha256}", size_bytes = {r.size_bytes} }}' for name, r in records.items()]
    data = "\n".join([rest.rstrip(), "", "[files]", *lines, ""]).encode()
    manifest = parse(data)
    if (manifest.info.name, manifest.info.version) != (folder.resolve().parent.name, folder.resolve().name):
        raise BundleError(
            f"The manifest is of {manifest.info.ref}: its folder must be called "
            f"{manifest.info.name}/{manifest.info.version}."
        )
    path.write_bytes(data)
    return manifest
