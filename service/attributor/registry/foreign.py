"""Exceptions of foreign code, a bundle's or a library's that reads its files, as part of a sentence. Knows none."""

from contextlib import suppress

#: Most characters of what an exception says. Ours: a paragraph.
_MOST_CHARS = 1000


def describe(error: BaseException) -> str:
    """The exception's class and what it says, in one line without a full stop."""
    text = ""
    with suppress(BaseException):  # what it says is foreign code, too
        text = " ".join(str(error)[:_MOST_CHARS].split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
