import contextlib
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from attributor.errors import AttributorError, BundleError, InvalidInput, InvalidShape
from attributor.inputs.text import MAX_GROWN_CHARS, MAX_TEXT_CHARS, TextReader
from attributor.inputs.tokenizer_growth import MAX_TOKENIZER_BYTES, MOST_GROWTH, MOST_STEPS
from attributor.jobs.given import GivenText, Token
from attributor.jobs.model import InputKind, InputSpec, Part
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_files import FIRST, PAD, SEPARATOR, byte_level, word_piece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

IDS = InputSpec(
    "input_ids",
    InputKind.TOKENS,
    (12,),
    vocabulary=12,
    embedding="e",
    pad_id=PAD,
    variable=True,
    source="text",
    part=Part.IDS,
)
SEGMENTS = InputSpec(
    "segments",
    InputKind.TOKENS,
    (12,),
    vocabulary=2,
    attributed=False,
    variable=True,
    source="text",
    part=Part.SEGMENTS,
)
WORDS = TextReader(word_piece(), [IDS, SEGMENTS])
BYTES = TextReader(byte_level(), [replace(IDS, shape=(10_000,), vocabulary=300)])


def read(reader: TextReader, value: object) -> tuple[dict[Part, list[int]], GivenText]:
    parts, text = reader.read(value, field="inputs.0.text")
    assert {array.dtype for array in parts.values()} == {np.dtype(np.int64)}
    return {part: array.tolist() for part, array in parts.items()}, text


def test_a_text_becomes_ids_mask_and_segments_of_its_own_length() -> None:
    parts, text = read(WORDS, "Hello Worldly!")
    assert parts == {Part.IDS: [2, 4, 5, 6, 11, 3], Part.MASK: [1] * 6, Part.SEGMENTS: [0] * 6}
    assert text == GivenText(
        ("Hello Worldly!",),
        (
            Token("[CLS]", 0, 0, 0, None),
            Token("hello", 0, 5, 0, 0),
            Token("world", 6, 11, 0, 1),
            Token("##ly", 11, 13, 0, 1),
            Token("!", 13, 14, 0, 2),
            Token("[SEP]", 0, 0, 0, None),
        ),
    )


def test_a_pair_has_two_segments_and_offsets_of_its_own() -> None:
    parts, text = read(WORDS, {"text": "good movie", "pair": "bad movie"})
    assert parts[Part.IDS] == [FIRST, 7, 8, SEPARATOR, 9, 8, SEPARATOR]
    assert parts[Part.SEGMENTS] == [0, 0, 0, 0, 1, 1, 1]
    assert text.texts == ("good movie", "bad movie")
    assert [(token.segment, token.start, token.word) for token in text.tokens] == [
        (0, 0, None),
        (0, 0, 0),
        (0, 5, 1),
        (0, 0, None),
        (1, 0, 0),
        (1, 4, 1),
        (1, 0, None),
    ]


def test_tokens_of_bytes_say_where_they_stand_in_the_text() -> None:
    _, text = read(BYTES, "hello wörld")
    assert text.tokens[0] == Token("hello", 0, 5, 0, 0)
    pieces = ["hello wörld"[token.start : token.end] for token in text.tokens]
    assert pieces == ["hello", " ", "w", "ö", "ö", "r", "ld"]  # two bytes of one character, each a token
    assert {token.word for token in text.tokens[1:]} == {1}


def test_characters_beyond_the_basic_plane_count_as_one() -> None:
    _, text = read(WORDS, "😀 hello")
    assert [(token.start, token.end) for token in text.tokens] == [(0, 0), (0, 1), (2, 7), (0, 0)]


def test_a_fixed_length_is_filled_up_behind_the_text() -> None:
    fixed = TextReader(word_piece(), [replace(IDS, variable=False, shape=(6,)), replace(SEGMENTS, variable=False)])
    parts, text = read(fixed, "hello world")
    assert parts == {Part.IDS: [2, 4, 5, 3, 0, 0], Part.MASK: [1, 1, 1, 1, 0, 0], Part.SEGMENTS: [0] * 6}
    assert len(text.tokens) == 4


def test_without_a_pad_token_a_fixed_length_must_be_met_exactly() -> None:
    exact = TextReader(word_piece(), [replace(IDS, variable=False, shape=(4,), pad_id=None)])
    assert read(exact, "hello world")[0][Part.IDS] == [2, 4, 5, 3]
    for text in ("hello", "hello hello world"):
        with pytest.raises(InvalidShape, match="the model takes exactly 4, and has no padding"):
            exact.read(text, field="f")


