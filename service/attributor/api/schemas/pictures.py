"""How pictures are asked for, in bodies and in query strings. Form only."""

from typing import ClassVar

from pydantic import Field, field_validator

from attributor.api.schemas.fields import LONGEST_NAME, Closed
from attributor.jobs.job import ColorMap, OverlayStyle, Polarity, VisualizationKind

#: A picture's longer side, pixels: the answer must fit in a few megabytes.
LARGEST_SIDE_PX = 2_048


class PictureOptions(Closed):
    """How to draw."""

    input: str | None = Field(
        None,
        max_length=LONGEST_NAME,
        description="Which input to draw, where several are explained; absent: the first that can be drawn so.",
    )
    polarity: Polarity = Field(
        Polarity.BOTH, description="Which signs are shown; attributions without signs (|gradient|, squares) have one."
    )
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

    SUCH_AS: ClassVar[str] = '{"kind": "heatmap"}'

    kind: VisualizationKind

    @field_validator("clip_percentile", "scale_px", "max_bars", mode="before")
    @classmethod
    def _is_number(cls, value: object) -> object:
        """A body has numbers where a query string has text."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("must be a number")
        return value


class PictureQuery(PictureOptions):
    """A picture of a stored result, as query parameters."""

    result: int | None = Field(None, ge=0, description="Which result, counted from 0, where there are several.")
