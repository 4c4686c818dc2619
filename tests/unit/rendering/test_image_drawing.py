import base64
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import vl_convert
from attributor.jobs.job import ColorMap, OverlayStyle, Polarity, Visualization, VisualizationKind
from attributor.jobs.model import InputKind, InputSpec
from attributor.rendering import svg
from attributor.rendering.image_drawing import draw_image
from attributor.rendering.subject import Subject
from PIL import Image

NS = "{http://www.w3.org/2000/svg}"
HEATMAP = Visualization(VisualizationKind.HEATMAP)
VIEWS = [
    Visualization(kind, polarity=polarity, style=style, color_map=color_map)
    for kind in (VisualizationKind.HEATMAP, VisualizationKind.OVERLAY)
    for polarity in Polarity
    for style in OverlayStyle
    for color_map in ColorMap
]


def pixels(encoded: bytes) -> np.ndarray:
    with Image.open(BytesIO(encoded)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def test_an_8x8_picture_is_enlarged_until_it_can_be_seen(digit: Subject) -> None:
    assert pixels(draw_image(HEATMAP, digit).png()).shape == (256, 256, 3)
    assert pixels(draw_image(replace(HEATMAP, scale_px=1), digit).png()).shape == (8, 8, 3)


def test_the_payload_says_what_is_needed_to_read_it(digit: Subject) -> None:
    drawing = draw_image(HEATMAP, digit)
    payload = drawing.payload()
    assert json.loads(json.dumps(payload)) == payload
    assert base64.b64decode(payload["png"]) == drawing.png()
    assert (payload["kind"], payload["width"], payload["height"]) == ("heatmap", 256, 256)
    assert payload["scale"] == {"full_strength": 0.04, "units": "score", "clip_percentile": 99.0}
    assert payload["target_label"] == "3"
    assert (payload["score"], payload["baseline_score"]) == (0.9821, 0.1012)
    assert (payload["completeness_error"], payload["relative_completeness_error"]) == (0.00211, 0.0024)
    assert payload["legend"]["polarity"] == "both"


def test_lowering_is_blue_raising_is_orange_and_zero_is_the_page(digit: Subject) -> None:
    small = pixels(draw_image(replace(HEATMAP, scale_px=8), digit).png())
    np.testing.assert_array_equal(small[0, 0], [0x00, 0x53, 0xA4])
    np.testing.assert_array_equal(small[0, 7], [0x87, 0x3D, 0x02])
    np.testing.assert_array_equal(small[7], np.tile([0xF7, 0xF7, 0xF5], (8, 1)))


def test_channels_that_cancel_are_neutral() -> None:
    attributions = np.array([[[1.0, 1.0]], [[-1.0, 0.0]], [[0.0, 0.0]]], dtype=np.float32)
    zeros = np.zeros((3, 1, 2), dtype=np.float32)
    spec = InputSpec("image", InputKind.IMAGE, (3, 1, 2), value_range=(0.0, 1.0))
    drawing = draw_image(replace(HEATMAP, scale_px=2), Subject(spec, zeros, zeros, attributions, "x", 1, 0, 0, 0))
    np.testing.assert_array_equal(pixels(drawing.png())[0, 0], [0xF7, 0xF7, 0xF5])


@pytest.mark.parametrize("view", VIEWS)
def test_no_attribution_is_drawn_as_nothing_in_every_style(digit: Subject, view: Visualization) -> None:
    drawing = draw_image(replace(view, scale_px=8), replace(digit, attributions=np.zeros((1, 8, 8), dtype=np.float32)))
    grey = np.rint(digit.example[0] * 255)
    neutral = {ColorMap.BLUE_ORANGE: [0xF7, 0xF7, 0xF5], ColorMap.GREEN_RED: [0, 0, 0]}[view.color_map]
    expected = np.broadcast_to(neutral, (8, 8, 3))
    if view.kind is VisualizationKind.OVERLAY:
        expected = np.repeat(grey[..., None], 3, 2) if view.style is OverlayStyle.TINT else np.zeros((8, 8, 3))
    np.testing.assert_array_equal(pixels(drawing.png()), expected)
    assert drawing.payload()["scale"]["full_strength"] == 0


@pytest.mark.parametrize("view", VIEWS)
def test_the_svg_holds_the_picture_and_everything_to_read_it(digit: Subject, view: Visualization) -> None:
    drawing = draw_image(view, replace(digit, target_label='<b>"3" & more</b> ' * 9))
    root = ET.fromstring(drawing.svg())
    assert root.attrib["role"] == "img"
    assert root.findtext(f"{NS}title")
    assert root.findtext(f"{NS}desc")
    image = root.find(f"{NS}image")
    assert image is not None
    assert image.attrib["image-rendering"] == "pixelated"
    assert base64.b64decode(image.attrib["href"].removeprefix("data:image/png;base64,")) == drawing.png()
    assert not any("style" in element.attrib for element in root.iter())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for element in root.iter(f"{NS}text"):
        room = svg.width_px(element.text or "", int(element.attrib["font-size"]))
        left = (
            float(element.attrib["x"])
            - room * ({"start": 0, "middle": 0.5, "end": 1}[element.attrib.get("text-anchor", "start")])
        )
        assert left >= 0
        assert left + room <= width
        assert float(element.attrib["y"]) < height


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (HEATMAP, ["−0.04", "0", "+0.04", "lowers", "raises"]),
        (replace(HEATMAP, polarity=Polarity.POSITIVE), ["0", "+0.04", "raises"]),
        (replace(HEATMAP, polarity=Polarity.NEGATIVE), ["−0.04", "0", "lowers"]),
        (Visualization(VisualizationKind.OVERLAY, style=OverlayStyle.INTENSITY), ["0", "0.04", "no effect"]),
    ],
)
def test_the_legend_has_words_and_numbers_for_what_is_shown(
    digit: Subject, view: Visualization, words: list[str]
) -> None:
    root = ET.fromstring(draw_image(view, digit).svg())
    shown = {element.text for element in root.iter(f"{NS}text")}
    assert set(words) <= shown
    assert not ({"lowers", "raises", "−0.04", "+0.04"} - set(words)) & shown


def test_the_svg_is_drawn_by_a_renderer_that_is_not_ours(digit: Subject) -> None:
    drawing = draw_image(HEATMAP, digit)
    root = ET.fromstring(drawing.svg())
    image = root.find(f"{NS}image")
    assert image is not None
    left, top = int(image.attrib["x"]), int(image.attrib["y"])
    page = pixels(vl_convert.svg_to_png(drawing.svg(), scale=1.0))
    inside = page[top + 1 : top + 255, left + 1 : left + 255]
    np.testing.assert_allclose(inside.astype(int), pixels(drawing.png())[1:255, 1:255], atol=2)
