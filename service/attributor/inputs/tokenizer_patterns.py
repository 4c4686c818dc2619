"""How long a text may be before a tokenizer's patterns take too long over it.

The library bounds the search for one match, not for all places of a text, so a pattern can take the third power of its
length: "a*a*c|." takes 4 s over 2,000 characters. Which patterns do is not decidable here; so those in wide use are
known by name, simple ones are bounded by what they can cost, and all others apply to short texts only.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

#: A pattern with one repetition costs the square of the length at most; one with several about the cube. Ours: half a
#: second at worst, measured with patterns made for it.
MOST_CHARS_SIMPLE, MOST_CHARS_UNKNOWN = 10_000, 1_000

#: Without a limit of their own; each was tried on 100,000 characters of one kind and of mixed ones.
KNOWN = frozenset(
    {
        # GPT-2, and what followed it
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        # cl100k, Llama 3
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        r"\s*[\r\n]+|\s+(?!\S)|\s+",
        # Qwen 2
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        r"\s*[\r\n]+|\s+(?!\S)|\s+",
        # T5, ALBERT: several spaces are one
        " {2,}",
    }
)
#: Repetitions without a bound.
_REPEATS = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\})")


def most_chars(tokenizer: Tokenizer, otherwise: int) -> int:
    """The longest text that this tokenizer's patterns may be applied to, at most `otherwise`."""
    patterns = set(_patterns(json.loads(tokenizer.to_str()))) - KNOWN
    repeats = max((len(_REPEATS.findall(pattern)) for pattern in patterns), default=0)
    if repeats == 0:
        return otherwise
    return min(otherwise, MOST_CHARS_SIMPLE if repeats == 1 else MOST_CHARS_UNKNOWN)


def _patterns(document: dict[str, Any]) -> Iterator[str]:
    """Every regular expression of the steps before and behind the model, however deep; not in the vocabulary."""
    waiting: list[Any] = [document.get(key) for key in ("normalizer", "pre_tokenizer", "post_processor")]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            if isinstance(part.get("Regex"), str):
                yield part["Regex"]
            waiting.extend(part.values())
