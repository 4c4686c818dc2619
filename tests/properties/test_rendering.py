"""What must hold for every attribution: signs are told apart, zero is neutral, sums are kept, numbers are finite."""

import json
import math
import xml.etree.ElementTree as ET

import numpy as np
from attributor.jobs.job import ColorMap, OverlayStyle, Polarity, Visualization, VisualizationKind
from attributor.jobs.model import Feature, InputKind, InputSpec
from attributor.rendering.bars import rank
from attributor.rendering.colormaps import ZERO_ENTRY, entries
from attributor.rendering.draw import draw
from attributor.rendering.normalise import signed_strengths
from attributor.rendering.subject import Subject
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

WIDTH = st.floats(min_value=-(2.0**120), max_value=2.0**120, width=32)
MAPS = arrays(np.float32, (3, 4), elements=WIDTH)
PERCENTILES = st.floats(min_value=0.01, max_value=100.0)
POLARITIES = st.sampled_from(list(Polarity))


@given(MAPS, PERCENTILES, POLARITIES)
def test_strengths_keep_signs_and_zeros_and_order(values: np.ndarray, percentile: float, polarity: Polarity) -> None:
    wide = values.astype(np.float64)
    strengths = signed_strengths(wide, percentile, polarity).values
    assert np.isfinite(strengths).all()
    assert np.abs(strengths).max() <= 1
    assert not strengths[wide == 0].any()
    assert (strengths * np.sign(wide) >= 0).all()
    order = np.argsort(wide, axis=None)
    assert (np.diff(strengths.ravel()[order]) >= 0).all()


@given(MAPS, PERCENTILES)
def test_turning_every_sign_mirrors_the_picture(values: np.ndarray, percentile: float) -> None:
    wide = values.astype(np.float64)
    up = entries(signed_strengths(wide, percentile, Polarity.BOTH).values).astype(int)
    down = entries(signed_strengths(-wide, percentile, Polarity.BOTH).values).astype(int)
    np.testing.assert_array_equal(up - ZERO_ENTRY, ZERO_ENTRY - down)


@given(MAPS, st.integers(min_value=-20, max_value=20))
def test_the_unit_of_the_score_does_not_change_the_picture(values: np.ndarray, power: int) -> None:
    wide = values.astype(np.float64)
    first = signed_strengths(wide, 99.0, Polarity.BOTH)
    second = signed_strengths(wide * 2.0**power, 99.0, Polarity.BOTH)
    np.testing.assert_array_equal(first.values, second.values)
    assert second.scale == first.scale * 2.0**power


@given(arrays(np.float32, 7, elements=WIDTH), POLARITIES, st.integers(min_value=1, max_value=9))
def test_bars_others_and_hidden_add_up_to_the_whole(values: np.ndarray, polarity: Polarity, max_bars: int) -> None:
    view = Visualization(VisualizationKind.BARS, polarity=polarity, max_bars=max_bars)
    bars = rank(view, table_subject(values, "label"))
    rests = [rest for rest in (bars.others, bars.hidden) if rest is not None]
    assert len(bars.shown) + sum(rest.count for rest in rests) == values.size
    parts = [bar.attribution for bar in bars.shown] + [rest.attribution for rest in rests]
    largest = float(np.abs(values).max())
    assert math.isclose(math.fsum(parts), math.fsum(values.tolist()), abs_tol=1e-12 * largest)


@settings(max_examples=60)
@given(
    arrays(np.float32, (3, 2, 3), elements=WIDTH),
    st.text(max_size=40),
    st.sampled_from([VisualizationKind.HEATMAP, VisualizationKind.OVERLAY]),
    POLARITIES,
    st.sampled_from(list(OverlayStyle)),
    st.sampled_from(list(ColorMap)),
)
def test_every_image_drawing_is_well_formed(
    values: np.ndarray,
    label: str,
    kind: VisualizationKind,
    polarity: Polarity,
    style: OverlayStyle,
    color_map: ColorMap,
) -> None:
    view = Visualization(kind, polarity=polarity, style=style, color_map=color_map, scale_px=6)
    require_well_formed(view, image_subject(values, label))


@settings(max_examples=60)
@given(arrays(np.float32, 7, elements=WIDTH), st.text(max_size=40), POLARITIES)
def test_every_bar_drawing_is_well_formed(values: np.ndarray, label: str, polarity: Polarity) -> None:
    require_well_formed(Visualization(VisualizationKind.BARS, polarity=polarity), table_subject(values, label))


def require_well_formed(view: Visualization, subject: Subject) -> None:
    drawing = draw(view, subject)
    json.dumps(drawing.payload(), allow_nan=False)
    root = ET.fromstring(drawing.svg())
    assert not any(name == "style" or name.startswith("on") for element in root.iter() for name in element.attrib)


def table_subject(values: np.ndarray, label: str) -> Subject:
    features = tuple(Feature(f"{label} {i}", label) for i in range(values.size))
    spec = InputSpec("table", InputKind.TABULAR, (values.size,), features)
    return Subject(spec, values, np.zeros_like(values), values, label, 0.5, 0.25, 0.0, None)


def image_subject(values: np.ndarray, label: str) -> Subject:
    spec = InputSpec("image", InputKind.IMAGE, values.shape, value_range=(-1.0, 1.0))
    return Subject(spec, values, np.zeros_like(values), values, label, 0.5, 0.25, 0.0, None)
