"""Numbers for people: no more digits than sensible. Knows nothing of what they measure."""

from collections.abc import Iterable
from math import floor, log10

#: Ours: attributions are seldom known to more, and fewer would hide what the completeness error shows.
SIGNIFICANT_DIGITS = 4

#: A true minus sign is as wide as the plus and is not broken from its number.
_MINUS = "−"

#: Whole numbers up to here are written out, from there on as a power of ten: ours, the most that a column holds.
_LONGEST_WHOLE = 1e7

#: Below it a column of numbers is written as powers of ten: ours, three zeros after the point are still read.
_SMALLEST_FIXED = 1e-4


def rounded(value: float) -> float:
    """To four significant digits, as a Python float."""
    return float(f"{float(value):.{SIGNIFICANT_DIGITS}g}")


def number(value: float) -> str:
    """Four significant digits; whole numbers up to ten million in full."""
    if value != 0 and 10**SIGNIFICANT_DIGITS <= abs(value) < _LONGEST_WHOLE:
        return _typographic(f"{value:.0f}")
    return _typographic(f"{value:.{SIGNIFICANT_DIGITS}g}")


def percent(ratio: float) -> str:
    """A ratio as percent, two significant digits."""
    return f"{number(float(f'{100 * ratio:.2g}'))} %"


def signed(value: float) -> str:
    """With its sign, which is never left to a colour alone; zero has none."""
    return "0" if value == 0 else ("+" if value > 0 else _MINUS) + number(abs(value))


def signed_column(values: Iterable[float]) -> list[str]:
    """Numbers to stand below each other: the decimals of the largest serve all. Only an exact zero is "0"."""
    column = list(values)
    largest = max(map(abs, column), default=0.0)
    if not _SMALLEST_FIXED <= largest < _LONGEST_WHOLE:
        return [signed(value) for value in column]
    decimals = max(0, SIGNIFICANT_DIGITS - 1 - floor(log10(largest)))
    return ["0" if value == 0 else _typographic(f"{value:+.{decimals}f}") for value in column]


def _typographic(text: str) -> str:
    mantissa, e, exponent = text.partition("e")
    return (mantissa + (f"e{int(exponent)}" if e else "")).replace("-", _MINUS)
