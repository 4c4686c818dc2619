import time

import pytest
from attributor.inputs.tokenizer_patterns import KNOWN, MOST_CHARS_SIMPLE, MOST_CHARS_UNKNOWN, most_chars
from tokenizers import Regex, Tokenizer, normalizers
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence, Split, WhitespaceSplit

FAR = 100_000


def tokenizer(*patterns: str) -> Tokenizer:
    made = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = Sequence([Split(Regex(pattern), "isolated") for pattern in patterns] or [WhitespaceSplit()])
    return made


def test_without_patterns_there_is_no_limit() -> None:
    assert most_chars(tokenizer(), FAR) == FAR


def test_known_patterns_have_no_limit() -> None:
    assert most_chars(tokenizer(*KNOWN), FAR) == FAR


@pytest.mark.parametrize("text", ["a", " ", "1", "\n", "'", "a1", "a ", " \n", "é'", "🙂 "])
@pytest.mark.parametrize("pattern", sorted(KNOWN))
def test_known_patterns_are_quick_on_long_texts(pattern: str, text: str) -> None:
    began = time.process_time()
    tokenizer(pattern).encode((text * FAR)[:FAR])
    # A pattern that takes the square of the length would take minutes; the bound only tells these apart.
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("pattern", "most"),
    [
        ("a|b", FAR),
        (r"\d{1,3}", FAR),
        (r"\w+", MOST_CHARS_SIMPLE),
        (r"a\+b+", MOST_CHARS_SIMPLE),
        ("a*a*c|.", MOST_CHARS_UNKNOWN),
        (r"(?:a{2,})+b", MOST_CHARS_UNKNOWN),
    ],
)
def test_other_patterns_are_for_texts_that_they_can_be_applied_to(pattern: str, most: int) -> None:
    assert most_chars(tokenizer(pattern), FAR) == most


def test_patterns_of_normalizers_count_too() -> None:
    made = tokenizer()
    made.normalizer = normalizers.Sequence([normalizers.Replace(Regex("a*a*c"), "b")])
    assert most_chars(made, FAR) == MOST_CHARS_UNKNOWN


@pytest.mark.parametrize(("pattern", "length"), [("a*a*c|.", MOST_CHARS_UNKNOWN), ("a+c|.", MOST_CHARS_SIMPLE)])
def test_at_its_limit_a_pattern_made_for_it_takes_no_longer_than_said(pattern: str, length: int) -> None:
    began = time.process_time()
    tokenizer(pattern).encode("a" * length)
    assert time.process_time() - began < 5
