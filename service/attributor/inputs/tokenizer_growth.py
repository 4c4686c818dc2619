"""How far a tokenizer's file can make a text grow before its tokens are looked up, and what no such file may hold.

A file of a few hundred bytes can double a text in each of a hundred steps, and it may come with a model that nobody
trusts. The steps are read as the library holds them. Knows nothing of models, and never sees a text.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import prod
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from attributor.errors import BundleError

#: Of a tokenizer.json. Ours: twice those of the largest vocabularies in use (a quarter of a million tokens, 33 MB).
MAX_TOKENIZER_BYTES = 64_000_000
#: Times that a text may become longer. Ours: three times what the longest usual chain is counted as, 648 (NFKD, lower
#: case, SentencePiece's table), so that a text of a thousand characters is read by whatever is taken.
MOST_GROWTH = 2_000
#: Ours: usual files have up to eight; each is a pass over the text.
MOST_STEPS = 32
#: Special tokens around a text. Ours: usual are two or three.
MOST_SPECIAL = 64
#: The library's own default, and BERT's: the time for a word grows with the third power of it.
MOST_WORD_CHARS = 100

#: Code points that one becomes at most: UAX #15 (Unicode normalization forms), maximum expansion factors of UTF-32.
_CANONICAL, _COMPATIBLE = 4, 18
#: The same of "İ" in lower case (Unicode, SpecialCasing.txt).
_LOWER = 2
#: UTF-8 has up to four bytes, each of which becomes a character, and a space may go in front.
_BYTES = 4
#: An accented letter in parts and in lower case; spaces around a Chinese character are fewer.
_BERT = _CANONICAL * _LOWER

#: By type of a step, what one character becomes at most. Steps with a text of their own are below.
_FACTORS: Mapping[str, int] = {
    "NFC": _CANONICAL,
    "NFD": _CANONICAL,
    "NFKC": _COMPATIBLE,
    "NFKD": _COMPATIBLE,
    "Lowercase": _LOWER,
    "BertNormalizer": _BERT,
    "ByteLevel": _BYTES + 1,
    "Metaspace": 2,
    **dict.fromkeys(("Strip", "StripAccents", "Nmt", "BertPreTokenizer", "CharDelimiterSplit", "Digits"), 1),
    **dict.fromkeys(("FixedLength", "Punctuation", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit"), 1),
}
_FORMS = frozenset({"NFC", "NFD", "NFKC", "NFKD"})

#: One character or class of them, with how often it must be there: the patterns of which we know that they never match
#: nothing.
_SOME = re.compile(r"(?:[^\\\[\](){}.*+?^$|]|\\[sSdDwW]|\[[^\[\]\\]+\])(?:\+|\{(?P<least>[1-9]\d{0,5}),?\})?")


def require_bounded(tokenizer: Tokenizer) -> int:
    """How many times longer than a text what its tokens are looked up in can be, at most.

    Raises BundleError for steps that make it more than MOST_GROWTH, or of a kind whose growth is not known.
    """
    steps = [*_steps(tokenizer.normalizer, "normalizers"), *_steps(tokenizer.pre_tokenizer, "pretokenizers")]
    if len(steps) > MOST_STEPS:
        raise BundleError(f"The tokenizer has {len(steps)} steps before its tokens; at most {MOST_STEPS} are taken.")
    growth = prod(_growth(list(run)) for _, run in groupby(steps, key=lambda step: step["type"] in _FORMS))
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


def _growth(run: Sequence[Mapping[str, Any]]) -> int:
    """Of normal forms one after another, which have nothing left to take apart, and of other steps."""
    if run[0]["type"] in _FORMS:
        return max(_FACTORS[step["type"]] for step in run)
    return prod(_factor(step) for step in run)


def _factor(step: Mapping[str, Any]) -> int:
    kind = step["type"]
    if kind == "Prepend":  # to each part between tokens that the file adds, and that may be every character
        return 1 + len(step["prepend"])
    if kind == "Replace":
        return _of_replacing(step["pattern"], len(step["content"]))
    if kind == "Precompiled":
        return _of_table(base64.b64decode(step["precompiled_charsmap"]))
    if kind not in _FACTORS:
        raise BundleError(f"The tokenizer has a step {kind!r}, of which we do not know how long it makes a text.")
    return _FACTORS[kind]


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
    return max(1, *(len(text.decode(errors="replace")) for text in texts.split(b"\0")))


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
