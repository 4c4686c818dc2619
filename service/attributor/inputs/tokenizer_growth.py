"""How far a tokenizer's file can make a text grow before its tokens are looked up, and what no such file may hold.

A file of a few hundred bytes can double a text in each of a hundred steps, and it may come with a model that nobody
trusts. The steps are read as the library holds them. Knows nothing of models, and never sees a text.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any
from unicodedata import normalize

from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from attributor.errors import BundleError

#: Of a tokenizer.json. Ours: twice those of the largest vocabularies in use (a quarter of a million tokens, 33 MB).
MAX_TOKENIZER_BYTES = 64_000_000
#: Times that a text may become longer. Ours: above what the longest usual chain is counted as, 1,296 (NFKD, lower case,
#: SentencePiece's table, its spaces), and so that a text of a thousand characters is read by whatever is taken.
MOST_GROWTH = 2_000
#: Ours: usual files have up to a dozen (ALBERT); each is a pass over the text.
MOST_STEPS = 32
#: Special tokens around a text. Ours: usual are two or three.
MOST_SPECIAL = 64
#: The library's own default, and BERT's: the time for a word grows with the third power of it.
MOST_WORD_CHARS = 100

#: Code points that one becomes at most: UAX #15 (Unicode normalization forms), maximum expansion factors of UTF-32.
_CANONICAL, _COMPATIBLE = 4, 18
#: The same of "İ" in lower case (Unicode, SpecialCasing.txt).
_LOWER = 2
#: UTF-8 has up to four bytes a character, and each becomes one.
_BYTES = 4

#: However often they come, they take a text apart once: what has been taken apart stays so, or is put together again.
_TAKING_APART: Mapping[str, tuple[int, int]] = {
    "NFC": (_CANONICAL, 1),
    "NFD": (_CANONICAL, 1),
    "NFKC": (_COMPATIBLE, 1),
    "NFKD": (_COMPATIBLE, 1),
    "Lowercase": (1, _LOWER),
    "BertNormalizer": (_CANONICAL, _LOWER),
}
#: By type, how many times longer a step makes a text that is taken apart already. Those with texts of their own are
#: counted by them: Prepend, Replace, Precompiled.
_NORMALIZERS: Mapping[str, int] = {
    **dict.fromkeys(("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "Strip", "StripAccents"), 1),
    "BertNormalizer": 3,  # spaces around a Chinese character
    "ByteLevel": _BYTES * 3,  # one of the characters for bytes is a fraction, of three characters
}
_PRE_TOKENIZERS: Mapping[str, int] = {
    **dict.fromkeys(("BertPreTokenizer", "CharDelimiterSplit", "Digits", "FixedLength", "Punctuation"), 1),
    **dict.fromkeys(("Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit"), 1),
    "ByteLevel": _BYTES + 1,  # and a space in front
    "Metaspace": 2,
}

#: One character or class of them, with how often it must be there: the patterns of which we know that they never match
#: nothing.
_SOME = re.compile(r"(?:[^\\\[\](){}.*+?^$|]|\\[sSdDwW]|\[[^\[\]\\]+\])(?:\+|\{(?P<least>[1-9]\d{0,5}),?\})?")


def require_bounded(tokenizer: Tokenizer) -> int:
    """How many times longer than a text what its tokens are looked up in can be, at most.

    Raises BundleError for steps that make it more than MOST_GROWTH, or of a kind whose growth is not known.
    """
    normalizers, splits = (
        _steps(tokenizer.normalizer, "normalizers"),
        _steps(tokenizer.pre_tokenizer, "pretokenizers"),
    )
    steps = [*normalizers, *splits]
    if len(steps) > MOST_STEPS:
        raise BundleError(f"The tokenizer has {len(steps)} steps before its tokens; at most {MOST_STEPS} are taken.")
    growth = _taken_apart(normalizers) * prod(map(_of_normalizing, normalizers))
    growth *= prod(_known(_PRE_TOKENIZERS, step["type"]) for step in splits)
    if growth > MOST_GROWTH:
        detail = f"The tokenizer's steps can make a text more than {MOST_GROWTH} times longer"
        raise BundleError(f"{detail}; they are {', '.join(step['type'] for step in steps)}.")
    _require_few_special(_steps(tokenizer.post_processor, "processors"))
    model = tokenizer.model
    if isinstance(model, WordPiece) and model.max_input_chars_per_word > MOST_WORD_CHARS:
        detail = f"The tokenizer cuts words of {model.max_input_chars_per_word} characters"
        raise BundleError(f"{detail}; max_input_chars_per_word must be at most {MOST_WORD_CHARS}.")
    return growth


def _steps(part: Any, several: str) -> list[Mapping[str, Any]]:
    """A part of the tokenizer as the library holds it, without the sequences that it is nested in."""
    return [] if part is None else list(_unfolded(json.loads(part.__getstate__()), several))


def _unfolded(step: Mapping[str, Any], several: str) -> Iterator[Mapping[str, Any]]:
    if step["type"] != "Sequence":
        yield step
        return
    for each in step[several]:
        yield from _unfolded(each, several)


def _taken_apart(steps: Sequence[Mapping[str, Any]]) -> int:
    factors = [_TAKING_APART[step["type"]] for step in steps if step["type"] in _TAKING_APART]
    return max((form for form, _ in factors), default=1) * max((case for _, case in factors), default=1)


def _of_normalizing(step: Mapping[str, Any]) -> int:
    kind = step["type"]
    if kind == "Prepend":  # to each part between tokens that the file adds, and that may be every character
        return 1 + _length(step["prepend"])
    if kind == "Replace":
        return _of_replacing(step["pattern"], _length(step["content"]))
    if kind == "Precompiled":
        return _of_table(base64.b64decode(step["precompiled_charsmap"]))
    return _known(_NORMALIZERS, kind)


def _known(factors: Mapping[str, int], kind: str) -> int:
    if kind not in factors:
        raise BundleError(f"The tokenizer has a step {kind!r}, of which we do not know how long it makes a text.")
    return factors[kind]


def _length(text: str) -> int:
    """In characters, however far steps that follow take it apart."""
    return max(len(text), *(len(normalize("NFKD", each)) for each in (text, text.lower())))


def _of_replacing(pattern: Mapping[str, str], length: int) -> int:
    """A match of n characters becomes `length`; one of none is inserted beside each character."""
    least = len(pattern.get("String", ""))
    if "Regex" in pattern and (known := _SOME.fullmatch(pattern["Regex"])):
        least = int(known["least"] or 1)
    return max(1, -(-length // least)) if least else 1 + length


def _of_table(table: bytes) -> int:
    """Of SentencePiece's table: the size of a trie, 4 bytes, little endian; the trie; what it leads to, each ended by a
    zero byte."""
    texts = table[4 + int.from_bytes(table[:4], "little") :]
    return max(1, *(_length(text.decode(errors="replace")) for text in texts.split(b"\0")))


def _require_few_special(steps: Sequence[Mapping[str, Any]]) -> None:
    """Templates put special tokens around each text, once."""
    for step in steps:
        if step["type"] != "TemplateProcessing":
            continue
        ids = {name: len(token["ids"]) for name, token in step["special_tokens"].items()}
        for form in ("single", "pair"):
            pieces = step[form]
            texts = [piece["Sequence"]["id"] for piece in pieces if "Sequence" in piece]
            special = sum(ids[piece["SpecialToken"]["id"]] for piece in pieces if "SpecialToken" in piece)
            if len(set(texts)) < len(texts) or special > MOST_SPECIAL:
                detail = f"The tokenizer's template repeats a text, or has more than {MOST_SPECIAL} special tokens"
                raise BundleError(f"{detail} ({form}).")
    if len(steps) > MOST_STEPS:
        raise BundleError(f"The tokenizer has {len(steps)} steps behind its tokens; at most {MOST_STEPS} are taken.")
