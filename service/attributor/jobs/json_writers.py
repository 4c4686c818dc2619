"""Frozen values to JSON values, fast: per type, what must be done to which field is found out once for each
combination of the fields' types, and reused.

A dataclass is the list of its fields. What orjson writes as it is (enums, tuples, text) is passed through. What JSON is
slow or wordy for is put aside, and stands as its number there. Knows no message.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter, itemgetter
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
import orjson
from numpy.typing import NDArray

#: Boolean, signed, unsigned and floating numbers: the kinds of numpy whose bytes mean the same everywhere.
TENSOR_KINDS = "biuf"

#: Repeated parts kept, per group of fields. Ours: a few kilobytes each, and more than there are questions at a time.
_MOST = 256
#: What orjson writes as it stands.
_PLAIN = frozenset({str, int, bool, NoneType})
_PASSED = frozenset({float, *_PLAIN})


class Aside:
    """What goes beside the JSON: tensors, runs of numbers, and parts that come again in other messages.

    What a value holds twice, the very same object, stands here once, and is one object again for who reads it.
    """

    __slots__ = ("_known", "arrays", "numbers", "parts", "runs")

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self.runs: list[Sequence[float]] = []
        #: Those that stand in the JSON, which has no form for infinite ones: to be looked at all at once.
        self.numbers: list[float] = []
        self.parts: dict[bytes, int] = {}
        # By identity, beside the object, so that no other has its id.
        self._known: dict[int, tuple[int, object]] = {}

    def array(self, value: NDArray[Any]) -> int:
        """Its number. Raises ValueError for a tensor of what has no bytes of its own."""
        known = self._known.get(id(value))
        if known is not None:
            return known[0]
        place = len(self.arrays)
        self._known[id(value)] = place, value
        dtype = _little(value.dtype)
        as_is = dtype == value.dtype and value.flags.c_contiguous
        self.arrays.append(value if as_is else value.astype(dtype, order="C"))
        return place

    def run(self, numbers: tuple[float, ...]) -> int:
        """Its number."""
        known = self._known.get(id(numbers))
        if known is not None:
            return known[0]
        place = len(self.runs)
        self._known[id(numbers)] = place, numbers
        self.runs.append(numbers)
        return place

    def part(self, packed: bytes) -> int:
        """Its number; equal ones have the same."""
        return self.parts.setdefault(packed, len(self.parts))


_Write = Callable[[Any, Aside], Any]


class _Plan(NamedTuple):
    """What to do with fields of certain types: what takes the floats, the writers of what is not written as it stands,
    with its places, and how many are written (None: all)."""

    floats_of: Callable[[Any], Any] | None
    others: list[tuple[int, _Write]]
    end: int | None


def dumped(value: Any) -> bytes:
    """JSON. Raises ValueError for what it cannot say, such as half of a surrogate pair; orjson raises TypeError."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"this cannot be stored: {error}") from error


