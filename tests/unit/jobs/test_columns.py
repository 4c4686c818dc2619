import numpy as np
import pytest
from attributor.jobs.columns import columns, equal_columns
from attributor.jobs.model import Feature, InputKind, InputSpec

FEATURES = (
    Feature("age", "years", 0, 120),
    Feature("colour", categories=("red", "green", "blue"), one_hot=True),
    Feature("size", categories=("small", "large")),
)
TABLE = InputSpec("table", InputKind.TABULAR, (5,), FEATURES)
AGE, COLOUR, SIZE = columns(TABLE)


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_one_hot_column_takes_an_element_per_category_and_others_one():
    assert [(each.start, each.stop) for each in (AGE, COLOUR, SIZE)] == [(0, 1), (1, 4), (4, 5)]
    assert len(TABLE.elements) == 5
    assert columns(InputSpec("x", InputKind.TENSOR, (3,))) == ()


def test_a_value_is_a_number_or_the_name_of_a_category():
    given = row(17.99, 0, 1, 0, 1)
    assert [each.value(given) for each in (AGE, COLOUR, SIZE)] == [17.99, "green", "large"]


@pytest.mark.parametrize("mixture", [(0.3, 0.7, 0), (0, 0, 0), (1, 1, 0), (0, 2, 0), (1, -1, 0)])
def test_one_hot_elements_that_are_no_category_have_no_name_and_are_outside(mixture):
    given = row(1, *mixture, 0)
    assert COLOUR.value(given) is None
    assert COLOUR.outside(given)


@pytest.mark.parametrize("number", [0.5, 2, -1])
def test_a_number_that_is_no_category_is_told_as_it_is_and_is_outside(number):
    given = row(1, 1, 0, 0, number)
    assert SIZE.value(given) == number
    assert SIZE.outside(given)


def test_categories_and_values_within_bounds_are_inside():
    assert not any(each.outside(row(120, 0, 0, 1, 1)) for each in (AGE, COLOUR, SIZE))
    assert AGE.outside(row(120.5, 0, 0, 1, 1))
    assert AGE.outside(row(-1, 0, 0, 1, 1))


def test_a_bound_that_float32_rounds_is_not_passed_by_itself():
    tenth = InputSpec("x", InputKind.TABULAR, (1,), (Feature("f", maximum=0.1),))
    assert not columns(tenth)[0].outside(row(0.1))  # which is above 0.1 in float64


def test_a_columns_attribution_is_the_sum_of_its_elements():
    assert COLOUR.added_up(row(9, 0.5, -0.25, 1, 9)) == 1.25


def test_columns_agree_where_all_of_their_elements_do():
    one, other = row(1, 1, 0, 0, 0), row(1, 0, 1, 0, 0)
    assert equal_columns(TABLE, one, other).tolist() == [True, False, True]
