"""What every table of a manifest is made of: strict types, names, and errors in sentences.

Knows pydantic. Knows nothing of what the tables mean.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Text = Annotated[str, Field(min_length=1)]
#: No underscore in names and versions, so that `attributor_bundle_<name>_<version>` tells any two apart.
NAME_PATTERN, VERSION_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$", r"^[0-9A-Za-z]+(\.[0-9A-Za-z]+)*$"
ModelName = Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
Version = Annotated[str, Field(pattern=VERSION_PATTERN, max_length=32)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]
Entry = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*:[A-Za-z_][A-Za-z0-9_]*$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
TokenId = Annotated[int, Field(ge=0)]


class Table(BaseModel):
    """A manifest is typed by TOML and holds nothing that we do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def wrong(what: str) -> PydanticCustomError:
    """The error to raise in a validator: a sentence that a person can act on."""
    # The text goes in as a value: as a template, braces in a user's name would be taken for placeholders.
    return PydanticCustomError("manifest", "{what}", {"what": what})


def require_distinct(names: Sequence[str], what: str) -> None:
    """Raises if a name stands there twice."""
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise wrong(f"{what} must differ; repeated: {', '.join(repeated)}")
