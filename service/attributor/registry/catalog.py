"""The models on disk: finds bundles under a folder and verifies their files. Never runs one, never loads torch."""

import difflib
import re
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from attributor.errors import BundleError, UnknownModel, UnknownVersion
from attributor.jobs.model import ModelInfo
from attributor.ports import SourceReader
from attributor.registry import files
from attributor.registry.folders import own, told, unreadable
from attributor.registry.foreign import describe
from attributor.registry.manifest import Manifest, parse
from attributor.registry.reference import count_references
from attributor.registry.signatures import Signature, signature
from attributor.registry.sources import readers
from attributor.registry.versions import VERSIONS, Declared, read_declared


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its folder and what its manifest says."""

    folder: Path
    manifest: Manifest

    @property
    def info(self) -> ModelInfo:
        """The model's description."""
        return self.manifest.info


@dataclass(frozen=True, slots=True)
class Changes:
    """What a refresh found, by `name@version`. `changed`: the same version with another digest. `broken`: problems that
    are new or read otherwise than before."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at the folder of a version found: a bundle, or a problem. `settled`: no later write can be missed."""

    signature: Signature | None
    settled: bool
    bundle: Bundle | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The folder at one moment; never changed. `versions`: of each model, ascending."""

    looks: Mapping[str, _Look] = field(default_factory=dict)
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    declared: Mapping[str, Declared] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


class FolderCatalog:
    """ModelCatalog over `root/<name>/<version>/manifest.toml` and `root/<name>/versions.toml`, read when it is made and
    at every `refresh`. Any thread may ask and refresh: a snapshot is exchanged for the next in one assignment.

    A broken bundle hides no other: it stands in `problems`. Raises BundleError if `root` is not a folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._refreshing = threading.Lock()
        self._snapshot = _Snapshot()
        self._readers: dict[str, Mapping[str, SourceReader]] = {}
        self.refresh()

    def refresh(self) -> Changes:
        """Looks at the folder again; verifies only versions in whose folders something changed since the last look.

        A bundle that is half copied is a problem until it is whole. Raises BundleError if the root folder is gone or
        cannot be read: what was known before then stands.
        """
        with self._refreshing:
            before = self._snapshot
            after = _scan(self._root, before)
            self._snapshot = after
        return _changes(before, after)

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with the bundles that are not served, by `name@version` of their folders, and with the files
        that declare versions, by `name@versions.toml`."""
        return self._snapshot.problems

    def all(self) -> Sequence[ModelInfo]:
        """All versions of all models, by name, then version."""
        now = self._snapshot
        return [now.bundles[f"{name}@{version}"].info for name, known in now.versions.items() for version in known]

    def get(self, ref: str, ready: Collection[str] | None = None) -> ModelInfo:
        """See the port."""
        return self.bundle(ref, ready).info

    def default(self, name: str, ready: Collection[str] | None = None) -> str | None:
        """The version that a bare name stands for; None if the declared one, or the model, is not there."""
        try:
            return self.get(name, ready).version
        except (UnknownModel, UnknownVersion):
            return None

    def bundle(self, ref: str, ready: Collection[str] | None = None) -> Bundle:
        """As `get`, with the bundle's folder and files."""
        now = self._snapshot
        name, at, said = ref.partition("@")
        versions = now.versions.get(name)
        if versions is None:
            raise UnknownModel(_no_such_model(now, name), field="model")
        declared = now.declared[name]
        if at:
            version = said if said in versions else declared.aliases.get(said, said)
        else:
            version = declared.default or _newest(now, name, ready)
        if version not in versions:
            raise UnknownVersion(_no_such_version(now, name, said, version), field="model")
        return now.bundles[f"{name}@{version}"]

    def aliases(self, name: str) -> Mapping[str, str]:
        """See the port. Those that stand for no version that is served are left out; `problems` has them."""
        now = self._snapshot
        if name not in now.versions:
            return {}
        versions = now.versions[name]
        declared = now.declared[name].aliases.items()
        return {alias: version for alias, version in declared if version in versions and alias not in versions}

    def sources(self, info: ModelInfo) -> Mapping[str, SourceReader]:
        """See the port. Made when they are first asked for, and kept while the bundle is there."""
        if not info.sources:
            return {}
        if info.digest not in self._readers:
            bundle = self.bundle(info.ref)
            if bundle.info.digest != info.digest:
                raise BundleError(f"The bundle of {info.ref} has just changed; ask again.")
            served = {each.info.digest for each in self._snapshot.bundles.values()}
            kept = {digest: made for digest, made in self._readers.items() if digest in served}
            self._readers = {**kept, info.digest: readers(bundle.folder, bundle.manifest)}
        return self._readers[info.digest]


def open_bundle(folder: Path) -> Bundle:
    """Reads the manifest of a bundle, verifies all its files, counts its reference set. Raises BundleError."""
    for part in (folder.parent, folder):
        if part.is_symlink():
            raise BundleError(f"{part.name} is a link; a bundle lies in plain folders.")
    path = folder / files.MANIFEST
    files.require_plain_file(path)
    manifest = parse(files.read_manifest(folder))
    for name, said, found in (
        ("name", manifest.info.name, folder.parent.name),
        ("version", manifest.info.version, folder.name),
    ):
        if said != found:
            raise BundleError(f"The manifest says {name} {said!r}, the folder is called {found!r}.", field=name)
    files.verify(folder, manifest.files)
    info = replace(manifest.info, reference_count=count_references(folder, manifest))
    return Bundle(folder, replace(manifest, info=info))