@pytest.mark.parametrize(
    ("value", "error", "field", "words"),
    [
        ("good " * 11, InvalidShape, "", "has 13 tokens, special ones counted; the model takes at most 12"),
        ("", InvalidInput, "", "is empty"),
        (" \n", InvalidInput, "", "is empty"),
        ("\0", InvalidInput, "", "is empty"),
        ({"text": "good", "pair": " "}, InvalidInput, ".pair", "is empty"),
        ({"text": " ", "pair": "good"}, InvalidInput, ".text", "is empty"),
        ("a\ud800", InvalidInput, "", "half of a surrogate pair at character 1"),
        ("a" * (MAX_TEXT_CHARS + 1), InvalidInput, "", f"at most {MAX_TEXT_CHARS}"),
        (5, InvalidInput, "", "must be a text"),
        (None, InvalidInput, "", "must be a text"),
        (["good"], InvalidInput, "", "must be a text"),
        ({"text": "good"}, InvalidInput, "", '{"text": "...", "pair": "..."}'),
        ({"text": "good", "pair": 5}, InvalidInput, ".pair", "must be a text"),
        ({"text": "good", "pair": "bad", "third": "x"}, InvalidInput, "", "a pair"),
    ],
)
def test_what_the_model_cannot_take_is_refused_at_its_place(
    value: object, error: type[AttributorError], field: str, words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        WORDS.read(value, field="inputs.0.text")
    assert caught.value.field == f"inputs.0.text{field}"


def test_an_id_beyond_the_models_table_is_refused_with_its_token() -> None:
    small = TextReader(word_piece(), [replace(IDS, vocabulary=10)])
    with pytest.raises(InvalidInput, match="the token '!' has the id 11; the model knows those below 10"):
        small.read("good!", field="f")


def test_a_pair_is_refused_by_a_model_of_one_segment() -> None:
    single = TextReader(word_piece(), [IDS, replace(SEGMENTS, vocabulary=1)])
    single.read("good", field="f")
    with pytest.raises(InvalidInput, match="takes 1 segments"):
        single.read({"text": "good", "pair": "bad"}, field="f")


def test_a_tokenizer_without_an_unknown_token_refuses_what_it_does_not_know() -> None:
    reader = TextReader(Tokenizer(models.WordLevel({"good": 0}, unk_token="[UNK]")).to_str().encode(), [IDS])
    with pytest.raises(InvalidInput, match=r"cannot read it: .*UNK"):
        reader.read("bad", field="f")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"null", b'{"model": {"type": "BPE"}}', word_piece()[:-9]])
def test_a_file_that_is_no_tokenizer_is_told(data: bytes) -> None:
    with pytest.raises(BundleError, match="tokenizer's file"):
        TextReader(data, [IDS])


def test_a_file_over_which_the_library_panics_is_told_too() -> None:
    document = json.loads(byte_level())
    document["model"]["continuing_subword_prefix"] = "a prefix longer than any token"
    with pytest.raises(BundleError, match="out of range for slice"):
        TextReader(json.dumps(document).encode(), [IDS])


def test_a_pattern_of_the_file_that_would_take_for_ever_ends_in_a_refusal() -> None:
    made = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("^(a+)+$"), "isolated")
    with pytest.raises(InvalidInput, match=r"cannot read it: .*retry-limit"):
        TextReader(made.to_str().encode(), [IDS]).read("a" * 60 + "c", field="f")


def test_some_input_must_take_the_ids() -> None:
    with pytest.raises(BundleError, match="No input takes the ids"):
        TextReader(word_piece(), [SEGMENTS])


@pytest.mark.parametrize("text", ["a" * MAX_TEXT_CHARS, "😀" * MAX_TEXT_CHARS, "good " * (MAX_TEXT_CHARS // 5)])
@pytest.mark.parametrize("reader", [WORDS, BYTES])
def test_the_longest_text_is_read_or_refused_within_seconds(reader: TextReader, text: str) -> None:
    started = time.monotonic()
    with contextlib.suppress(InvalidInput, InvalidShape):
        reader.read(text, field="f")
    assert time.monotonic() - started < 5


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_slices_by_offsets_put_the_text_together_again(text: str) -> None:
    """Of bytes nothing is lost: tokens cover every character, in order, and words are whole."""
    try:
        _, found = read(BYTES, text)
    except InvalidInput:
        assert text == "" or any("\ud800" <= c <= "\udfff" for c in text)
        return
    covered = sorted({(token.start, token.end) for token in found.tokens})
    joined = ""
    for start, end in covered:
        joined += text[max(start, len(joined)) : end]
    assert joined == text
    words = [token.word for token in found.tokens]
    assert words == sorted(words, key=int)  # type: ignore[arg-type]
    assert set(words) == set(range(len(set(words))))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["hello", "worldly", "good", "zzz", ",", "!"]), min_size=1, max_size=5))
def test_words_are_reassembled_from_their_pieces(words: list[str]) -> None:
    text = " ".join(words)
    _, found = read(WORDS, text)
    spans: dict[int, tuple[int, int]] = {}
    for token in found.tokens:
        if token.word is not None:
            start, _ = spans.get(token.word, (token.start, 0))
            spans[token.word] = (start, token.end)
    assert [text[start:end] for start, end in spans.values()] == words


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=40))
def test_no_text_raises_anything_but_stated_errors(text: str, pair: str) -> None:
    for value in (text, {"text": text, "pair": pair}):
        for reader in (WORDS, BYTES):
            try:
                _, found = read(reader, value)
            except (InvalidInput, InvalidShape):
                continue
            assert all(0 <= token.start <= token.end <= len(found.texts[token.segment]) for token in found.tokens)


def growing(*steps: normalizers.Normalizer) -> bytes:
    made = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    made.normalizer = normalizers.Sequence(list(steps))
    return made.to_str().encode()


def test_a_file_that_would_fill_the_memory_is_refused_before_it_sees_a_text() -> None:
    doubling = [normalizers.Replace("a", "aa")] * 20
    with pytest.raises(BundleError, match=f"more than {MOST_GROWTH} times longer"):
        TextReader(growing(*doubling), [IDS])
    with pytest.raises(BundleError, match=f"at most {MOST_STEPS}"):
        TextReader(growing(*[normalizers.Strip()] * 100), [IDS])
    with pytest.raises(BundleError, match=f"has {MAX_TOKENIZER_BYTES + 1} bytes"):
        TextReader(b" " * (MAX_TOKENIZER_BYTES + 1), [IDS])


def test_the_more_a_file_makes_of_a_text_the_shorter_it_must_be() -> None:
    reader = TextReader(growing(*[normalizers.Replace("b", "bb")] * 10), [IDS])
    most = MAX_GROWN_CHARS // 2**10
    assert read(reader, "b" * most)[0][Part.IDS] == [0]
    with pytest.raises(InvalidInput, match=f"has {most + 1} characters; at most {most} are read"):
        reader.read("b" * (most + 1), field="f")
