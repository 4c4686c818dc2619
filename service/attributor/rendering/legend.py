"""What the colours of an image's picture mean: as words, as a payload, and as a ramp in SVG. Draws no picture."""

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

from attributor.jobs.job import OverlayStyle, Polarity, Visualization, VisualizationKind
from attributor.rendering import svg
from attributor.rendering.colormaps import PALETTES
from attributor.rendering.figures import number, signed
from attributor.rendering.pixels import legend_colours
from attributor.rendering.subject import Scale, Subject, facts, legend_entry

#: The height that `draw` takes, with a margin below.
HEIGHT_PX = 72

_RAMP_HEIGHT_PX = 12
#: Enough that the ramp between two stops is the picture's to the eye.
_RAMP_STOPS = 17

_SIGNS = {Polarity.BOTH: "either", Polarity.POSITIVE: "raises", Polarity.NEGATIVE: "lowers"}


def payload(view: Visualization, subject: Subject) -> dict[str, Any]:
    """Polarity, palette and one entry per sign shown; a colour of null is that of the picture itself."""
    score = f'the score of "{subject.target_label}"'
    reading, sign = subject.reading, _SIGNS[view.polarity]
    if _is_intensity(view):
        dark = legend_entry("none", "#000000", f"{reading.verbs['none']} {score}")
        bright = legend_entry(
            sign if reading.signed else "either", None, f"{reading.verbs[sign]} {score}: the more, the brighter"
        )
        return {"polarity": view.polarity.value, "color_map": None, "entries": [dark, bright]}
    palette = PALETTES[view.color_map]
    on_map = view.kind is VisualizationKind.HEATMAP
    low, high = _shown_range(view)
    lowers = legend_entry("lowers", palette.ramp[0] if on_map else palette.lowers, f"{reading.verbs['lowers']} {score}")
    none = legend_entry("none", palette.neutral if on_map else None, f"{reading.verbs['none']} {score}")
    colour = palette.ramp[-1] if on_map else palette.raises
    raises = legend_entry("raises" if reading.signed else "either", colour, f"{reading.verbs['raises']} {score}")
    shown = [*([lowers] if low < 0 else []), none, *([raises] if high > 0 else [])]
    return {"polarity": view.polarity.value, "color_map": view.color_map.value, "entries": shown}


def sentence(view: Visualization, subject: Subject, scale: Scale) -> str:
    """The picture for those who do not see it, and for those who do not know what they see."""
    if _is_intensity(view):
        meaning = f"The brighter a pixel is left, the more it {subject.reading.verbs[_SIGNS[view.polarity]]} the score"
    else:
        low, high = _shown_range(view)
        lowering, raising = PALETTES[view.color_map].words
        lower, higher = subject.reading.colours
        parts = [lower.format(lowering)] * (low < 0) + [higher.format(raising)] * (high > 0)
        meaning = ", ".join(parts)
        meaning = meaning[:1].upper() + meaning[1:]
    said, error = facts(subject)
    full = f", {number(scale.full_strength)}" if scale.full_strength else ""
    return f"{meaning}. {_full_at(scale)}{full}. {said.capitalize()}; {error}."


def draw(
    root: ET.Element, view: Visualization, drawn: tuple[Subject, Scale], *, at: tuple[float, float], width_px: float
) -> None:
    """The ramp with its numbers and words, from the corner `at`."""
    subject, scale = drawn
    near, sign = subject.reading.near, _SIGNS[view.polarity]
    left, top = at
    low, high = _shown_range(view)
    strengths = np.linspace(low, high, _RAMP_STOPS, dtype=np.float32)
    # The name says all that the ramp depends on: two pictures on one page share a name only with equal ramps.
    name = f"ramp-{view.kind}-{view.style}-{view.color_map}-{view.polarity}"
    gradient = svg.shape(svg.shape(root, "defs"), "linearGradient", id=name)
    for stop, colour in enumerate(legend_colours(view, strengths)):
        svg.shape(gradient, "stop", offset=f"{stop / (_RAMP_STOPS - 1):.4f}", stop_color=colour)
    box = {"x": left, "y": top, "width": width_px, "height": float(_RAMP_HEIGHT_PX)}
    svg.shape(root, "rect", **box, fill=f"url(#{name})", stroke=svg.LINE)
    written = number if _is_intensity(view) or not subject.reading.signed else signed
    _row(root, (left, top + 27), width_px, (written(low * scale.full_strength), written(high * scale.full_strength)))
    if low < 0 < high:
        svg.text(root, (left + width_px / 2, top + 27), "0", svg.Style(anchor="middle", colour=svg.SOFT))
    if _is_intensity(view):
        _row(root, (left, top + 43), width_px, (near["none"], near[sign]))
    else:
        lowers, raises = near["lowers"] if low < 0 else None, near["raises"] if high > 0 else None
        svg.sign_words(root, (left, left + width_px), top + 43, lowers=lowers, raises=raises)
    svg.text(root, (left, top + 60), _full_at(scale), svg.Style(11, svg.SOFT))


def _is_intensity(view: Visualization) -> bool:
    return view.kind is VisualizationKind.OVERLAY and view.style is OverlayStyle.INTENSITY


def _shown_range(view: Visualization) -> tuple[float, float]:
    """The strengths that can be seen; of an intensity only the size."""
    if _is_intensity(view):
        return 0.0, 1.0
    low = 0.0 if view.polarity is Polarity.POSITIVE else -1.0
    return low, 0.0 if view.polarity is Polarity.NEGATIVE else 1.0


def _row(root: ET.Element, at: tuple[float, float], width_px: float, words: tuple[str, str]) -> None:
    svg.text(root, at, words[0], svg.Style(colour=svg.SOFT))
    svg.text(root, (at[0] + width_px, at[1]), words[1], svg.Style(colour=svg.SOFT, anchor="end"))


def _full_at(scale: Scale) -> str:
    """What the ends of the ramp are, so that nobody takes a stretched noise for a strong effect."""
    if scale.full_strength == 0:
        return "Every attribution is zero"
    share = f"percentile {number(scale.clip_percentile)}" if scale.clip_percentile < 100 else "the largest"
    return f"Full strength: {share} of |attribution|"