def natural_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts versions as people read them: 2 before 10, 1.9 before 1.10; a number before a word."""
    parts = re.findall(r"\d+|[^\d.]+", version)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)


def _scan(root: Path, before: _Snapshot) -> _Snapshot:
    if not root.is_dir():
        raise BundleError(f"The models folder {root} does not exist.")
    looks: dict[str, _Look] = {}
    declared: dict[str, Declared] = {}
    problems: dict[str, str] = {}
    try:
        folders = sorted(own(root))
    except OSError as error:
        raise BundleError(f"The models folder {root} cannot be read: {error.strerror}.") from error
    for folder in folders:
        try:
            versions = sorted(each for each in own(folder) if each.name != VERSIONS)
        except OSError as error:
            problems[folder.name] = unreadable(folder, error)
            continue
        looks |= {ref: _look(each, before.looks.get(ref)) for each in versions if (ref := f"{folder.name}@{each.name}")}
        if versions:
            declared[folder.name], problem = _declared(folder, before.declared.get(folder.name, Declared()))
            problems |= {f"{folder.name}@{VERSIONS}": problem} if problem else {}
    bundles = {ref: look.bundle for ref, look in looks.items() if look.bundle}
    served = _versions_by_name(bundles.values())
    for name, versions_served in served.items():
        if wrong := declared[name].problem(versions_served):
            problems.setdefault(f"{name}@{VERSIONS}", f"{VERSIONS}: {wrong}")
    problems |= {ref: look.problem for ref, look in looks.items() if look.bundle is None}
    named = {told(ref): told(problem) for ref, problem in sorted(problems.items())}
    return _Snapshot(looks, bundles, served, declared, named)


def _look(folder: Path, before: _Look | None) -> _Look:
    """At one version. One that passed and has not changed is not verified again, nor is a broken one once it is certain
    that a write to it would have shown."""
    seen_at_ns = time.time_ns()
    try:
        seen = signature(folder)  # before its contents: a write in between makes the next signature differ
        settled = seen.settled(seen_at_ns)
        if before is not None and before.signature == seen and (before.bundle is not None or before.settled):
            return before
    except OSError as error:
        return _Look(None, settled=False, problem=unreadable(folder, error))
    try:
        return _Look(seen, settled, open_bundle(folder))
    except BundleError as error:
        problem = error.detail
    except OSError as error:
        problem = unreadable(folder, error)
    except Exception as error:  # whatever a hostile file makes a parser raise: it hides no other bundle
        problem = f"It cannot be read: {describe(error)}."
    return _Look(seen, settled, problem=problem)


def _declared(folder: Path, before: Declared) -> tuple[Declared, str | None]:
    """What versions.toml says, and what is wrong with it. While it is wrong (half written, perhaps), what it said
    before stands: a pinned version must not change because of a slip."""
    try:
        return read_declared(folder), None
    except BundleError as error:
        return before, error.detail
    except OSError as error:
        return before, unreadable(folder, error)
    except Exception as error:  # as of a bundle: it hides nothing else
        return before, f"{VERSIONS} cannot be read: {describe(error)}."


def _versions_by_name(bundles: Iterable[Bundle]) -> dict[str, tuple[str, ...]]:
    versions: dict[str, tuple[str, ...]] = {}
    for info in sorted((bundle.info for bundle in bundles), key=lambda info: (info.name, natural_key(info.version))):
        versions[info.name] = (*versions.get(info.name, ()), info.version)
    return versions


def _changes(before: _Snapshot, after: _Snapshot) -> Changes:
    old, new = ({ref: b.info.digest for ref, b in each.bundles.items()} for each in (before, after))
    return Changes(
        added=tuple(ref for ref in new if ref not in old),
        changed=tuple(ref for ref in new if ref in old and old[ref] != new[ref]),
        removed=tuple(ref for ref in old if ref not in new),
        broken={ref: text for ref, text in after.problems.items() if before.problems.get(ref) != text},
    )


def _newest(now: _Snapshot, name: str, ready: Collection[str] | None) -> str:
    """The highest version whose digest is among `ready`; the highest of all where none is."""
    versions = now.versions[name]
    proven = [version for version in versions if now.bundles[f"{name}@{version}"].info.digest in (ready or ())]
    return (proven or versions)[-1]


def _no_such_model(now: _Snapshot, name: str) -> str:
    broken = [ref for ref in now.problems if ref.partition("@")[0] == name]
    if broken:
        return f"Model {name!r} is not served: its bundle is broken ({', '.join(broken)})."
    close = difflib.get_close_matches(name, now.versions, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"There is no model {name!r}. {hint}Models: {', '.join(now.versions) or 'none'}."


def _no_such_version(now: _Snapshot, name: str, said: str, version: str) -> str:
    """`said`: what was asked for, an alias perhaps, or nothing; `version`: what that stands for."""
    if said == version:
        what = f"Version {version!r} of {name!r}"
    else:
        what = f"Alias {said!r}" if said else "The default"
        what = f"{what} of {name!r}, by {VERSIONS}, is version {version!r}, which"
    if f"{name}@{version}" in now.problems:
        return f"{what} is not served: its bundle is broken."
    aliases = now.declared[name].aliases
    known = f"Versions: {', '.join(now.versions[name])}." + (f" Aliases: {', '.join(aliases)}." if aliases else "")
    if said == version:
        return f"Model {name!r} has no version {version!r}. {known}"
    return f"{what} is not there. {known}"
