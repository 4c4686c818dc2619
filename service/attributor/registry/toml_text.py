"""TOML that nobody vouches for, from bytes to plain values: bounded in the work that it makes, wrong in one way only.

Knows TOML and its costs in Python's reader. Knows nothing of manifests or of any other file's form.
"""

import re
import tomllib
from typing import Any

from attributor.errors import BundleError

#: Most parts of a key. Ours: no file of ours has keys of five; one of 400,000, which a bound on the file's size lets
#: through, takes tomllib, which is quadratic in them, minutes.
MOST_KEY_PARTS = 64

#: A part of a key, in any of its three forms. A string that is not closed is taken to the end of its line.
_PART = rb"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*+"?|'[^'\n]*+'?)"""
#: What is not a key is passed over whole: strings of several lines, and comments. What TOML refuses is read as
#: something; tomllib stops there, so that whatever follows costs nothing.
_WORDS = re.compile(
    rb'"""(?:[^"\\]|\\.|"(?!""))*+(?:"""|\Z)'
    rb"|'''(?:[^']|'(?!''))*+(?:'''|\Z)"
    rb"|#[^\n]*+"
    rb"|(?P<key>" + _PART + rb"(?:[ \t]*+\.[ \t]*+" + _PART + rb"){" + str(MOST_KEY_PARTS).encode() + rb"})"
    rb"|" + _PART + rb"(?:[ \t]*+\.[ \t]*+" + _PART + rb"){0," + str(MOST_KEY_PARTS - 1).encode() + rb"}+",
    re.DOTALL,
)

#: TOML's integers (TOML v1.0.0, Integer). Python's reader takes longer ones, whose digits errors would then repeat.
_INTEGERS = range(-(2**63), 2**63)


def read_toml(data: bytes, what: str) -> dict[str, Any]:
    """The values of a TOML document. `what` stands in the errors: "The manifest", a file's name.

    Raises BundleError for what is no UTF-8, no TOML, nested too deeply, or holds a key or an integer that is too long.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{what} is not UTF-8: {error}.") from None
    if any(word.lastgroup for word in _WORDS.finditer(data)):
        raise BundleError(f"{what} is not TOML that we read: a key has more than {MOST_KEY_PARTS} parts.")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BundleError(f"{what} is not TOML: {error}.") from None
    except RecursionError:
        raise BundleError(f"{what} is not TOML that we read: its lists or tables are nested too deeply.") from None
    except ValueError:  # int()'s, which refuses thousands of digits
        raise BundleError(f"{what} is not TOML: an integer has more than 64 bits.") from None
    _require_integers(values, what)
    return values


def _require_integers(values: dict[str, Any], what: str) -> None:
    stack: list[Any] = [values]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, int) and value not in _INTEGERS:
            raise BundleError(f"{what} is not TOML: an integer has more than 64 bits.")
