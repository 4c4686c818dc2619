"""Exceptions of foreign code, a bundle's or a library's that reads its files, as part of a sentence. Knows none."""

from contextlib import suppress

#: Of a text that a file had a say in, kept in a report. Ours: some pages, so that a file cannot fill memory with it.
_MOST_CHARACTERS = 4000


def describe(error: BaseException) -> str:
    """The exception's class and what it says, in one line without a full stop."""
    text = ""
    with suppress(BaseException):  # what it says is foreign code, too
        text = " ".join(shortened(str(error)).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shortened(text: str, most: int = _MOST_CHARACTERS) -> str:
    """The text, or the first `most` characters of it and "..."."""
    return text if len(text) <= most else f"{text[:most]}..."
