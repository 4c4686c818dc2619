"""Where a new bundle lies: being made, as a draft that no service reads, or as a version in the model folder.

Knows folders, names and versions. Knows nothing of what a bundle holds.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attributor.errors import BundleError
from attributor.registry.catalog import Bundle, natural_key, open_bundle
from attributor.registry.files import MANIFEST, list_files, read_manifest, require_plain_file
from attributor.registry.manifest import parse
from attributor.registry.versions import VERSIONS, read_declared

#: Folders that the catalog does not look into, because their names begin with a dot or an underscore.
_STAGING = ".staging-"
_DRAFTS = "_drafts"


def drafts_in(root: Path) -> Path:
    """The folder of the drafts of a model folder: laid out as that one is, and looked into by no service."""
    return root / _DRAFTS


def drafts(root: Path) -> list[Path]:
    """The folders of all drafts, by name and version."""
    return sorted(path.parent for path in drafts_in(root).glob(f"*/*/{MANIFEST}"))


def next_version(root: Path, name: str) -> str:
    """One above the highest whole number among the versions of a model and its drafts, whatever else there is."""
    folders = [folder for folder in (root / name, drafts_in(root) / name) if folder.is_dir()]
    taken = [int(each.name) for folder in folders for each in folder.iterdir() if each.name.isdecimal()]
    return str(max(taken, default=0) + 1)


@contextmanager
def staged(root: Path, name: str, version: str) -> Iterator[Path]:
    """An empty folder `name/version` on the same disk as `root`, removed at the end with what is still in it.

    Raises BundleError if that version exists.
    """
    require_free(root, name, version)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=root))
    try:
        folder = staging / name / version
        folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(staging)


@contextmanager
def copied(source: Path, root: Path) -> Iterator[Bundle]:
    """A finished bundle, copied under `root` where the catalog does not see it yet, and verified there.

    `place` gives it its place; what is not placed is removed at the end. Raises BundleError for anything that is not
    one folder of plain files as its manifest lists them, and if that version exists.
    """
    if source.is_symlink() or not source.is_dir():
        raise BundleError(f"{source} is not a folder: give the folder of one version, such as theirs/model/1.")
    info = parse(read_manifest(source)).info
    with staged(root, info.name, info.version) as folder:
        for file in (MANIFEST, *list_files(source)):
            require_plain_file(source / file)
            shutil.copyfile(source / file, folder / file, follow_symlinks=False)
        yield open_bundle(folder)


def place(bundle: Bundle, root: Path) -> Bundle:
    """Gives a bundle, copied or written beside it, its place in a model folder, where it appears at once and complete.

    Raises BundleError if that version exists by now.
    """
    name, version = bundle.info.name, bundle.info.version
    require_free(root, name, version)
    (root / name).mkdir(parents=True, exist_ok=True)
    return open_bundle(bundle.folder.rename(root / name / version))


def require_free(root: Path, name: str, version: str) -> None:
    """Raises BundleError if there is such a version, or a link in its place."""
    if (root / name).is_symlink() or (root / name / version).is_symlink() or (root / name / version).exists():
        raise BundleError(f"{name}@{version} exists already in {root}; a version never changes, so this needs another.")


def remove_if_draft(folder: Path, root: Path) -> bool:
    """Removes the folder of a draft that was published; leaves any other. Returns whether it was one."""
    if folder.resolve().parent.parent != drafts_in(root).resolve():
        return False
    shutil.rmtree(folder)
    for parent in (folder.parent, drafts_in(root)):
        if not any(parent.iterdir()):
            parent.rmdir()
    return True


def displaced(bundle: Bundle, root: Path) -> str | None:
    """The version that a bare name meant before this one came; None if none did, or it still means that."""
    name, version = bundle.info.name, bundle.info.version
    others = [each.name for each in (root / name).iterdir() if each.is_dir() and each.name[0] not in "._"]
    others.remove(version)
    try:
        if read_declared(root / name).default is not None:
            return None
    except (BundleError, OSError):
        return None  # who reads the catalog is told what is wrong with it
    highest = max(others, key=natural_key, default=None)
    return highest if highest is not None and natural_key(version) > natural_key(highest) else None


def pinned(root: Path, name: str) -> Path:
    """The file that says which version a bare name means."""
    return root / name / VERSIONS
