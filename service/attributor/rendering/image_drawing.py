"""A picture of an image's attributions: as PNG, as SVG with its legend, and as a JSON payload."""

import base64
from dataclasses import dataclass
from typing import Any

from attributor.jobs.job import Visualization
from attributor.rendering import legend, svg
from attributor.rendering.normalise import channel_sum, signed_strengths
from attributor.rendering.pixels import encode_image, enlargement, paint, png
from attributor.rendering.subject import Scale, Subject, common_payload, facts, title

_PAD_PX = 16
#: Ours: room for the head and the facts in one line each.
_LEAST_CONTENT_PX = 380
#: Ours: room for three numbers below the ramp.
_LEAST_RAMP_PX = 256
_TOP_PX = 82
_GAP_PX = 12

_HEAD = svg.Style(size_px=15, weight="bold")
_FACT = svg.Style(size_px=12, colour=svg.SOFT)


@dataclass(frozen=True, slots=True)
class ImageDrawing:
    """A finished picture: `encoded` is its PNG, `times` the enlargement of each pixel."""

    view: Visualization
    subject: Subject
    encoded: bytes
    times: int
    scale: Scale

    def png(self) -> bytes:
        """The picture alone, without a legend; a whole multiple of the input's size."""
        return self.encoded

    def payload(self) -> dict[str, Any]:
        """The picture as base64 PNG with everything that is needed to read it."""
        height, width = self.subject.input_spec.shape[1:]
        return {
            **common_payload(self.view, self.subject, self.scale),
            "description": legend.sentence(self.view, self.subject, self.scale),
            "legend": legend.payload(self.view, self.subject),
            "png": base64.b64encode(self.encoded).decode("ascii"),
            "width": width * self.times,
            "height": height * self.times,
        }

    def svg(self) -> str:
        """The picture with its head, facts and legend."""
        height, width = (size * self.times for size in self.subject.input_spec.shape[1:])
        content = max(width, _LEAST_CONTENT_PX)
        root = svg.page(
            content + 2 * _PAD_PX,
            _TOP_PX + height + _GAP_PX + legend.HEIGHT_PX,
            title(self.view, self.subject),
            legend.sentence(self.view, self.subject, self.scale),
        )
        svg.text(root, (_PAD_PX, 30), title(self.view, self.subject), _HEAD, room_px=content)
        for line, fact in enumerate(facts(self.subject)):
            svg.text(root, (_PAD_PX, 50 + 17 * line), fact, _FACT, room_px=content)
        data = f"data:image/png;base64,{base64.b64encode(self.encoded).decode('ascii')}"
        box: dict[str, float] = {"x": _PAD_PX, "y": _TOP_PX, "width": width, "height": height}
        svg.shape(root, "image", **box, href=data, image_rendering="pixelated")
        svg.shape(root, "rect", **box, fill="none", stroke=svg.LINE)
        legend.draw(
            root,
            self.view,
            (self.subject, self.scale),
            at=(_PAD_PX, _TOP_PX + height + _GAP_PX),
            width_px=max(width, _LEAST_RAMP_PX),
        )
        return svg.written(root)


def draw_image(view: Visualization, subject: Subject) -> ImageDrawing:
    """Sum over channels, normalise, colour, enlarge, encode."""
    strengths = signed_strengths(channel_sum(subject.attributions), view.clip_percentile, view.polarity)
    picture = paint(view, strengths.values, encode_image(subject.input_spec, subject.example))
    times = enlargement(picture, view.scale_px)
    return ImageDrawing(view, subject, png(picture, times), times, Scale(strengths.scale, view.clip_percentile))
