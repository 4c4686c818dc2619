import xml.etree.ElementTree as ET
from io import BytesIO

import pytest
import vl_convert
from attributor.rendering import svg
from PIL import Image, ImageOps

NS = "{http://www.w3.org/2000/svg}"
NASTY = "</text><script>alert('1 & 2')</script> \"\x00\x1b\ud800 \n end"


def test_nasty_labels_stay_text() -> None:
    page = svg.page(100, 50, NASTY, NASTY)
    svg.text(page, (0, 10), NASTY, svg.Style())
    svg.tooltip(svg.shape(page, "rect", x=1), NASTY)
    root = ET.fromstring(svg.written(page))
    assert root.find(f".//{NS}script") is None
    cleaned = "</text><script>alert('1 & 2')</script> \"\ufffd\ufffd\ufffd   end"
    assert [root.findtext(f"{NS}{tag}") for tag in ("title", "desc", "text")] == [cleaned] * 3
    assert root.findall(f"{NS}rect")[-1].findtext(f"{NS}title") == cleaned


def test_attributes_cannot_be_broken_out_of() -> None:
    page = svg.page(10, 10, "t", "d")
    svg.shape(page, "rect", fill='red" onload="x')
    assert ET.fromstring(svg.written(page)).findall(f"{NS}rect")[-1].attrib == {"fill": 'red" onload="x'}


def test_a_label_with_room_is_left_alone() -> None:
    element = svg.text(svg.page(9, 9, "t", "d"), (0, 0), "mean radius", svg.Style(), room_px=120)
    assert element.text == "mean radius"
    assert not list(element)


@pytest.mark.parametrize("room_px", [20, 40, 80, 160])
@pytest.mark.parametrize("label", ["a long label that goes on and on", "W" * 60, "平均半径" * 9, "i" * 200])
def test_a_label_without_room_ends_in_an_ellipsis_and_is_whole_in_its_tooltip(label: str, room_px: float) -> None:
    element = svg.text(svg.page(9, 9, "t", "d"), (0, 0), label, svg.Style(), room_px=room_px)
    assert element.text is not None
    assert element.text.endswith("…")
    assert label.startswith(element.text[:-1])
    assert svg.width_px(element.text, 12) <= room_px
    longer = label[: len(element.text) + 1].rstrip() + "…"
    assert svg.width_px(longer, 12) > room_px
    assert element[0].text == label


def drawn_width_px(label: str, size_px: int) -> int:
    """As the rasteriser draws it: black on white, columns with ink."""
    page = svg.page(900, 40, "t", "d")
    svg.text(page, (10, 25), label, svg.Style(size_px, "#000000"))
    with Image.open(BytesIO(vl_convert.svg_to_png(svg.written(page), scale=1.0))) as picture:
        box = ImageOps.invert(picture.convert("L")).getbbox()
    return box[2] - box[0] if box else 0


@pytest.mark.parametrize(
    "label", ["worst fractal dimension", "+0.1234 µm²", "WWWWWWMMMM", "Größe (ähnlich)", "iiiillll", "−12345.678"]
)
@pytest.mark.parametrize("size_px", [11, 12, 15])
def test_the_measure_is_a_bound_on_what_is_drawn(label: str, size_px: int) -> None:
    drawn = drawn_width_px(label, size_px)
    assert 0 < drawn <= svg.width_px(label, size_px) < 2.5 * drawn + 4
