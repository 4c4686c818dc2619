from dataclasses import replace

import pytest
from attributor.jobs.job import ColorMap, OverlayStyle, Polarity, Visualization, VisualizationKind
from attributor.rendering import legend
from attributor.rendering.subject import Scale, Subject

HEATMAP = Visualization(VisualizationKind.HEATMAP)
TINT = Visualization(VisualizationKind.OVERLAY)
INTENSITY = Visualization(VisualizationKind.OVERLAY, style=OverlayStyle.INTENSITY)


def signs(view: Visualization, subject: Subject) -> dict[str, str | None]:
    return {entry["sign"]: entry["color"] for entry in legend.payload(view, subject)["entries"]}


def test_a_heat_map_names_both_signs_and_zero(digit: Subject) -> None:
    assert signs(HEATMAP, digit) == {"lowers": "#0053A4", "none": "#F7F7F5", "raises": "#873D02"}


def test_a_tint_is_neutral_where_the_picture_is_itself(digit: Subject) -> None:
    assert signs(TINT, digit) == {"lowers": "#267AEB", "none": None, "raises": "#F06A0A"}


@pytest.mark.parametrize(
    ("polarity", "shown"), [(Polarity.POSITIVE, {"none", "raises"}), (Polarity.NEGATIVE, {"lowers", "none"})]
)
def test_a_hidden_sign_is_not_in_the_legend(digit: Subject, polarity: Polarity, shown: set[str]) -> None:
    assert set(signs(replace(HEATMAP, polarity=polarity), digit)) == shown
    assert legend.payload(replace(HEATMAP, polarity=polarity), digit)["polarity"] == polarity.value


@pytest.mark.parametrize(
    ("polarity", "sign"), [(Polarity.BOTH, "either"), (Polarity.POSITIVE, "raises"), (Polarity.NEGATIVE, "lowers")]
)
def test_an_intensity_has_brightness_for_a_colour(digit: Subject, polarity: Polarity, sign: str) -> None:
    assert signs(replace(INTENSITY, polarity=polarity), digit) == {"none": "#000000", sign: None}


def test_meanings_name_the_target(digit: Subject) -> None:
    entries = legend.payload(HEATMAP, digit)["entries"]
    assert [entry["meaning"] for entry in entries] == [
        'lowers the score of "3"',
        'no effect on the score of "3"',
        'raises the score of "3"',
    ]


def test_a_sentence_tells_colours_scale_and_facts(digit: Subject) -> None:
    sentence = legend.sentence(replace(TINT, color_map=ColorMap.GREEN_RED), digit, Scale(0.04, 99.0))
    assert sentence == (
        "Red lowers the score, green raises the score. Full strength: percentile 99 of |attribution|, 0.04. "
        "Score 0.9821, at the baseline 0.1012; completeness error 0.00211 (0.24 % of the difference)."
    )


def test_a_sentence_says_when_there_is_nothing_to_see(digit: Subject) -> None:
    assert "Every attribution is zero." in legend.sentence(HEATMAP, digit, Scale(0.0, 99.0))
    assert "full strength: the largest" in legend.sentence(INTENSITY, digit, Scale(0.5, 100.0)).lower()
