from dataclasses import replace

import numpy as np
import pytest
from attributor.jobs.job import Polarity, Visualization, VisualizationKind
from attributor.jobs.model import Feature, InputKind, InputSpec
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


COLOURED = InputSpec(
    "features",
    InputKind.TABULAR,
    (5,),
    (Feature("age", "years"), Feature("colour", categories=("red", "green", "blue"), one_hot=True), Feature("size")),
)


def coloured(table: Subject, baseline: list[float]) -> Subject:
    return replace(
        table,
        input_spec=COLOURED,
        example=np.array([61, 0, 1, 0, 7], np.float32),
        baseline=np.array(baseline, np.float32),
        attributions=np.array([0.1, 0.25, 0.5, -0.125, -0.2], np.float32),
    )


def test_a_one_hot_column_is_one_bar_with_its_category(table: Subject) -> None:
    bars = rank(view(), coloured(table, [50, 1, 0, 0, 7]))
    assert [(bar.name, bar.value, bar.baseline, bar.attribution) for bar in bars.shown[:1]] == [
        ("colour", "green", "red", 0.625)
    ]
    assert [bar.name for bar in bars.shown] == ["colour", "size", "age"]
    assert [bar.at_baseline for bar in bars.shown] == [False, True, False]
    rest = rank(view(max_bars=1), coloured(table, [50, 1, 0, 0, 7])).others
    assert rest is not None
    assert rest.count == 2


def test_a_baseline_that_mixes_categories_has_no_name_and_is_not_met(table: Subject) -> None:
    bar = rank(view(), coloured(table, [50, 0.2, 0.5, 0.3, 7])).shown[0]
    assert (bar.baseline, bar.at_baseline) == (None, False)
    mixed = replace(coloured(table, [0] * 5), example=np.array([61, 0.2, 0.5, 0.3, 7], np.float32))
    assert rank(view(), mixed).shown[0].value is None
    same = replace(mixed, baseline=mixed.example)
    assert rank(view(), same).shown[0].at_baseline
