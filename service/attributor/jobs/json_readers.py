"""JSON values to frozen values, fast: per annotation a function, made once, that reads what has that type.

The fields of a message's dataclasses have the same few combinations of types over and over: each is checked once and
remembered. Knows no message: what `json_writers` put aside is given, and stands as its number there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache, lru_cache
from itertools import repeat
from operator import call
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

#: Repeated parts kept, per group of fields. Ours: some hundred models' inputs, a few kilobytes each, or all outputs of
#: most models.
_MOST_PARTS = 256

_SCALARS = (str, int, bool, float)


class Beside(NamedTuple):
    """What goes beside the JSON."""

    arrays: list[NDArray[Any]]
    runs: list[tuple[float, ...]]
    parts: list[bytes]


_Read = Callable[[Any, Beside], Any]


class Readers:
    """`repeated`: see `json_writers`; `unpacked` undoes its `packed`. What is in such a part is shared by all who read
    the same one."""

    def __init__(
        self,
        repeated: Mapping[type, tuple[tuple[str, ...], ...]],
        unpacked: Callable[[bytes], tuple[Any, Beside]],
    ) -> None:
        self._repeated = repeated
        self._unpacked = unpacked
        self.reader = cache(self._reader)

    def _reader(self, hint: Any) -> _Read:
        """The function that reads a value of that annotation. It raises ValueError for another type's, and what Python
        raises for a thing that is none of ours at all."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            read = self.reader(_present(hint))
            return lambda value, beside: None if value is None else read(value, beside)
        if origin is tuple:
            return _tuple(arguments[0], self.reader(arguments[0]))
        if origin is Mapping:
            if get_origin(arguments[1]) is np.ndarray:
                return lambda value, beside: {name: beside.arrays[each] for name, each in value.items()}
            item = self.reader(arguments[1])
            return lambda value, beside: {name: item(each, beside) for name, each in value.items()}
        if origin is np.ndarray:
            return lambda value, beside: beside.arrays[value]
        if is_dataclass(hint):
            return self._of_dataclass(hint)
        if issubclass(hint, Enum):
            return _enum(hint)
        return lambda value, _: _scalar(hint, value)

    def _of_dataclass(self, kind: Any) -> _Read:
        groups = self._repeated.get(kind, ())
        names = [field.name for field in fields(kind)]
        grouped = [name for group in groups for name in group]
        rest = [name for name in names if name not in grouped]
        read_rest = self._of_fields(kind, rest)
        if not groups:
            return lambda value, beside: kind(*read_rest(value, beside))
        make = _maker(kind, [*grouped, *rest])
        parts, n = [self._part(kind, group) for group in groups], len(groups)

        def read(value: Any, beside: Beside) -> Any:
            items: list[Any] = []
            for i, part in enumerate(parts):
                items += part(value[i], beside)
            items += read_rest(value[n:], beside)
            return make(items)

        return read

    def _part(self, kind: Any, names: Sequence[str]) -> _Read:
        read = self._of_fields(kind, names)

        @lru_cache(_MOST_PARTS)
        def known(packed: bytes) -> Any:
            return read(*self._unpacked(packed))

        return lambda value, beside: known(beside.parts[value]) if type(value) is int else read(value, beside)

    def _of_fields(self, kind: Any, names: Sequence[str]) -> _Read:
        """Reads the values of these fields, in the list that they are given in."""
        hints = get_type_hints(kind)
        inner = [_present(hints[name]) for name in names]
        may_lack = [hints[name] is not inner[i] for i, name in enumerate(names)]
        scalars = [i for i, hint in enumerate(inner) if hint in _SCALARS]
        nested = [(i, self.reader(hint)) for i, hint in enumerate(inner) if i not in scalars]
        plans: dict[tuple[type, ...], tuple[list[tuple[int, _Read]], list[Any]]] = {}

        def planned(items: list[Any], kinds: tuple[type, ...]) -> tuple[list[tuple[int, _Read]], list[Any]]:
            """The readers of what is there and no scalar, with its places, and what stands for fields that are not
            there; scalars are read or refused."""
            given = len(kinds)
            lacking = _defaults(kind, names, given)
            plan = [(i, read) for i, read in nested if i < given and not (may_lack[i] and kinds[i] is NoneType)]
            own = [i for i in scalars if i < given]
            if all(kinds[i] is inner[i] or (may_lack[i] and kinds[i] is NoneType) for i in own):
                plans[kinds] = plan, lacking
            else:
                for i in own:
                    items[i] = self.reader(hints[names[i]])(items[i], _NOTHING)
            return plan, lacking

        def read(value: Any, beside: Beside) -> list[Any]:
            if type(value) is not list:
                raise ValueError(f"the message holds {value!r:.40} where the fields of a {kind.__name__} belong")
            items: list[Any] = value
            kinds = tuple(map(type, items))
            plan, lacking = plans.get(kinds) or planned(items, kinds)
            for i, reader in plan:
                items[i] = reader(items[i], beside)
            return items + lacking if lacking else items

        return read


