"""A table's attributions as horizontal bars: as SVG, as PNG of it, and as a JSON payload.

Lengths are never clipped and both signs share one scale; the signed number stands beside each bar.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any

import vl_convert

from attributor.jobs.job import ColorMap, Polarity, Visualization
from attributor.rendering import svg
from attributor.rendering.bars import Bar, Bars, rank
from attributor.rendering.colormaps import PALETTES
from attributor.rendering.figures import number, rounded, signed, signed_column
from attributor.rendering.reading import Reading
from attributor.rendering.subject import Scale, Subject, common_payload, facts, legend_entry, title

#: Ours: a chart as wide as a phone in landscape or half a desktop, in three columns: name and value, bar, number.
_WIDTH_PX = 680
_PAD_PX = 16
_VALUE_END_PX = 306
_VALUE_ROOM_PX = 104
_BARS_FROM_PX = 322
_BARS_TO_PX = 580
_NUMBER_END_PX = _WIDTH_PX - _PAD_PX
_ROW_PX = 26
_BAR_PX = 16
_TEXT_DOWN_PX = 15
_FIRST_ROW_PX = 100

#: A bar that is not zero can be seen.
_LEAST_BAR_PX = 0.75

#: The ramp's second stops: 3 to 1 against the page, and equally light.
_LOWERS_STOP, _RAISES_STOP = 1, -2

#: Twice the SVG's size, for dense screens and print.
_PNG_SCALE = 2.0

_SOFT = svg.Style(colour=svg.SOFT)
_SOFT_END = svg.Style(colour=svg.SOFT, anchor="end")


@dataclass(frozen=True, slots=True)
class BarsDrawing:
    """A finished chart."""

    view: Visualization
    subject: Subject
    bars: Bars

    @property
    def scale(self) -> Scale:
        """The longest bar is full strength; percentile 100, because no length is clipped."""
        return Scale(self.bars.largest, 100.0)

    def png(self) -> bytes:
        """The chart as drawn by `svg`, at twice its size."""
        return vl_convert.svg_to_png(self.svg(), scale=_PNG_SCALE)

    def payload(self) -> dict[str, Any]:
        """The rows as plain values. `others` and `hidden` are null where there are none."""
        return {
            **common_payload(self.view, self.subject, self.scale),
            "description": _sentence(self.subject, self.bars),
            "legend": _legend(self.view, self.subject),
            "bars": [bar.payload() for bar in self.bars.shown],
            "others": None if self.bars.others is None else self.bars.others.payload(),
            "hidden": None if self.bars.hidden is None else self.bars.hidden.payload(),
        }

    def svg(self) -> str:
        """Name and value, bar, signed number; the rest as one bar; the scale below."""
        rows = len(self.bars.shown) + (self.bars.others is not None)
        notes = self.bars.hidden is not None
        below = _FIRST_ROW_PX + rows * _ROW_PX
        head = title(self.view, self.subject)
        root = svg.page(_WIDTH_PX, below + 38 + 18 * notes, head, _sentence(self.subject, self.bars))
        room = _WIDTH_PX - 2 * _PAD_PX
        svg.text(root, (_PAD_PX, 30), head, svg.Style(15, weight="bold"), room_px=room)
        svg.text(root, (_PAD_PX, 51), "; ".join(facts(self.subject)), _SOFT, room_px=room)
        axis = _Axis(self.view, self.bars.largest, self.subject.reading)
        axis.draw(root, _FIRST_ROW_PX - 8, below)
        _draw_rows(root, self.bars, axis)
        if self.bars.hidden is not None:
            hidden = f"Not shown: {_features(self.bars.hidden.count)} of the other sign, together "
            svg.text(root, (_PAD_PX, below + 42), hidden + signed(self.bars.hidden.attribution), _SOFT, room_px=room)
        return svg.written(root)


def draw_bars(view: Visualization, subject: Subject) -> BarsDrawing:
    """Rank the features; drawing happens when it is asked for."""
    return BarsDrawing(view, subject, rank(view, subject))


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where an attribution lies in the column of bars, and which colour it has."""

    view: Visualization
    largest: float
    reading: Reading

    @property
    def reach(self) -> float:
        """The |attribution| at an end. Where all are zero there are no bars, but there is a zero line."""
        return self.largest or 1.0

    @property
    def low(self) -> float:
        """The attribution at the left end."""
        return 0.0 if self.view.polarity is Polarity.POSITIVE else -self.reach

    @property
    def high(self) -> float:
        """The attribution at the right end."""
        return 0.0 if self.view.polarity is Polarity.NEGATIVE else self.reach

    def x(self, attribution: float) -> float:
        """Pixels from the left of the chart."""
        share = (attribution - self.low) / (self.high - self.low)
        return _BARS_FROM_PX + share * (_BARS_TO_PX - _BARS_FROM_PX)

    def colour(self, attribution: float) -> str:
        """Of the sign; solid, because the length says how much."""
        return bar_colours(self.view.color_map)[attribution > 0]

    def written(self, attribution: float) -> str:
        """With its sign, where it has one."""
        return signed(attribution) if self.reading.signed else number(attribution)

    def draw(self, root: ET.Element, top: float, bottom: float) -> None:
        """Words above, the zero line, and numbers below."""
        zero = self.x(0.0)
        svg.shape(root, "line", x1=zero, y1=top, x2=zero, y2=bottom, stroke=svg.SOFT)
        near = self.reading.near
        lowers, raises = near["lowers"] if self.low < 0 else None, near["raises"] if self.high > 0 else None
        svg.sign_words(root, (_BARS_FROM_PX, _BARS_TO_PX), top - 8, lowers=lowers, raises=raises)
        ends = {self.low: (_BARS_FROM_PX, "start"), self.high: (_BARS_TO_PX, "end")}
        for attribution, (x, anchor) in ends.items():
            if attribution and self.largest:
                svg.text(root, (x, bottom + 18), self.written(attribution), svg.Style(11, svg.SOFT, anchor))
        svg.text(root, (zero, bottom + 18), "0", svg.Style(11, svg.SOFT, "middle"))


