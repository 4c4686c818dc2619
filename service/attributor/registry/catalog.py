"""The models on disk: finds bundles under a folder and verifies their files. Never runs one, never loads torch."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attributor.errors import BundleError, UnknownModel, UnknownVersion
from attributor.jobs.model import ModelInfo
from attributor.registry import files
from attributor.registry.manifest import Manifest, parse
from attributor.registry.reference import count_references


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its folder and what its manifest says."""

    folder: Path
    manifest: Manifest

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        return self.manifest.info


class FolderCatalog:
    """ModelCatalog over `root/<name>/<version>/manifest.toml`, read once, when it is made.

    A broken bundle hides no other: it stands in `problems`. Raises BundleError if `root` is not a folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise BundleError(f"The models folder {root} does not exist.")
        self._bundles: dict[str, Bundle] = {}
        self._problems: dict[str, str] = {}
        for folder in _version_folders(root):
            ref = f"{folder.parent.name}@{folder.name}"
            try:
                self._bundles[ref] = open_bundle(folder)
            except BundleError as error:
                self._problems[ref] = error.detail
            except OSError as error:
                self._problems[ref] = f"{error.filename or folder.name} cannot be read: {error.strerror}."
        self._versions = _versions_by_name(self._bundles.values())

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with the bundles that are not served, by `name@version` of their folders."""
        return self._problems

    def all(self) -> Sequence[ModelInfo]:
        """All versions of all models, by name, then version."""
        return [
            self.bundle(f"{name}@{version}").info for name, versions in self._versions.items() for version in versions
        ]

    def get(self, ref: str) -> ModelInfo:
        """By `name` (its highest version) or `name@version`. Raises UnknownModel, UnknownVersion."""
        return self.bundle(ref).info

    def bundle(self, ref: str) -> Bundle:
        """As `get`, with the bundle's folder and files."""
        name, at, version = ref.partition("@")
        versions = self._versions.get(name)
        if versions is None:
            raise UnknownModel(self._no_such_model(name), field="model")
        if not at:
            version = versions[-1]
        if version not in versions:
            raise UnknownVersion(self._no_such_version(name, version), field="model")
        return self._bundles[f"{name}@{version}"]

    def _no_such_model(self, name: str) -> str:
        broken = [ref for ref in self._problems if ref.partition("@")[0] == name]
        if broken:
            return f"Model {name!r} is not served: its bundle is broken ({', '.join(broken)})."
        close = difflib.get_close_matches(name, self._versions, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        return f"There is no model {name!r}. {hint}Models: {', '.join(self._versions) or 'none'}."

    def _no_such_version(self, name: str, version: str) -> str:
        if f"{name}@{version}" in self._problems:
            return f"Version {version!r} of {name!r} is not served: its bundle is broken."
        return f"Model {name!r} has no version {version!r}. Versions: {', '.join(self._versions[name])}."


def open_bundle(folder: Path) -> Bundle:
    """Reads the manifest of a bundle, verifies all its files, counts its reference set. Raises BundleError."""
    for part in (folder.parent, folder):
        if part.is_symlink():
            raise BundleError(f"{part.name} is a link; a bundle lies in plain folders.")
    path = folder / files.MANIFEST
    files.require_plain_file(path)
    manifest = parse(path.read_bytes())
    for field, said, found in (
        ("name", manifest.info.name, folder.parent.name),
        ("version", manifest.info.version, folder.name),
    ):
        if said != found:
            raise BundleError(f"The manifest says {field} {said!r}, the folder is called {found!r}.", field=field)
    files.verify(folder, manifest.files)
    info = replace(manifest.info, reference_count=count_references(folder, manifest))
    return Bundle(folder, replace(manifest, info=info))


def natural_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts versions as people read them: 2 before 10, 1.9 before 1.10; a number before a word."""
    parts = re.findall(r"\d+|[^\d.]+", version)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def _version_folders(root: Path) -> list[Path]:
    """All folders two levels down; those whose names begin with a dot or an underscore are not ours."""
    names = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and folder.name[0] not in "._"]
    return [
        folder for name in names for folder in sorted(name.iterdir()) if folder.is_dir() and folder.name[0] not in "._"
    ]


def _versions_by_name(bundles: Iterable[Bundle]) -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for info in sorted((bundle.info for bundle in bundles), key=lambda info: (info.name, natural_key(info.version))):
        versions.setdefault(info.name, []).append(info.version)
    return versions
