"""Folders into which anybody may put anything: what in them is ours to look at, and what is wrong with it, in words.

Knows names and what the file system says. Knows nothing of what bundles are.
"""

from collections.abc import Iterator
from pathlib import Path

from attributor.registry.foreign import shortened


def own(folder: Path) -> Iterator[Path]:
    """The folders in a folder; those whose names begin with a dot or an underscore are not ours. Raises OSError."""
    return (each for each in folder.iterdir() if each.name[0] not in "._" and _is_folder(each))


def unreadable(folder: Path, error: OSError) -> str:
    """What is wrong with a folder of which something could not be read."""
    return f"{Path(error.filename or folder).name} cannot be read: {error.strerror}."


def told(text: str) -> str:
    """As it can be sent: of bounded length, and with escapes for what in a file's name is no Unicode."""
    return shortened(text.encode(errors="backslashreplace").decode())


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to where nobody may look, say: a look at it says so, of this entry alone
        return True
