import numpy as np
import pytest
from attributor.errors import InvalidInput
from attributor.inputs.tabular import decode_features
from attributor.jobs.model import Feature, InputKind, InputSpec

NAMES = ("mean radius", "mean texture", "worst area")
SPEC = InputSpec("features", InputKind.TABULAR, (3,), tuple(Feature(name) for name in NAMES))
GOOD: dict[str, object] = {"worst area": 2019, "mean radius": 17.99, "mean texture": -1}


def test_features_come_in_the_declared_order_whatever_order_they_are_sent_in() -> None:
    array = decode_features(SPEC, GOOD, field="x")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array([17.99, -1, 2019], dtype=np.float32))


def test_a_misspelt_feature_gets_a_suggestion() -> None:
    with pytest.raises(InvalidInput, match='did you mean "mean radius"') as caught:
        decode_features(SPEC, {"mean radus": 1, "mean texture": 1, "worst area": 1}, field="inputs.0.features")
    assert caught.value.field == "inputs.0.features.mean radus"


def test_an_unknown_feature_like_no_other_gets_the_list() -> None:
    with pytest.raises(InvalidInput, match='"mean radius", "mean texture", "worst area"'):
        decode_features(SPEC, GOOD | {"zzz": 1}, field="x")


def test_missing_features_are_counted_and_named() -> None:
    with pytest.raises(InvalidInput, match='2 of 3 features are missing: "mean texture", "worst area"') as caught:
        decode_features(SPEC, {"mean radius": 1}, field="x")
    assert caught.value.field == "x.mean texture"


def test_of_many_missing_features_only_the_first_are_listed() -> None:
    spec = InputSpec("f", InputKind.TABULAR, (40,), tuple(Feature(f"column {i}") for i in range(40)))
    with pytest.raises(InvalidInput, match=r"column 9\" and 30 more"):
        decode_features(spec, {}, field="x")


@pytest.mark.parametrize("value", [None, True, "17.99", [17.99], {}, float("nan"), float("inf"), 1e39, 10**400])
def test_a_value_that_is_no_finite_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_features(SPEC, GOOD | {"mean texture": value}, field="inputs.2.features")
    assert caught.value.field == "inputs.2.features.mean texture"


MIXED = InputSpec(
    "row",
    InputKind.TABULAR,
    (5,),
    (
        Feature("age", missing=38.5),
        Feature("size", categories=("S", "M", "L")),
        Feature("colour", categories=("red", "green", "blue"), one_hot=True, missing_category="green"),
    ),
)


def mixed(value: dict[str, object]) -> list[float]:
    return decode_features(MIXED, value, field="inputs.0.row").tolist()


def test_categories_become_their_number_or_one_of_many_elements() -> None:
    assert mixed({"colour": "blue", "size": "L", "age": 7}) == [7, 2, 0, 0, 1]


@pytest.mark.parametrize("row", [{"size": "S"}, {"size": "S", "age": None, "colour": None}])
def test_what_is_missing_takes_the_declared_value(row: dict[str, object]) -> None:
    assert mixed(row) == [38.5, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        ({"colour": "red"}, "size", '1 of 3 features are missing: "size"'),
        ({"size": None}, "size", 'must be the name of a category; its categories are "S", "M", "L"'),
        ({"size": 1}, "size", "must be the name of a category"),
        ({"size": "S", "colour": "gren"}, "colour", 'did you mean "green"'),
        ({"size": "S", "colour": "mauve"}, "colour", 'unknown category; its categories are "red", "green", "blue"'),
        ({"size": "S", "colour=red": 1}, "colour=red", "unknown feature"),
        ({"size": "S", "age": "old"}, "age", "must be a number"),
    ],
)
def test_a_value_that_is_no_category_is_refused_with_those_that_are(
    row: dict[str, object], field: str, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        mixed(row)
    assert caught.value.field == f"inputs.0.row.{field}"
