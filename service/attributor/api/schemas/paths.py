"""How the path from the baseline to the input is asked for. Form only."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, Tag, WithJsonSchema

from attributor.api.schemas.fields import Closed, Name, Sigma, Whole, alternatives, one_of
from attributor.jobs.explanation import GammaKind

#: Ours: a polyline with more points is a registered path.
MOST_POINTS = 100
#: Ours: an evaluation, at least, for each piece of a guided path.
MOST_GUIDED_STEPS = 500


class PathBody(Closed):
    """A way from the baseline to the input."""

    SUCH_AS: ClassVar[str] = '{"kind": "guided"}'

    kind: GammaKind
    points: Annotated[list[Any], Field(min_length=1, max_length=MOST_POINTS)] | None = Field(
        None,
        description="Of `polyline`: the points between baseline and input, in order; each like an entry of `inputs`, "
        "or, in the path of one input, like its value.",
    )
    sigma: Sigma | None = Field(
        None,
        description="Of `blur`: standard deviation where the path starts, pixels; absent: a fifth of the longer side.",
    )
    name: Name | None = Field(None, description="Of `registered`: the name of one of the model's paths.")
    steps: Annotated[Whole, Field(ge=2, le=MOST_GUIDED_STEPS)] | None = Field(
        None, description="Of `guided`: pieces (absent: 20)."
    )
    fraction: Annotated[float, Field(strict=True, gt=0, le=1)] | None = Field(
        None, description="Of `guided`: share of the features that may move in a piece (absent: 0.25)."
    )


#: Paths that need no more than their kind, and what goes with those that do.
_SHORT = (GammaKind.STRAIGHT, GammaKind.BLUR, GammaKind.GUIDED)
_LONGER = {
    GammaKind.POLYLINE: '{"kind": "polyline", "points": [...]}',
    GammaKind.REGISTERED: '{"kind": "registered", "name": ...}',
}


def _path_by_kind(value: object) -> object:
    if not isinstance(value, str):
        return value
    for kind, form in _LONGER.items():
        if value == kind:
            raise ValueError(f"{kind} needs more than its name: {form}")
    if value not in _SHORT:
        raise ValueError(one_of(value, _SHORT))
    return PathBody(kind=GammaKind(value))


ShortPath = Annotated[
    PathBody,
    BeforeValidator(_path_by_kind),
    WithJsonSchema({"type": "string", "enum": [kind.value for kind in _SHORT]}),
]


def _one_path_form(value: object) -> str | None:
    if isinstance(value, str):
        return "{name}"
    return "{path}" if isinstance(value, PathBody | dict) else None


OnePath = Annotated[
    Annotated[ShortPath, Tag("{name}")] | Annotated[PathBody, Tag("{path}")],
    alternatives(_one_path_form, 'must be a kind such as "blur", or an object such as {"kind": "blur", "sigma": 2}'),
]


def _path_form(value: object) -> str | None:
    if isinstance(value, str):
        return "{name}"
    if isinstance(value, PathBody) or (isinstance(value, dict) and isinstance(value.get("kind"), str)):
        return "{path}"
    return "{inputs}" if isinstance(value, dict) else None


Paths = Annotated[
    Annotated[ShortPath, Tag("{name}")]
    | Annotated[PathBody, Tag("{path}")]
    | Annotated[dict[str, OnePath], Field(min_length=1), Tag("{inputs}")],
    alternatives(
        _path_form,
        'must be a kind such as "guided", an object such as {"kind": "blur", "sigma": 2}, or those by name of input',
    ),
]
