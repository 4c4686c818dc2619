"""A page of SVG: elements with presentation attributes only, escaped text, labels measured before they are drawn.

No style attributes, scripts or links: the result can stand inline under a strict content security policy. Knows
nothing of attributions.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cache
from unicodedata import east_asian_width

from PIL import ImageFont

#: Light theme (the dashboard's): a page of its own colour, readable wherever the picture is pasted.
PAPER = "#FFFFFF"
INK = "#16181D"
SOFT = "#565D68"
LINE = "#D5D9DF"

FONT = "Helvetica, Arial, Liberation Sans, sans-serif"

#: Widths are taken from the font that Pillow carries. Measured against DejaVu Sans, the widest of the usual ones, its
#: labels are at most 1.2 times as wide, so a label fits in whatever font it is drawn.
_FONT_MARGIN = 1.2
_MEASURED_SIZE_PX = 100

_ELLIPSIS = "…"

#: What XML 1.0 (section 2.2) forbids in text, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Style:
    """How a text is set. `anchor`: start, middle or end."""

    size_px: int = 12
    colour: str = INK
    anchor: str = "start"
    weight: str = "normal"


def page(width: int, height: int, title: str, description: str) -> ET.Element:
    """The root: an image to a screen reader, with a title and a description."""
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(width),
            "height": str(height),
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "font-family": FONT,
        },
    )
    ET.SubElement(root, "title").text = clean(title)
    ET.SubElement(root, "desc").text = clean(description)
    shape(root, "rect", x=0, y=0, width=width, height=height, fill=PAPER)
    return root


def shape(parent: ET.Element, tag: str, **attributes: str | float) -> ET.Element:
    """An element; underscores in attribute names stand for hyphens, numbers are written to a hundredth of a pixel."""
    written = {
        key.replace("_", "-"): clean(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
        for key, value in attributes.items()
    }
    return ET.SubElement(parent, tag, written)


def tooltip(element: ET.Element, content: str) -> None:
    """Name a mark, for the pointer and for screen readers."""
    ET.SubElement(element, "title").text = clean(content)


def text(
    parent: ET.Element, at: tuple[float, float], content: str, style: Style, *, room_px: float = float("inf")
) -> ET.Element:
    """One line of text at its baseline; shortened with an ellipsis, and whole in its tooltip, where it has no room."""
    attributes: dict[str, str | float] = {"x": at[0], "y": at[1], "font_size": style.size_px, "fill": style.colour}
    if style.anchor != "start":
        attributes["text_anchor"] = style.anchor
    if style.weight != "normal":
        attributes["font_weight"] = style.weight
    element = shape(parent, "text", **attributes)
    element.text = fitted(clean(content), room_px, style.size_px)
    if element.text != clean(content):
        tooltip(element, content)
    return element


def sign_words(
    parent: ET.Element, ends_px: tuple[float, float], y: float, *, lowers: str | None, raises: str | None
) -> None:
    """Which way a scale runs: a word with an arrow at its left end, one at its right; None where it has no such end.

    The arrows are drawn, since fonts that lack the sign would make way for another font in the whole word.
    """
    left_px, right_px = ends_px
    if lowers:
        shape(parent, "path", d=f"M{left_px:.2f} {y - 4:.2f}l7 -4v8z", fill=SOFT)
        text(parent, (left_px + 11, y), lowers, Style(colour=SOFT))
    if raises:
        shape(parent, "path", d=f"M{right_px:.2f} {y - 4:.2f}l-7 -4v8z", fill=SOFT)
        text(parent, (right_px - 11, y), raises, Style(colour=SOFT, anchor="end"))


def fitted(content: str, room_px: float, size_px: int) -> str:
    """The longest beginning that fits, with an ellipsis; all of it where there is room."""
    if width_px(content, size_px) <= room_px:
        return content
    short, long = 0, len(content)
    while short < long:
        middle = (short + long + 1) // 2
        fits = width_px(content[:middle].rstrip() + _ELLIPSIS, size_px) <= room_px
        short, long = (middle, long) if fits else (short, middle - 1)
    return content[:short].rstrip() + _ELLIPSIS


def width_px(content: str, size_px: int) -> float:
    """A bound on the drawn width: the measuring font's with a margin, a full square for East Asian characters."""
    wide = sum(east_asian_width(character) in "WF" for character in content)
    narrow = "".join(character for character in content if east_asian_width(character) not in "WF")
    return size_px * (_measuring_font().getlength(narrow) / _MEASURED_SIZE_PX * _FONT_MARGIN + wide)


def clean(content: str) -> str:
    """Characters that XML cannot hold become the replacement character, line breaks become spaces."""
    return re.sub(r"\s", " ", _FORBIDDEN.sub("\ufffd", content))


def written(root: ET.Element) -> str:
    """The page as text."""
    return ET.tostring(root, encoding="unicode")


@cache
def _measuring_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_MEASURED_SIZE_PX)
