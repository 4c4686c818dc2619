"""A new bundle from a model that someone has: what is drafted, and how it is written.

Knows names, files and the manifest's text. The kinds of models have modules of their own, which make the drafts.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from attributor.errors import BundleError
from attributor.registry.catalog import Bundle, open_bundle
from attributor.registry.files import MANIFEST
from attributor.registry.scaffold.manifest_text import Table, manifest_text
from attributor.registry.scaffold.placing import drafts_in, require_free, staged
from attributor.registry.schema.base import NAME_PATTERN, VERSION_PATTERN
from attributor.registry.seal import seal

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


@contextmanager
def written(draft: Draft, root: Path, name: str, version: str, source: str) -> Iterator[Bundle]:
    """The sealed bundle of a draft, where no catalog sees it yet; `place` gives it its place, else it is removed.

    `source`: where the model comes from, for the manifest. Raises BundleError, and leaves nothing, if that version or
    a draft of it exists, or if the manifest would be wrong.
    """
    for what, given, pattern, form in (
        ("name", name, NAME_PATTERN, "lower case letters, digits and hyphens"),
        ("version", version, VERSION_PATTERN, "letters, digits and dots"),
    ):
        if not re.fullmatch(pattern, given):  # before any folder is called so
            raise BundleError(f"The {what} {given!r} is none: {form} are taken.", field=what)
    require_free(drafts_in(root), name, version)
    with staged(root, name, version) as folder:
        for file, content in draft.files.items():
            if isinstance(content, bytes):
                (folder / file).write_bytes(content)
            else:
                shutil.copyfile(content, folder / file)
        (folder / MANIFEST).write_text(_text(draft, name, version, source), encoding="utf-8")
        seal(folder)
        yield open_bundle(folder)


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
