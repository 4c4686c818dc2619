"""Kinds of fields that several bodies share, and their limits. Form only."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

#: No name of ours is longer, and what is refused is quoted.
LONGEST_NAME = 200
Name = Annotated[str, Field(strict=True, max_length=LONGEST_NAME)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
#: What an element of an input can hold: float32, rounded down to what people can read.
Element = Annotated[float, Field(strict=True, ge=-3.4e38, le=3.4e38)]
#: Ours: far above every picture's side and every feature's range, far below where its square overflows.
Sigma = Annotated[float, Field(strict=True, gt=0, le=1e9)]
PositiveNumber = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Alpha = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
#: Ours: a point per hundredth, on one line of an answer.
MOST_ALPHAS = 100
Alphas = Annotated[list[Alpha], Field(max_length=MOST_ALPHAS)]
#: Unknown fields told of one object. Ours: more help nobody.
_MOST_UNKNOWN = 20


class Closed(BaseModel):
    """An object without other fields than its own. `SUCH_AS`: one of it, as JSON, for those who send something else."""

    model_config = ConfigDict(extra="forbid")
    SUCH_AS: ClassVar[str] = ""

    @model_validator(mode="wrap")
    @classmethod
    def _names_what_there_is(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Tell what would be right, which pydantic's own findings of these two kinds do not."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ValueError("must be an object" + (f" such as {cls.SUCH_AS}" if cls.SUCH_AS else ""))
        known = [field.alias or name for name, field in cls.model_fields.items()]
        unknown = [name for name in value if name not in known][:_MOST_UNKNOWN]
        others: list[InitErrorDetails] = []
        try:
            made = handler({name: item for name, item in value.items() if name in known})
        except ValidationError as error:
            if not unknown:
                raise
            others = [_again(found) for found in error.errors()]
        if unknown:
            told = [_unknown(name, known) for name in unknown]
            raise ValidationError.from_exception_data(cls.__name__, told + others)
        return made


def _again(found: ErrorDetails) -> InitErrorDetails:
    """A finding, to be raised once more beside others."""
    own = found["type"] in ("alternatives", "unknown_field")
    kind = PydanticCustomError(found["type"], "{text}", {"text": found["msg"]}) if own else found["type"]
    return InitErrorDetails(type=kind, loc=found["loc"], input=found["input"], ctx=found.get("ctx", {}))


def _unknown(name: str, known: list[str]) -> InitErrorDetails:
    close = get_close_matches(str(name), known, n=1)
    text = "is not a field here; " + (one_of(name, known) if close else f"there is {', '.join(known)}")
    # Braces would be read as places for values.
    kind = PydanticCustomError("unknown_field", "{text}", {"text": text})
    return InitErrorDetails(type=kind, loc=(name,), input=None)


def one_of(sent: str, values: Sequence[str]) -> str:
    """What would be right in place of what was sent."""
    close = get_close_matches(str(sent), values, n=1)
    return (f"did you mean {close[0]}? There is " if close else "must be one of ") + ", ".join(values)


def class_name(value: object) -> object:
    """One sentence in place of pydantic's one per alternative; in Python true is an int."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
        raise ValueError("must be a class index (a whole number) or a label (text)")
    if isinstance(value, str) and len(value) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters")
    return value


def alternatives(choose: Callable[[Any], str | None], otherwise: str) -> Discriminator:
    """Tells the forms of a field apart: `choose` names one by its tag, or None. Tags stand in braces, which
    `faults` takes for no part of a field's path."""
    return Discriminator(choose, "alternatives", otherwise)


def is_tag(part: str) -> bool:
    """Whether this part of a place is the tag of an alternative."""
    return part.startswith("{") and part.endswith("}")