class Writers:
    """`repeated`: by type, groups of fields whose values come again together in message after message. Each group is
    written as one part, made by `packed` of its JSON and what is aside (None: it is too long), so that who has written
    or read that part before has it already. Groups come first, in their order."""

    def __init__(
        self,
        repeated: Mapping[type, tuple[tuple[str, ...], ...]],
        packed: Callable[[Any, Aside], bytes | None],
    ) -> None:
        self._repeated = repeated
        self._packed = packed
        self._by_type: dict[type, _Write] = {}

    def write(self, value: Any, aside: Aside) -> Any:
        """What orjson writes for `value`. Raises ValueError for what cannot be stored."""
        return self._of(type(value))(value, aside)

    def _of(self, kind: type) -> _Write:
        writer = self._by_type.get(kind)
        if writer is None:
            writer = self._by_type[kind] = self._writer(kind)
        return writer

    def _writer(self, kind: type) -> _Write:
        if issubclass(kind, Enum) or kind in _PLAIN:
            return lambda value, _: value
        if is_dataclass(kind):
            return self._of_dataclass(kind)
        for base, writer in (
            (np.ndarray, lambda value, aside: aside.array(value)),
            (Mapping, self._mapping),
            (tuple, self._tuple),
            (float, _number),
            (bool | int | str, lambda value, _: value),
        ):
            if issubclass(kind, base):
                return writer
        raise ValueError(f"a {kind.__name__} cannot be stored")

    def _of_dataclass(self, kind: Any) -> _Write:
        groups = self._repeated.get(kind, ())
        grouped = {name for group in groups for name in group}
        write = self._of_fields(kind, [field.name for field in fields(kind) if field.name not in grouped])
        if not groups:
            return write
        parts = [self._part(kind, group) for group in groups]
        return lambda value, aside: [*[part(value, aside) for part in parts], *write(value, aside)]

    def _part(self, kind: Any, names: Sequence[str]) -> _Write:
        values_of, write = _values_of(names), self._of_fields(kind, names)
        known: dict[tuple[int, ...], tuple[Any, bytes]] = {}

        def part(value: Any, aside: Aside) -> Any:
            values = values_of(value)
            key = tuple(map(id, values))
            found = known.get(key)
            if found is None:
                own = Aside()
                packed = self._packed(write(value, own), own)
                if packed is None:
                    return write(value, aside)
                if len(known) >= _MOST:
                    known.clear()
                # The objects are kept beside their part, so that no others have their ids.
                found = known[key] = values, packed
            return aside.part(found[1])

        return part

    def _of_fields(self, kind: Any, names: Sequence[str]) -> _Write:
        """Writes the values of these fields as a list; Nones at its end that are what a reader takes for what is not
        there are left out."""
        values_of, hints = _values_of(names), get_type_hints(kind)
        default = {field.name: field.default for field in fields(kind)}
        plans: dict[tuple[type, ...], _Plan] = {}

        def planned(kinds: tuple[type, ...]) -> _Plan:
            floats = [i for i, each in enumerate(kinds) if each is float]
            others = [i for i, each in enumerate(kinds) if not (each in _PASSED or issubclass(each, Enum))]
            end = len(kinds)
            while end and kinds[end - 1] is NoneType and default[names[end - 1]] is None:
                end -= 1
            return _Plan(
                # Twice the first: itemgetter makes no tuple of one.
                itemgetter(floats[0], *floats) if floats else None,
                [(i, self._of_hint(hints[names[i]]) or self._of(kinds[i])) for i in others],
                None if end == len(kinds) else end,
            )

        def write(value: Any, aside: Aside) -> Any:
            items = values_of(value)
            kinds = tuple(map(type, items))
            plan = plans.get(kinds)
            if plan is None:
                plan = plans[kinds] = planned(kinds)
            floats_of, others, end = plan
            if floats_of is not None:
                aside.numbers += floats_of(items)
            if not others:
                return items[:end]
            written = list(items[:end])
            for i, writer in others:
                written[i] = writer(items[i], aside)
            return written

        return write

    def _of_hint(self, hint: Any) -> _Write | None:
        """What needs no look at each item, where the annotation says of what kind all of them are."""
        if hint in _HINTED:
            return _HINTED[hint]
        if get_origin(hint) is not tuple:
            return None
        item = get_args(hint)[0]
        write = self.write if is_dataclass(item) else self._of_hint(item)
        return write and (lambda value, aside: [write(each, aside) for each in value])

    def _mapping(self, value: Any, aside: Aside) -> Any:
        return {name: self.write(item, aside) for name, item in value.items()}

    def _tuple(self, value: Any, aside: Aside) -> Any:
        kinds = set(map(type, value))
        if kinds <= _PLAIN:
            return value
        if kinds == {float}:
            return aside.run(value)
        return [self.write(item, aside) for item in value]


def _run(value: Any, aside: Aside) -> Any:
    return aside.run(value)


def _run_with_gaps(value: Any, aside: Aside) -> Any:
    if None not in value:
        return aside.run(value)
    gaps = [i for i, number in enumerate(value) if number is None]
    return {"run": aside.run(tuple([number for number in value if number is not None])), "none": gaps}


def _tensors(value: Any, aside: Aside) -> Any:
    return {name: aside.array(each) for name, each in value.items()}


def _as_it_stands(value: Any, _: Aside) -> Any:
    return value


#: orjson refuses most of what does not belong in these, readers the rest.
_HINTED: dict[Any, _Write] = {
    tuple[int, ...]: _as_it_stands,
    tuple[str, ...]: _as_it_stands,
    tuple[float, ...]: _run,
    tuple[float | None, ...]: _run_with_gaps,
    Mapping[str, NDArray[Any]]: _tensors,
}


def _values_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*names) if len(names) > 1 else lambda value: tuple([getattr(value, name) for name in names])


def require_finite(numbers: Any) -> None:
    """The sum of finite numbers is finite, or overflows: only then each is looked at."""
    if math.isfinite(sum(numbers)):
        return
    for number in numbers:
        if not math.isfinite(number):
            raise ValueError(f"{number} cannot be stored: only tensors may hold NaN or infinity")


def _number(value: Any, aside: Aside) -> float:
    """numpy's float64 is a float that orjson does not take."""
    aside.numbers.append(float(value))
    return float(value)


@cache
def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in TENSOR_KINDS:
        raise ValueError(f"a tensor of {dtype} cannot be stored")
    return dtype.newbyteorder("<")
