"""Frozen values to JSON values, fast: per type, what must be done to which field is found out once for each
combination of the fields' types, and reused.

What orjson writes as it is (dataclasses of plain fields, enums, tuples, text) is passed through. Knows no message:
arrays are put aside, and stand as their index.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from attributor.jobs.once import once

#: Boolean, signed, unsigned and floating numbers: the kinds of numpy whose bytes mean the same everywhere.
TENSOR_KINDS = "biuf"

_Arrays = list[NDArray[Any]]
_Write = Callable[[Any, _Arrays], Any]
#: What orjson writes as it stands.
_PLAIN = frozenset({str, int, bool, NoneType})


def dumped(value: Any) -> bytes:
    """JSON. Raises ValueError for what it cannot say, such as half of a surrogate pair; orjson raises TypeError."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"this cannot be stored: {error}") from error


class Writers:
    """`repeated`: the types whose values come again in message after message. They are written as a text, made by
    `packed` of what orjson writes and of the arrays in it (None: it is too long), so that a reader who has seen that
    text has its value already."""

    def __init__(self, repeated: frozenset[type], packed: Callable[[Any, _Arrays], str | None]) -> None:
        self._repeated = repeated
        self._packed = packed
        self._by_type: dict[type, _Write] = {}

    def write(self, value: Any, arrays: _Arrays) -> Any:
        """What orjson writes for `value`. Raises ValueError for what cannot be stored."""
        kind = type(value)
        writer = self._by_type.get(kind)
        if writer is None:
            writer = self._by_type[kind] = self._writer(kind)
        return writer(value, arrays)

    def _writer(self, kind: type) -> _Write:
        if kind in self._repeated:
            return self._as_text(kind)
        if issubclass(kind, Enum) or kind in _PLAIN:
            return lambda value, _: value
        if is_dataclass(kind):
            return self._of_dataclass(kind)
        for base, writer in (
            (np.ndarray, _array),
            (Mapping, self._mapping),
            (tuple, self._tuple),
            (float, _number),
            (bool | int | str, lambda value, _: value),
        ):
            if issubclass(kind, base):
                return writer
        raise ValueError(f"a {kind.__name__} cannot be stored")

    def _as_text(self, kind: Any) -> _Write:
        write = self._of_dataclass(kind)

        def packed(value: Any) -> str | None:
            arrays: _Arrays = []
            return self._packed(write(value, arrays), arrays)

        text = once(packed)
        return lambda value, arrays: text(value) or write(value, arrays)

    def _of_dataclass(self, kind: Any) -> _Write:
        names = tuple(field.name for field in fields(kind))
        values_of = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)

        @cache
        def plan(*kinds: type) -> tuple[tuple[int, ...], tuple[int, ...]]:
            """The places of floats, and of what must be written by a writer of its own."""
            floats = tuple(i for i, each in enumerate(kinds) if each is float)
            passed = {float, *_PLAIN}
            return floats, tuple(i for i, each in enumerate(kinds) if not (each in passed or issubclass(each, Enum)))

        def write(value: Any, arrays: _Arrays) -> Any:
            items = values_of(value)
            floats, others = plan(*map(type, items))
            if floats:
                _require_finite([items[i] for i in floats])
            if not others:
                return value
            written = list(items)
            for i in others:
                written[i] = self.write(items[i], arrays)
            return dict(zip(names, written, strict=True))

        return write

    def _mapping(self, value: Any, arrays: _Arrays) -> Any:
        return {name: self.write(item, arrays) for name, item in value.items()}

    def _tuple(self, value: Any, arrays: _Arrays) -> Any:
        kinds = set(map(type, value))
        if kinds <= _PLAIN:
            return value
        if kinds == {float}:
            _require_finite(value)
            return value
        return [self.write(item, arrays) for item in value]


def _require_finite(numbers: Any) -> None:
    """The sum of finite numbers is finite, or overflows: only then each is looked at."""
    if math.isfinite(sum(numbers)):
        return
    for number in numbers:
        if not math.isfinite(number):
            raise ValueError(f"{number} cannot be stored: only tensors may hold NaN or infinity")


def _number(value: Any, _: _Arrays) -> float:
    """numpy's float64 is a float that orjson does not take."""
    _require_finite((value,))
    return float(value)


@cache
def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in TENSOR_KINDS:
        raise ValueError(f"a tensor of {dtype} cannot be stored")
    return dtype.newbyteorder("<")


def _array(value: Any, arrays: _Arrays) -> int:
    arrays.append(value.astype(_little(value.dtype), order="C", copy=False))
    return len(arrays) - 1
