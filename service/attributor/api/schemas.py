"""Request bodies, with examples. Validation of form only: what needs the model is checked in `mapping.py`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, field_validator

from attributor.jobs.job import ColorMap, OverlayStyle, Polarity, RuleName, VisualizationKind
from attributor.jobs.model import OutputScale
from attributor.jobs.state import JobState

#: Below this, float32 cannot tell a completeness error from rounding.
TIGHTEST_TOLERANCE = 1e-6
#: The adaptive rule's first nodes; fewer evaluations than that are no integration.
FEWEST_EVALUATIONS = 9
#: Ours: twenty times the default, an hour of a large net on a CPU.
MOST_EVALUATIONS = 10_000
#: More nodes of a fixed rule than anyone used in the papers (20 to 1,000).
MOST_STEPS = 2_000
#: A picture's longer side, pixels: the answer must fit in a few megabytes.
LARGEST_SIDE_PX = 2_048

Strict = ConfigDict(extra="forbid")
#: No name of ours is longer, and what is refused is quoted.
LONGEST_NAME = 200
Name = Annotated[str, Field(strict=True, max_length=LONGEST_NAME)]
PositiveNumber = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


def _short(value: object) -> object:
    """For fields that take a name or something else."""
    if isinstance(value, str) and len(value) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters")
    return value


class TargetBody(BaseModel):
    """Which output to explain."""

    model_config = Strict

    class_: StrictInt | StrictStr | None = Field(
        None, alias="class", description="Index or label; absent: the class predicted at the input."
    )
    scale: OutputScale = Field(OutputScale.PROBABILITY, description="The scale on which the class is scored.")

    @field_validator("class_", mode="before")
    @classmethod
    def _is_class(cls, value: object) -> object:
        """One sentence in place of pydantic's one per alternative; in Python true is an int."""
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
            raise ValueError("must be a class index (a whole number) or a label (text)")
        return _short(value)


class PictureOptions(BaseModel):
    """How to draw."""

    model_config = Strict

    polarity: Polarity = Field(Polarity.BOTH, description="Which signs are shown.")
    clip_percentile: float = Field(
        99.0, gt=0, le=100, description="This percentile of |attribution| and above get full strength."
    )
    color_map: ColorMap = Field(ColorMap.BLUE_ORANGE, description="green_red as in the papers; hard for some to tell.")
    style: OverlayStyle = Field(OverlayStyle.TINT, description="For overlays; intensity as in the papers.")
    scale_px: int = Field(
        256,
        ge=1,
        le=LARGEST_SIDE_PX,
        description="Enlarge a picture, by a whole number, until its longer side has so many pixels.",
    )
    max_bars: int = Field(10, ge=1, le=100, description="For bars: the rest are summed.")


class VisualizationBody(PictureOptions):
    """A picture to draw."""

    kind: VisualizationKind

    @field_validator("clip_percentile", "scale_px", "max_bars", mode="before")
    @classmethod
    def _is_number(cls, value: object) -> object:
        """A body has numbers where a query string has text."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("must be a number")
        return value


class JobQuery(BaseModel):
    """How a job is answered, as query parameters."""

    model_config = Strict

    result: int | None = Field(None, ge=0, description="Which result, for npy and PNG of a job with several inputs.")
    encoding: Literal["auto", "numbers", "base64-npy"] = Field(
        "auto", description="How attributions stand in JSON; auto: numbers up to 10,000 values, base64-npy above."
    )


class ListQuery(BaseModel):
    """Which jobs to list, as query parameters."""

    model_config = Strict

    limit: int = Field(20, ge=1, le=100, description="Most jobs on one page.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")
    state: JobState | None = Field(None, description="Only jobs in this state.")
    model: str | None = Field(None, description="Only jobs of this `name` or `name@version`.")


class PictureQuery(PictureOptions):
    """A picture of a stored result, as query parameters."""

    result: int | None = Field(None, ge=0, description="Which result, where there are several inputs.")


InputItem = Annotated[
    dict[str, Any],
    Field(
        description="One input to explain, by the names of the model's inputs. A value is what the model declares: an "
        "object of named features, a base64 PNG or JPEG, or, always, a tensor in Open Inference Protocol form: "
        '`{"shape": [...], "datatype": "FP32", "data": [...]}`.'
    ),
]


class AttributionBody(BaseModel):
    """A request for attributions."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "model": "digits",
                    "inputs": [{"image": {"shape": [1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}}],
                    "target": {"class": "3", "scale": "probability"},
                    "baseline": "black",
                    "tolerance": 0.01,
                    "visualizations": [{"kind": "overlay"}],
                }
            ]
        },
    )

    model: Name = Field(description="`name`, its default version, or `name@version`.")
    inputs: list[InputItem] = Field(min_length=1, fail_fast=True, description="One result each.")
    target: TargetBody = TargetBody.model_validate({})
    baseline: StrictStr | dict[str, Any] | None = Field(
        None,
        description="A baseline that the model names, or an input of the same form as `inputs`; absent: its default.",
    )
    method: Literal["integrated_gradients"] = "integrated_gradients"
    rule: RuleName = Field(RuleName.ADAPTIVE, description="adaptive picks its nodes by error; the others are fixed.")
    tolerance: PositiveNumber = Field(
        0.01, ge=TIGHTEST_TOLERANCE, le=1, description="Completeness error allowed, relative to the score difference."
    )
    absolute_tolerance: PositiveNumber = Field(
        1e-5, description="Completeness error allowed in any case, in units of the score."
    )
    max_evaluations: Annotated[int, Field(strict=True, ge=FEWEST_EVALUATIONS, le=MOST_EVALUATIONS)] = Field(
        500, description="Gradient evaluations per input, at most; for the adaptive rule."
    )
    n_steps: Annotated[int, Field(strict=True, ge=1, le=MOST_STEPS)] | None = Field(
        None, description="Nodes of a fixed rule; 50 if absent."
    )
    visualizations: list[VisualizationBody] = Field(default=[], max_length=16, description="Pictures in the answer.")

    @field_validator("baseline", mode="before")
    @classmethod
    def _is_baseline(cls, value: object) -> object:
        """One sentence in place of pydantic's one per alternative."""
        if value is not None and not isinstance(value, str | dict):
            raise ValueError("must be the name of a baseline, or an object like an entry of `inputs`")
        return _short(value)


class PredictionBody(BaseModel):
    """A request for a model's outputs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"inputs": [{"image": {"shape": [1, 8, 8], "datatype": "FP32", "data": [0.5] * 64}}]}]
        },
    )

    inputs: list[InputItem] = Field(min_length=1, fail_fast=True, description="One prediction each.")
