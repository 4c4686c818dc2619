import numpy as np
import pytest
from attributor.errors import InvalidInput, InvalidShape
from attributor.inputs.numbers import FLOAT32_MAX, finite_float32, number_fault, whole_int64


def test_nested_numbers_keep_their_shape_and_values() -> None:
    array = finite_float32([[1, 2.5], [-3, 4e-3]], field="x")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array([[1, 2.5], [-3, 4e-3]], dtype=np.float32))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        ("1.5", "'1.5'"),
        (True, "true"),
        (float("nan"), "finite"),
        (float("-inf"), "finite"),
        (1e39, "beyond float32"),
        (-(10**400), "beyond float32"),
        ({}, "an object"),
    ],
)
def test_what_is_not_a_number_is_named_with_its_indices(value: object, said: str) -> None:
    for data, place in (([1.0, 2.0, value], "x.data.2"), ([[1.0, 2.0], [value, 3.0]], "x.data.1.0")):
        with pytest.raises(InvalidInput) as caught:
            finite_float32(data, field="x.data")
        assert caught.value.field == place
        assert said in caught.value.detail


def test_a_bool_among_numbers_is_not_taken_for_one() -> None:
    with pytest.raises(InvalidInput, match="true"):
        finite_float32([0, 1, True], field="x")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ([[1, 2], [3]], "x.1"),
        ([[1, 2], 3], "x.1"),
        ([[[1], [2]], [[1], [2, 3]]], "x.1.1"),
    ],
)
def test_ragged_lists_are_shape_errors_where_they_differ(data: list[object], place: str) -> None:
    with pytest.raises(InvalidShape) as caught:
        finite_float32(data, field="x")
    assert caught.value.field == place


def test_a_list_where_a_number_was_is_refused() -> None:
    with pytest.raises(InvalidShape):
        finite_float32([3, [1, 2]], field="x")


def test_lists_nested_beyond_every_tensor_are_refused() -> None:
    data: list[object] = [1.0]
    for _ in range(5000):
        data = [data]
    with pytest.raises(InvalidShape):
        finite_float32(data, field="x")


def test_the_largest_float32_passes_and_the_next_double_step_up_does_not() -> None:
    assert finite_float32([FLOAT32_MAX], field="x")[0] == np.finfo(np.float32).max
    assert number_fault(FLOAT32_MAX) is None
    with pytest.raises(InvalidInput):
        finite_float32([FLOAT32_MAX * 1.001], field="x")


def test_whole_numbers_keep_their_shape_and_are_exact() -> None:
    array = whole_int64([[2**53 - 1, -3], [0, 4.0]], -3, 2**53 - 1, field="x")
    assert array.dtype == np.int64
    np.testing.assert_array_equal(array, [[2**53 - 1, -3], [0, 4]])


@pytest.mark.parametrize(("value", "place"), [(4, "x.1.0"), (-4, "x.1.0"), (0.5, "x.1.0"), (1e40, "x.1.0")])
def test_a_number_that_is_not_whole_or_not_between_the_bounds_is_named(value: float, place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        whole_int64([[1, 2], [value, 9]], -3, 3, field="x")
    assert caught.value.field == place


@pytest.mark.parametrize("n_others", [0, 10, 5_000])
@pytest.mark.parametrize("value", [1e30, -1e30, 1e-44, FLOAT32_MAX, -FLOAT32_MAX, -0.0])
def test_numbers_of_any_size_are_read_among_few_or_many(value, n_others):
    read = finite_float32([0.5] * n_others + [value], field="x")
    assert read.dtype == np.float32
    assert read[-1].tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize("n_others", [0, 10, 5_000])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e39, 10**200, True, "1", None])
def test_what_is_no_number_is_found_among_few_or_many(value, n_others):
    with pytest.raises(InvalidInput) as refused:
        finite_float32([0.5] * n_others + [value], field="x")
    assert refused.value.field == f"x.{n_others}"
