"""Kinds of fields that several bodies share, and their limits. Form only."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field

Strict = ConfigDict(extra="forbid")
#: No name of ours is longer, and what is refused is quoted.
LONGEST_NAME = 200
Name = Annotated[str, Field(strict=True, max_length=LONGEST_NAME)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Alpha = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
#: Ours: a point per hundredth, on one line of an answer.
MOST_ALPHAS = 100
Alphas = Annotated[list[Alpha], Field(max_length=MOST_ALPHAS)]


def class_name(value: object) -> object:
    """One sentence in place of pydantic's one per alternative; in Python true is an int."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
        raise ValueError("must be a class index (a whole number) or a label (text)")
    if isinstance(value, str) and len(value) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters")
    return value


def alternatives(choose: Callable[[Any], str | None], otherwise: str) -> Discriminator:
    """Tells the forms of a field apart: `choose` names one by its tag, or None. Tags stand in braces, which
    `problems` takes for no part of a field's path."""
    return Discriminator(choose, "alternatives", otherwise)


def is_tag(part: str) -> bool:
    """Whether this part of a place is the tag of an alternative."""
    return part.startswith("{") and part.endswith("}")
