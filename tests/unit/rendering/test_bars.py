from dataclasses import replace

import numpy as np
import pytest
from attributor.jobs.job import Polarity, Visualization, VisualizationKind
from attributor.rendering.bars import Rest, rank
from attributor.rendering.subject import Subject


def view(polarity: Polarity = Polarity.BOTH, max_bars: int = 10) -> Visualization:
    return Visualization(VisualizationKind.BARS, polarity=polarity, max_bars=max_bars)


def test_the_largest_come_first_whatever_their_sign_and_ties_keep_the_declared_order(table: Subject) -> None:
    bars = rank(view(), table)
    assert [bar.name for bar in bars.shown] == ["mean radius", "mean area", "texture", "count", "smoothness", "age"]
    assert bars.others is None
    assert bars.hidden is None
    assert bars.largest == pytest.approx(0.3)


def test_the_rest_is_counted_and_summed(table: Subject) -> None:
    bars = rank(view(max_bars=2), table)
    assert [bar.name for bar in bars.shown] == ["mean radius", "mean area"]
    assert bars.others is not None
    assert bars.others.count == 4
    assert bars.others.attribution == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("polarity", "names", "hidden"),
    [
        (Polarity.POSITIVE, ["mean radius", "texture", "smoothness", "age"], Rest(2, -0.25)),
        (Polarity.NEGATIVE, ["mean area", "count", "age"], Rest(3, 0.45)),
    ],
)
def test_a_polarity_hides_the_other_sign_and_says_how_much(
    table: Subject, polarity: Polarity, names: list[str], hidden: Rest
) -> None:
    bars = rank(view(polarity), table)
    assert [bar.name for bar in bars.shown] == names
    assert bars.hidden is not None
    assert bars.hidden.count == hidden.count
    assert bars.hidden.attribution == pytest.approx(hidden.attribution)


def test_only_features_equal_to_their_baseline_are_marked(table: Subject) -> None:
    assert {bar.name for bar in rank(view(), table).shown if bar.at_baseline} == {"age"}


def test_without_a_baseline_no_feature_is_at_it(table: Subject) -> None:
    bars = rank(view(), replace(table, baseline=None)).shown
    assert [(bar.baseline, bar.at_baseline) for bar in bars] == [(None, False)] * 6


def test_values_are_as_they_were_sent_and_not_their_float32_expansion(table: Subject) -> None:
    bar = rank(view(), table).shown[0].payload()
    assert bar == {
        "name": "mean radius",
        "unit": "mm",
        "value": 17.99,
        "baseline": 14.0,
        "attribution": 0.3,
        "at_baseline": False,
    }


def test_a_sum_of_others_larger_than_any_bar_sets_the_scale(table: Subject) -> None:
    subject = replace(table, attributions=np.full(6, 0.1, dtype=np.float32))
    assert rank(view(max_bars=1), subject).largest == pytest.approx(0.5)


def test_attributions_of_zero_have_no_length(table: Subject) -> None:
    assert rank(view(), replace(table, attributions=np.zeros(6, dtype=np.float32))).largest == 0.0
