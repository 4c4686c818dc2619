import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from attributor.jobs.explanation import Method, SmoothForm
from attributor.jobs.job import OverlayStyle, Polarity, Visualization, VisualizationKind
from attributor.rendering.draw import draw
from attributor.rendering.reading import EFFECT, Reading, reading
from attributor.rendering.subject import Subject

SALIENCY = reading(Method.SALIENCY, absolute=True, form=None)
UNSIGNED = {
    "saliency": (SALIENCY, "score per unit of the input"),
    "squared": (reading(Method.INTEGRATED_GRADIENTS, absolute=True, form=SmoothForm.SQUARED), "(score) squared"),
    "variance of gradients": (
        reading(Method.SALIENCY, absolute=True, form=SmoothForm.VARIANCE),
        "(score per unit of the input) squared",
    ),
}
VIEWS = [
    Visualization(VisualizationKind.HEATMAP),
    Visualization(VisualizationKind.OVERLAY, polarity=Polarity.NEGATIVE),
    Visualization(VisualizationKind.OVERLAY, style=OverlayStyle.INTENSITY),
]


def test_shares_of_the_score_have_a_direction():
    for method in (Method.INTEGRATED_GRADIENTS, Method.SHAPLEY, Method.LRP, Method.GRADIENT_X_INPUT):
        assert reading(method, absolute=True, form=None) is EFFECT
        assert reading(method, absolute=True, form=SmoothForm.PLAIN) is EFFECT


def test_a_gradient_with_its_sign_says_which_way_and_in_what_units():
    signed = reading(Method.SALIENCY, absolute=False, form=None)
    assert (signed.signed, signed.units) == (True, "score per unit of the input")
    assert signed.titles[Polarity.BOTH] == "Gradient of the score of"


@pytest.mark.parametrize(("unsigned", "units"), UNSIGNED.values(), ids=UNSIGNED.keys())
@pytest.mark.parametrize("view", VIEWS, ids=["heatmap", "negative overlay", "intensity"])
def test_what_has_no_sign_claims_no_direction(digit: Subject, view: Visualization, unsigned: Reading, units: str):
    assert_without_direction(replace(digit, attributions=abs(digit.attributions), reading=unsigned), view, units)


@pytest.mark.parametrize(("unsigned", "units"), UNSIGNED.values(), ids=UNSIGNED.keys())
def test_bars_of_what_has_no_sign_claim_no_direction(table: Subject, unsigned: Reading, units: str):
    subject = replace(table, attributions=abs(table.attributions), reading=unsigned)
    payload = assert_without_direction(subject, Visualization(VisualizationKind.BARS), units)
    assert payload["hidden"] is None


def assert_without_direction(subject: Subject, view: Visualization, units: str) -> dict:
    assert np.min(subject.attributions) >= 0
    drawing = draw(view, subject)
    payload = drawing.payload()
    entries = payload["legend"]["entries"]
    assert {entry["sign"] for entry in entries} <= {"none", "either"}
    assert payload["scale"]["units"] == units
    said = json.dumps({**payload, "png": ""}) + "".join(ET.fromstring(drawing.svg()).itertext())
    for word in ("raises", "lowers", "Effects on", "+", "−"):
        assert word not in said, word
    assert drawing.png().startswith(b"\x89PNG")
    return payload
