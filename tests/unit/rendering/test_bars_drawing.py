import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from attributor.jobs.job import ColorMap, Polarity, Visualization, VisualizationKind
from attributor.jobs.model import Feature, InputKind, InputSpec
from attributor.rendering import svg
from attributor.rendering.bars_drawing import draw_bars
from attributor.rendering.subject import Subject
from PIL import Image

NS = "{http://www.w3.org/2000/svg}"
VIEW = Visualization(VisualizationKind.BARS)
BLUE, ORANGE = "#367BCF", "#BD5B12"


def marks(text: str) -> list[ET.Element]:
    """The bars: rectangles with a title."""
    return [rect for rect in ET.fromstring(text).iter(f"{NS}rect") if rect.find(f"{NS}title") is not None]


def words(text: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(text).iter(f"{NS}text")]


def test_the_payload_says_what_is_needed_to_read_it(table: Subject) -> None:
    payload = draw_bars(replace(VIEW, max_bars=3), table).payload()
    assert json.loads(json.dumps(payload)) == payload
    assert payload["kind"] == "bars"
    assert payload["target_label"] == "malignant"
    assert (payload["score"], payload["baseline_score"]) == (0.9, 0.7)
    assert (payload["completeness_error"], payload["relative_completeness_error"]) == (0.001, None)
    assert payload["scale"] == {"full_strength": 0.3, "units": "score", "clip_percentile": 100.0}
    assert [bar["name"] for bar in payload["bars"]] == ["mean radius", "mean area", "texture"]
    assert payload["others"] == {"count": 3, "attribution": 0.0}
    assert payload["hidden"] is None
    assert payload["legend"]["entries"] == [
        {"sign": "lowers", "color": BLUE, "meaning": 'lowers the score of "malignant"'},
        {"sign": "raises", "color": ORANGE, "meaning": 'raises the score of "malignant"'},
    ]


def test_bars_leave_the_zero_line_on_the_side_of_their_sign_and_in_its_colour(table: Subject) -> None:
    text = draw_bars(VIEW, table).svg()
    line = ET.fromstring(text).find(f"{NS}line")
    assert line is not None
    zero = float(line.attrib["x1"])
    for mark, attribution in zip(marks(text), [0.3, -0.2, 0.1, -0.05, 0.05], strict=True):
        left, width = float(mark.attrib["x"]), float(mark.attrib["width"])
        assert (left if attribution > 0 else left + width) == pytest.approx(zero, abs=0.02)
        assert mark.attrib["fill"] == (ORANGE if attribution > 0 else BLUE)
        assert width == pytest.approx(abs(attribution) / 0.3 * 129, abs=0.02)


def test_each_row_shows_name_value_unit_and_signed_number(table: Subject) -> None:
    text = draw_bars(VIEW, table).svg()
    shown = words(text)
    for word in ("mean radius", "17.99 mm", "+0.3000", "−0.2000", "40 years", "at the baseline", "123456", "0"):
        assert word in shown
    assert marks(text)[0].findtext(f"{NS}title") == "mean radius = 17.99 mm: +0.3"
    assert {"lowers", "raises"} <= set(shown)


def test_what_has_no_row_is_said(table: Subject) -> None:
    text = draw_bars(replace(VIEW, max_bars=1, polarity=Polarity.POSITIVE), table).svg()
    assert "3 others" in words(text)
    assert "Not shown: 2 features of the other sign, together −0.25" in words(text)
    assert "lowers" not in words(text)


@pytest.mark.parametrize("polarity", list(Polarity))
@pytest.mark.parametrize("color_map", list(ColorMap))
def test_every_form_stays_inside_its_page(table: Subject, polarity: Polarity, color_map: ColorMap) -> None:
    long = tuple(Feature(f"{'a very long name of a column ' * 4}{i}", "kilogram metres") for i in range(6))
    subject = replace(table, input_spec=replace(table.input_spec, features=long), target_label="label " * 60)
    root = ET.fromstring(draw_bars(replace(VIEW, polarity=polarity, color_map=color_map, max_bars=3), subject).svg())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for element in root.iter(f"{NS}text"):
        room = svg.width_px(element.text or "", int(element.attrib["font-size"]))
        x, anchor = float(element.attrib["x"]), element.attrib.get("text-anchor", "start")
        left = x - room * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        assert left >= 0
        assert left + room <= width
        assert float(element.attrib["y"]) <= height - 4
    assert not any("style" in element.attrib for element in root.iter())


def test_attributions_of_zero_draw_a_line_and_no_bars(table: Subject) -> None:
    text = draw_bars(VIEW, replace(table, attributions=np.zeros(6, dtype=np.float32))).svg()
    assert marks(text) == []
    assert "+1" not in words(text)


def test_the_png_is_the_chart_at_twice_its_size(table: Subject) -> None:
    drawing = draw_bars(VIEW, table)
    root = ET.fromstring(drawing.svg())
    with Image.open(BytesIO(drawing.png())) as picture:
        assert picture.size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
        colours = picture.convert("RGB").getcolors(1 << 20)
    seen = {colour for _, colour in colours or []}
    assert {tuple(bytes.fromhex(BLUE[1:])), tuple(bytes.fromhex(ORANGE[1:]))} <= seen


def test_a_category_is_written_beside_its_bar(table: Subject) -> None:
    spec = InputSpec(
        "f", InputKind.TABULAR, (3,), (Feature("colour", categories=("red", "green"), one_hot=True), Feature("age"))
    )
    given = {"input_spec": spec, "baseline": None, "attributions": np.array([0.5, 0.25, 0.1], np.float32)}
    green = replace(table, **given, example=np.array([0, 1, 61], np.float32))
    assert ">green<" in draw_bars(Visualization(VisualizationKind.BARS), green).svg()
    mixed = replace(green, example=np.array([0.5, 0.5, 61], np.float32))
    assert ">no one category<" in draw_bars(Visualization(VisualizationKind.BARS), mixed).svg()