_NOTHING = Beside([], [], [])


def _maker(kind: Any, names: Sequence[str]) -> Callable[[list[Any]], Any]:
    """`kind(...)` of the values of its fields, in that order. A frozen dataclass sets its own one by one in Python,
    which for the large ones takes a third of reading them: here the slots are set in one go."""
    setters = [getattr(kind, name).__set__ for name in names]
    new = object.__new__

    def make(items: list[Any]) -> Any:
        made = new(kind)
        any(map(call, setters, repeat(made), items))  # none of them answers anything
        return made

    return make


def _present(hint: Any) -> Any:
    """The annotation of what is there, where None may be."""
    if get_origin(hint) in (Union, UnionType):
        return next(option for option in get_args(hint) if option is not NoneType)
    return hint


def _defaults(kind: Any, names: Sequence[str], given: int) -> list[Any]:
    """Of the last fields: left out, or younger than the message. Shared, as all that never changes."""
    if given > len(names):
        raise ValueError(f"the message gives a {kind.__name__} {given} fields in place of {len(names)}")
    of_kind = {field.name: field for field in fields(kind)}
    lacking = [of_kind[name] for name in names[given:]]
    if missing := [each.name for each in lacking if each.default is MISSING and each.default_factory is MISSING]:
        raise ValueError(f"the message lacks the fields {missing} of a {kind.__name__}")
    return [each.default if each.default_factory is MISSING else each.default_factory() for each in lacking]


def _tuple(hint: Any, read: _Read) -> _Read:
    """Of scalars: looked at all at once."""
    if _present(hint) in _SCALARS:
        of_scalars = _tuple_of_scalars(hint, read)
        return _tuple_of_numbers(hint, of_scalars) if _present(hint) is float else of_scalars
    return lambda value, beside: tuple([read(each, beside) for each in value])


def _tuple_of_scalars(hint: Any, read: _Read) -> _Read:
    usual = {_present(hint)} if hint in _SCALARS else {_present(hint), NoneType}
    return lambda value, beside: (
        tuple(value) if usual.issuperset(map(type, value)) else tuple([read(each, beside) for each in value])
    )


def _tuple_of_numbers(hint: Any, of_scalars: _Read) -> _Read:
    """Written as a run, but for tuples of nothing, or of others than floats."""
    may_lack = hint is not float

    def read(value: Any, beside: Beside) -> Any:
        if type(value) is int:
            return beside.runs[value]
        if may_lack and type(value) is dict:
            items: list[float | None] = list(beside.runs[value["run"]])
            for place in value["none"]:
                items.insert(place, None)
            return tuple(items)
        return of_scalars(value, beside)

    return read


def _enum(kind: type[Enum]) -> _Read:
    members = {member.value: member for member in kind}
    return lambda value, _: members[value] if value in members else kind(value)


def _scalar(hint: type, value: Any) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"the message holds {value!r} where a {hint.__name__} belongs")
    return value
