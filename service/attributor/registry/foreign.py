"""Exceptions of foreign code, a bundle's or a library's that reads its files, as part of a sentence. Knows none."""


def describe(error: Exception) -> str:
    """The exception's class and what it says, in one line without a full stop."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
