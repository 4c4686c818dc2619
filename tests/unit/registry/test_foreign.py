"""Exceptions that code of anybody's raises, in a sentence."""

import pytest
from attributor.registry.foreign import describe


class Evil(BaseException):
    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("two\n  lines."), "ValueError: two lines"),
        (ValueError(), "ValueError"),
        (KeyboardInterrupt("x"), "KeyboardInterrupt: x"),
        (Evil(), "Evil"),
    ],
)
def test_an_exception_is_one_line_whatever_it_does_when_it_is_asked(error, text):
    assert describe(error) == text


def test_what_it_says_is_cut_short():
    assert len(describe(ValueError("x" * 10**6))) < 5000
