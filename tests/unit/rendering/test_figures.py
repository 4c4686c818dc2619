import pytest
from attributor.rendering.figures import number, percent, rounded, signed, signed_column


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (0.98213456, "0.9821"),
        (-0.5, "−0.5"),
        (17.99, "17.99"),
        (1001.0, "1001"),
        (123456.0, "123456"),
        (-20190.4, "−20190"),
        (123456789.0, "1.235e8"),
        (1.2345e-5, "1.234e−5"),
    ],
)
def test_numbers_have_four_significant_digits_but_whole_ones_are_whole(value: float, written: str) -> None:
    assert number(value) == written


@pytest.mark.parametrize(("value", "written"), [(0.0, "0"), (0.25, "+0.25"), (-1e-9, "−1e−9"), (12345.0, "+12345")])
def test_the_sign_is_always_written_but_for_zero(value: float, written: str) -> None:
    assert signed(value) == written


@pytest.mark.parametrize(("ratio", "written"), [(0.0, "0 %"), (0.002387, "0.24 %"), (0.07, "7 %"), (12.34, "1200 %")])
def test_percents_have_two_digits(ratio: float, written: str) -> None:
    assert percent(ratio) == written


def test_a_column_shares_its_decimals() -> None:
    assert signed_column([0.25264, -0.0981, 0.00001, -0.00001, 0.0]) == [
        "+0.2526",
        "−0.0981",
        "+0.0000",
        "−0.0000",
        "0",
    ]
    assert signed_column([1234.5, -2.0]) == ["+1234", "−2"]
    assert signed_column([99.994, 1.0]) == ["+99.99", "+1.00"]


def test_a_column_of_tiny_numbers_is_written_as_powers_of_ten() -> None:
    assert signed_column([2.5e-8, -1e-9]) == ["+2.5e−8", "−1e−9"]


def test_a_column_of_nothing_is_nothing() -> None:
    assert signed_column([]) == []
    assert signed_column([0.0, 0.0]) == ["0", "0"]


def test_rounding_keeps_four_significant_digits() -> None:
    assert rounded(0.98213456) == 0.9821
    assert rounded(-1.23456e-7) == -1.235e-7