def bar_colours(color_map: ColorMap) -> tuple[str, str]:
    """For lowering and for raising bars."""
    palette = PALETTES[color_map]
    if color_map is ColorMap.GREEN_RED:
        return palette.lowers, palette.raises
    return palette.ramp[_LOWERS_STOP], palette.ramp[_RAISES_STOP]


def _draw_rows(root: ET.Element, bars: Bars, axis: _Axis) -> None:
    rest = [] if bars.others is None else [bars.others.attribution]
    written = signed_column([*(bar.attribution for bar in bars.shown), *rest])
    if not axis.reading.signed:
        written = [figure.removeprefix("+") for figure in written]
    for row, bar in enumerate(bars.shown):
        top = _FIRST_ROW_PX + row * _ROW_PX
        _draw_label(root, bar, top + _TEXT_DOWN_PX)
        _draw_bar(root, axis, bar.attribution, top, f"{bar.name} = {_value(bar)}")
        if bar.at_baseline:
            _draw_note(root, axis, "at the baseline", top + _TEXT_DOWN_PX)
    if bars.others is not None:
        top = _FIRST_ROW_PX + len(bars.shown) * _ROW_PX
        name = f"{bars.others.count} other{'s' if bars.others.count > 1 else ''}"
        svg.text(root, (_PAD_PX, top + _TEXT_DOWN_PX), name, _SOFT)
        _draw_bar(root, axis, bars.others.attribution, top, name)
    for row, figure in enumerate(written):
        y = _FIRST_ROW_PX + row * _ROW_PX + _TEXT_DOWN_PX
        svg.text(root, (_NUMBER_END_PX, y), figure, svg.Style(anchor="end"))


def _draw_note(root: ET.Element, axis: _Axis, note: str, y: float) -> None:
    """Beside the zero line, on the side where bars have their place."""
    right = axis.high > 0
    style = svg.Style(11, svg.SOFT, "start" if right else "end")
    svg.text(root, (axis.x(0.0) + (6 if right else -6), y), note, style)


def _draw_label(root: ET.Element, bar: Bar, y: float) -> None:
    value = _value(bar)
    svg.text(root, (_VALUE_END_PX, y), value, _SOFT_END, room_px=_VALUE_ROOM_PX)
    room = _VALUE_END_PX - _PAD_PX - min(svg.width_px(value, _SOFT_END.size_px), _VALUE_ROOM_PX) - 10
    svg.text(root, (_PAD_PX, y), bar.name, svg.Style(), room_px=room)


def _draw_bar(root: ET.Element, axis: _Axis, attribution: float, top: float, name: str) -> None:
    if attribution == 0:
        return
    zero = axis.x(0.0)
    width = max(abs(axis.x(attribution) - zero), _LEAST_BAR_PX)
    left = zero if attribution > 0 else zero - width
    colour = axis.colour(attribution)
    bar = svg.shape(root, "rect", x=left, y=top + 2, width=width, height=float(_BAR_PX), fill=colour)
    svg.tooltip(bar, f"{name}: {axis.written(attribution)}")


def _value(bar: Bar) -> str:
    if bar.value is None:
        return "no one category"
    if isinstance(bar.value, str):
        return bar.value
    return number(bar.value) + (f" {bar.unit}" if bar.unit else "")


def _features(count: int) -> str:
    return f"{count} feature{'s' if count > 1 else ''}"


def _legend(view: Visualization, subject: Subject) -> dict[str, Any]:
    score, reading = f'the score of "{subject.target_label}"', subject.reading
    lowers, raises = bar_colours(view.color_map)
    entries = {
        Polarity.NEGATIVE: legend_entry("lowers", lowers, f"{reading.verbs['lowers']} {score}"),
        Polarity.POSITIVE: legend_entry(
            "raises" if reading.signed else "either", raises, f"{reading.verbs['raises']} {score}"
        ),
    }
    shown = [entry for sign, entry in entries.items() if view.polarity in (Polarity.BOTH, sign)]
    return {"polarity": view.polarity.value, "color_map": view.color_map.value, "entries": shown}


def _sentence(subject: Subject, bars: Bars) -> str:
    said, error = facts(subject)
    written = signed if subject.reading.signed else number
    strongest = ", ".join(f"{bar.name} {written(rounded(bar.attribution))}" for bar in bars.shown[:3])
    return f"The strongest features: {strongest or 'none'}. {said.capitalize()}; {error}."
