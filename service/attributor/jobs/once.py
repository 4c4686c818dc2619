"""What a function says of an object that never changes, found out once. Knows no object."""

from collections.abc import Callable
from typing import TypeVar

#: Objects kept, if nothing else is said. Ours: the inputs of some hundred models, with what was found out of them a few
#: kilobytes each.
_MOST = 512

Subject = TypeVar("Subject")
Found = TypeVar("Found")


def once(read: Callable[[Subject], Found], most: int = _MOST) -> Callable[[Subject], Found]:
    """`read`, with its answers remembered by the identity of what was asked of: for frozen objects that are used again
    and again, and cannot be hashed or are too large to be compared. Whoever gets an answer must not change it. At most
    `most` are kept."""
    known: dict[int, tuple[Subject, Found]] = {}

    def remembered(subject: Subject) -> Found:
        found = known.get(id(subject))
        if found is not None:  # the object is kept beside its answer, so that no other has its id
            return found[1]
        if len(known) >= most:
            known.clear()
        answer = read(subject)
        known[id(subject)] = (subject, answer)
        return answer

    return remembered
