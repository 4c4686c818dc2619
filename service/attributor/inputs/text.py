"""A text, or a pair of texts, to token ids, mask and segments, by the bundle's own tokenizer file.

The file's own truncation and padding are off: a text is explained whole or refused, and what is filled up is what the
manifest says. Knows nothing of networks, and never loads a tokenizer by a name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from attributor.errors import BundleError, InvalidInput, InvalidShape
from attributor.inputs.tokenizer_growth import MAX_TOKENIZER_BYTES, require_bounded
from attributor.inputs.tokenizer_patterns import most_chars
from attributor.inputs.tokens import padded
from attributor.jobs.given import GivenText, Token
from attributor.jobs.model import InputSpec, Part

#: Of each text, in code points. Ours: a dozen for each of 8192 tokens; the slowest tokenizer measured takes 0.2 s.
MAX_TEXT_CHARS = 100_000
#: Of each text, as long as the tokenizer can make it. Ours: as many for BERT's, which is counted as 24 times longer;
#: measured, 8 s and 0.6 GB at worst.
MAX_GROWN_CHARS = 2_400_000

_FORM = 'must be a text, or a pair of them: {"text": "...", "pair": "..."}'


class TextReader:
    """SourceReader over the bytes of a `tokenizer.json`, for the inputs that are made from one source.

    Raises BundleError if the bytes are no tokenizer, or one that can make a short text very long, or none of the inputs
    takes the ids.
    """

    def __init__(self, tokenizer: bytes, specs: Sequence[InputSpec]) -> None:
        if len(tokenizer) > MAX_TOKENIZER_BYTES:
            detail = f"The tokenizer's file has {len(tokenizer)} bytes; at most {MAX_TOKENIZER_BYTES} are read."
            raise BundleError(detail)
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer)
        except BaseException as error:
            detail = f"The tokenizer's file is not one of the library `tokenizers`: {_reason(error)}."
            raise BundleError(detail) from None
        bounded = min(MAX_TEXT_CHARS, MAX_GROWN_CHARS // require_bounded(self._tokenizer))
        self._most_chars = most_chars(self._tokenizer, bounded)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        by_part = {spec.part: spec for spec in specs}
        if Part.IDS not in by_part:
            raise BundleError("No input takes the ids of the text's tokens.")
        self._ids, self._segments = by_part[Part.IDS], by_part.get(Part.SEGMENTS)

    def read(self, value: object, *, field: str) -> tuple[Mapping[Part, NDArray[Any]], GivenText]:
        """IDS, MASK and SEGMENTS, int64, shape (positions,): as many as there are tokens where the ids' length is
        variable, else filled up behind them.

        Raises InvalidInput for what is no text, has no token, or a token that the model does not know; InvalidShape for
        another number of tokens than the model takes.
        """
        texts = _texts(value, self._most_chars, field)
        encoding = self._encoded(texts, field)
        _require_content(texts, encoding)
        self._require_length(len(encoding), field)
        tokens = _tokens(encoding)
        self._require_known(encoding, tokens, field)
        ids, segments = (np.array(numbers, dtype=np.int64) for numbers in (encoding.ids, encoding.type_ids))
        mask = np.ones_like(ids)
        if not self._ids.variable:
            positions = self._ids.shape[0]
            ids = padded(ids, positions, self._ids.pad_id or 0)
            mask, segments = padded(mask, positions, 0), padded(segments, positions, 0)
        return {Part.IDS: ids, Part.MASK: mask, Part.SEGMENTS: segments}, GivenText(tuple(texts.values()), tokens)

    def _encoded(self, texts: Mapping[str, str], field: str) -> Encoding:
        first, *second = texts.values()
        try:
            return self._tokenizer.encode(first, second[0] if second else None)
        except BaseException as error:
            raise InvalidInput(f"the model's tokenizer cannot read it: {_reason(error)}", field=field) from None

    def _require_length(self, count: int, field: str) -> None:
        positions = self._ids.shape[0]
        fills = self._ids.variable or self._ids.pad_id is not None
        if count > positions or (count < positions and not fills):
            taken = f"at most {positions}" if fills else f"exactly {positions}, and has no padding"
            raise InvalidShape(f"has {count} tokens, special ones counted; the model takes {taken}", field=field)

    def _require_known(self, encoding: Encoding, tokens: Sequence[Token], field: str) -> None:
        """Ids and segments beyond the model's tables: its tokenizer is another than the one it was trained with."""
        for token, number, segment in zip(tokens, encoding.ids, encoding.type_ids, strict=True):
            if number >= (self._ids.vocabulary or 0):
                detail = f"the token {token.text!r} has the id {number}; the model knows those below "
                raise InvalidInput(f"{detail}{self._ids.vocabulary}", field=field)
            known = None if self._segments is None else self._segments.vocabulary
            if known is not None and segment >= known:
                raise InvalidInput(f"the model takes {known} segments, so no text has a second of its own", field=field)


def _reason(error: BaseException) -> str:
    """The library's words. It raises plain Exceptions, and, where its Rust code panics over a file that is not what it
    seems, a BaseException that cannot be imported. Whatever else is no Exception is raised again."""
    if isinstance(error, Exception) or type(error).__name__ == "PanicException":
        return str(error)
    raise error


def _texts(value: object, most_chars: int, field: str) -> dict[str, str]:
    """The one or two texts, by what an error's field ends with."""
    texts: dict[str, object] = {field: value}
    if isinstance(value, Mapping):
        if set(value) != {"text", "pair"}:
            raise InvalidInput(_FORM, field=field)
        texts = {f"{field}.{key}": value[key] for key in ("text", "pair")}
    return {place: _text(text, most_chars, place) for place, text in texts.items()}


def _text(value: object, most_chars: int, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(_FORM, field=field)
    if len(value) > most_chars:
        detail = f"has {len(value)} characters; at most {most_chars} are read"
        raise InvalidInput(detail, field=field)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        detail = f"holds half of a surrogate pair at character {error.start}, which is no character of Unicode"
        raise InvalidInput(detail, field=field) from None
    return value


def _tokens(encoding: Encoding) -> tuple[Token, ...]:
    """All tokens; a special one belongs to the text whose tokens it follows."""
    found: list[Token] = []
    segment = 0
    for text, (start, end), sequence, word in zip(
        encoding.tokens, encoding.offsets, encoding.sequence_ids, encoding.word_ids, strict=True
    ):
        if sequence is None:
            found.append(Token(text, 0, 0, segment, None))
        else:
            segment = sequence
            found.append(Token(text, start, end, segment, word))
    return tuple(found)


def _require_content(texts: Mapping[str, str], encoding: Encoding) -> None:
    read = set(encoding.sequence_ids)
    for number, place in enumerate(texts):
        if number not in read:
            raise InvalidInput("is empty: the model's tokenizer makes no token of it", field=place)
