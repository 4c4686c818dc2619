"""What is wrong with the form of a request, in sentences of ours: of pydantic's findings clients see none."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from attributor.api.schemas.fields import is_tag, one_of

#: Values listed in a sentence; ours, enough for every enumeration of ours.
_LISTED = 20
_QUOTED = re.compile(r"'([^']*)'")
_Finding = Mapping[str, Any]


def _one_of(found: _Finding) -> str:
    """Of an enumeration. Pydantic writes the values, or Python's names of them, between quotes."""
    values = _QUOTED.findall(found["ctx"]["expected"])[:_LISTED]
    sent = found["input"]
    if not isinstance(sent, str):
        return f"must be a text, one of {', '.join(values)}"
    return one_of(sent, values)


def _counted(most: str) -> Callable[[_Finding], str]:
    def sentence(found: _Finding) -> str:
        count = found["ctx"]["max_length" if most == "at most" else "min_length"]
        what = "entry" if count == 1 else "entries"
        return f"must have {most} {count} {what}"

    return sentence


def _bound(words: str, name: str) -> Callable[[_Finding], str]:
    return lambda found: f"must be {words} {found['ctx'][name]:g}"


def _as_is(found: _Finding) -> str:
    """A sentence that one of our own checks wrote."""
    return str(found["msg"]).removeprefix("Value error, ")


def _always(sentence: str) -> Callable[[_Finding], str]:
    return lambda _: sentence


_WHOLE = _always("must be a whole number")
_NUMBER = _always("must be a number")
_TRUTH = _always("must be true or false")
_TEXT = _always("must be text")
_OBJECT = _always("must be an object")
#: By pydantic's name of the finding.
_SENTENCES: Mapping[str, Callable[[_Finding], str]] = {
    "missing": _always("is missing"),
    "enum": _one_of,
    "literal_error": _one_of,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _always("must be a finite number"),
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "string_type": _TEXT,
    "string_sub_type": _TEXT,
    "string_unicode": _always("must be text that has a UTF-8 form"),
    "string_too_long": lambda found: f"must have at most {found['ctx']['max_length']} characters",
    "list_type": _always("must be a list"),
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "too_long": _counted("at most"),
    "too_short": _counted("at least"),
    "greater_than": _bound("above", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("below", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "value_error": _as_is,
    "alternatives": _as_is,
    "unknown_field": _as_is,
}
#: For what pydantic finds beyond the list; a test holds that the list is enough for our schemas.
UNFORESEEN = "does not have the documented form; see /docs"


def told(found: _Finding) -> tuple[str, str]:
    """A finding as the dotted path of the field, and what would be right."""
    where = [str(part) for part in found["loc"]]
    if where[0] in {"body", "query", "header", "path"} and len(where) > 1:
        where = where[1:]
    own = where[-1:] if found["type"] == "unknown_field" else []  # what the client wrote is no tag of ours
    where = [part for part in where[: len(where) - len(own)] if not is_tag(part)] + own
    sentence = _SENTENCES.get(found["type"])
    return ".".join(where), sentence(found) if sentence else UNFORESEEN
