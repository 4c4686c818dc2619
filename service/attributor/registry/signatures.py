"""Whether a folder has changed since it was last looked at, told by what the file system says of it, not by contents.

Knows names, sizes and times. Knows nothing of what bundles are.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

#: File systems stamp writes in ticks, some as coarse as two seconds (FAT): a write within the tick of a look may leave
#: all stamps as they were. What was last written so long before a look is told apart from any later write.
TICK_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Signature:
    """What the file system says of a folder and of all that lies directly in it; equal as long as nothing changed.

    `entries`: name, mode, inode, size, times of the last change of contents and of anything (ns), by name; first those
    of the folder and of the one that holds it, which may be exchanged for a link. Of folders no size or time.
    """

    entries: tuple[tuple[str | int, ...], ...]
    newest_ns: int

    def settled(self, now_ns: int) -> bool:
        """Whether a look at `now_ns` was late enough for any later write to show."""
        return now_ns - self.newest_ns > TICK_NS


def signature(folder: Path) -> Signature:
    """Of a folder; links are not followed. Raises OSError if it cannot be read."""
    around = [(str(path), *_identity(path.lstat())) for path in (folder.parent, folder)]
    newest_ns = 0
    inside: list[tuple[str | int, ...]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):  # Python's bytecode, or an error whatever it holds
                inside.append((entry.name, *_identity(found)))
                continue
            inside.append((entry.name, *_identity(found), found.st_size, found.st_mtime_ns, found.st_ctime_ns))
            newest_ns = max(newest_ns, found.st_ctime_ns)  # which nobody sets, unlike the other
    return Signature((*around, *sorted(inside)), newest_ns)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_mode, found.st_ino
