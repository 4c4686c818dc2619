"""A new bundle from a model that someone has: what is drafted, how it is written and given its place.

Knows folders, names and versions. The kinds of models have modules of their own, which make the drafts.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from attributor.errors import BundleError
from attributor.registry.catalog import Bundle, open_bundle
from attributor.registry.files import MANIFEST, list_files, read_manifest, require_plain_file
from attributor.registry.manifest import parse
from attributor.registry.scaffold.manifest_text import Table, manifest_text
from attributor.registry.schema.base import NAME_PATTERN, VERSION_PATTERN
from attributor.registry.seal import seal

#: A folder that the catalog does not look into, because its name begins with a dot.
_STAGING = ".staging-"

_NO_LICENCE = "Not stated."


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person who makes a bundle says of a model, and the model's file does not.

    `shapes`: by input, without the batch axis. `vocabularies`: number of ids, by input. `columns`: names of the
    features. `gradients` False: the graph is run, and never differentiated.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    vocabularies: Mapping[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    output_kind: str | None = None
    gradients: bool = True


@dataclass(frozen=True, slots=True)
class Draft:
    """A bundle that is not on disk yet.

    `head`: the manifest's keys of the model itself (framework and what belongs to it). `baselines`: by name,
    description and values by input; the first is the default. `files`: their contents, or where to copy them from, by
    the name in the bundle. `remarks`: what a person should look at.
    """

    head: Table
    inputs: Sequence[Table]
    output: Table
    baselines: Mapping[str, tuple[str, Mapping[str, object]]]
    files: Mapping[str, Path | bytes]
    sources: Mapping[str, Table] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def name_from(text: str) -> str:
    """A model's name made of a file's or folder's: lower case letters, digits, hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64].strip("-")
    return name or "model"


def next_version(root: Path, name: str) -> str:
    """One above the highest whole number among the versions of a model, whatever else there is."""
    folder = root / name
    taken = [int(each.name) for each in folder.iterdir() if each.name.isdigit()] if folder.is_dir() else []
    return str(max(taken, default=0) + 1)


def write_draft(draft: Draft, root: Path, name: str, version: str, source: str) -> Bundle:
    """Writes, seals and opens `root/name/version`, which appears at once and complete.

    `source`: where the model comes from, for the manifest. Raises BundleError, and leaves nothing, if it exists or the
    manifest would be wrong.
    """
    for what, given, pattern, form in (
        ("name", name, NAME_PATTERN, "lower case letters, digits and hyphens"),
        ("version", version, VERSION_PATTERN, "letters, digits and dots"),
    ):
        if not re.fullmatch(pattern, given):  # before any folder is called so
            raise BundleError(f"The {what} {given!r} is none: {form} are taken.", field=what)
    with _staged(root, name, version) as folder:
        for file, content in draft.files.items():
            if isinstance(content, bytes):
                (folder / file).write_bytes(content)
            else:
                shutil.copyfile(content, folder / file)
        (folder / MANIFEST).write_text(_text(draft, name, version, source), encoding="utf-8")
        seal(folder)
        open_bundle(folder)
        return _placed(folder, root, name, version)


@contextmanager
def copied(source: Path, root: Path) -> Iterator[Bundle]:
    """A finished bundle, copied under `root` where the catalog does not see it yet, and verified there.

    `place` gives it its place; what is not placed is removed at the end. Raises BundleError for anything that is not
    one folder of plain files as its manifest lists them, and if that version exists.
    """
    if source.is_symlink() or not source.is_dir():
        raise BundleError(f"{source} is not a folder: give the folder of one version, such as theirs/model/1.")
    info = parse(read_manifest(source)).info
    with _staged(root, info.name, info.version) as folder:
        for file in (MANIFEST, *list_files(source)):
            require_plain_file(source / file)
            shutil.copyfile(source / file, folder / file, follow_symlinks=False)
        yield open_bundle(folder)


def place(bundle: Bundle, root: Path) -> Bundle:
    """Gives a copied bundle its place in the model folder. Raises BundleError if that version exists by now."""
    return _placed(bundle.folder, root, bundle.info.name, bundle.info.version)


@contextmanager
def _staged(root: Path, name: str, version: str) -> Iterator[Path]:
    """An empty folder `name/version` on the same disk as `root`, removed at the end with what is still in it."""
    _require_free(root, name, version)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=root))
    try:
        folder = staging / name / version
        folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(staging)


def _placed(folder: Path, root: Path, name: str, version: str) -> Bundle:
    _require_free(root, name, version)
    (root / name).mkdir(exist_ok=True)
    return open_bundle(folder.rename(root / name / version))


def _require_free(root: Path, name: str, version: str) -> None:
    if (root / name).is_symlink() or (root / name / version).is_symlink() or (root / name / version).exists():
        raise BundleError(f"{name}@{version} exists already in {root}; a version never changes, so this needs another.")


def _text(draft: Draft, name: str, version: str, source: str) -> str:
    head = {
        "schema_version": 1,
        "name": name,
        "version": version,
        "title": name,
        "description": f"Made from {source} by `attributor models new`.",
        **draft.head,
        "licence": _NO_LICENCE,
        "source": source,
        "default_baseline": next(iter(draft.baselines)),
    }
    named: dict[str, Table] = {
        f"baselines.{baseline}": {"description": description, "values": values}
        for baseline, (description, values) in draft.baselines.items()
    }
    if draft.metadata:
        named["metadata"] = draft.metadata
    sources = {f"sources.{source}": table for source, table in draft.sources.items()}
    return manifest_text(head, {"inputs": draft.inputs}, sources, {"output": draft.output, **named})
