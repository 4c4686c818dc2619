"""JSON values to frozen values, fast: per annotation a function, made once, that reads what has that type.

The fields of a message's dataclasses have the same few combinations of types over and over: each is checked once and
remembered. Knows no message: arrays are given, and stand as their index.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache, lru_cache
from operator import itemgetter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

#: Values kept by their texts. Ours: some hundred models' inputs, a few kilobytes each, or all outputs of most models.
_MOST_TEXTS = 1024

_Arrays = list[NDArray[Any]]
_Read = Callable[[Any, _Arrays], Any]
_SCALARS = (str, int, bool, float)


class Readers:
    """`repeated`: see `json_writers`; `unpacked` undoes its `packed`. A value of these types is shared by all who read
    its text."""

    def __init__(self, repeated: frozenset[type], unpacked: Callable[[str], tuple[Any, _Arrays]]) -> None:
        self._repeated = repeated
        self._unpacked = unpacked
        self.reader = cache(self._reader)

    def _reader(self, hint: Any) -> _Read:
        """The function that reads a value of that annotation. It raises ValueError for another type's, and what Python
        raises for a thing that is none of ours at all."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, UnionType):
            read = self.reader(next(option for option in arguments if option is not NoneType))
            return lambda value, arrays: None if value is None else read(value, arrays)
        if origin is tuple:
            return _tuple(arguments[0], self.reader(arguments[0]))
        if origin is Mapping:
            item = self.reader(arguments[1])
            return lambda value, arrays: {name: item(each, arrays) for name, each in value.items()}
        if origin is np.ndarray:
            return lambda value, arrays: arrays[value]
        if hint in self._repeated:
            return self._text(hint)
        if is_dataclass(hint):
            return self._of_dataclass(hint)
        if issubclass(hint, Enum):
            return _enum(hint)
        return lambda value, _: _scalar(hint, value)

    def _text(self, kind: Any) -> _Read:
        read = self._of_dataclass(kind)

        @lru_cache(_MOST_TEXTS)
        def known(text: str) -> Any:
            return read(*self._unpacked(text))

        return lambda value, arrays: known(value) if type(value) is str else read(value, arrays)

    def _of_dataclass(self, kind: Any) -> _Read:
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        values_of = itemgetter(*names) if len(names) > 1 else lambda value: (value[names[0]],)
        inner = [_present(hints[name]) for name in names]
        scalars = [i for i, hint in enumerate(inner) if hint in _SCALARS]
        nested = [(i, self.reader(hint)) for i, hint in enumerate(inner) if i not in scalars]
        needed = [(i, read) for i, read in nested if inner[i] is hints[names[i]]]
        optional = [(i, read) for i, read in nested if inner[i] is not hints[names[i]]]
        checked: set[tuple[type, ...]] = set()
        count = len(names)

        def is_usual(i: int, found: type) -> bool:
            return found is inner[i] or (found is NoneType and inner[i] is not hints[names[i]])

        def by_field(value: Any, arrays: _Arrays) -> Any:
            """The way of a message of another time, and the one on which faults are told."""
            known = {name: self.reader(hints[name])(item, arrays) for name, item in value.items() if name in hints}
            _require_fields(kind, value)
            return kind(**known)

        def read(value: Any, arrays: _Arrays) -> Any:
            try:
                items = list(values_of(value))
            except KeyError:
                return by_field(value, arrays)
            kinds = tuple(map(type, items))
            if kinds not in checked or len(value) != count:
                if len(value) != count or not all(is_usual(i, kinds[i]) for i in scalars):
                    return by_field(value, arrays)
                checked.add(kinds)
            for i, reader in needed:
                items[i] = reader(items[i], arrays)
            for i, reader in optional:
                if items[i] is not None:
                    items[i] = reader(items[i], arrays)
            return kind(*items)

        return read


def _present(hint: Any) -> Any:
    """The annotation of what is there, where None may be."""
    if get_origin(hint) in (Union, UnionType):
        return next(option for option in get_args(hint) if option is not NoneType)
    return hint


def _require_fields(kind: Any, value: Mapping[str, Any]) -> None:
    if unknown := value.keys() - {field.name for field in fields(kind)}:
        raise ValueError(f"the message gives a {kind.__name__} the unknown fields {sorted(unknown)}")
    required = [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]
    if missing := [name for name in required if name not in value]:
        raise ValueError(f"the message lacks the fields {missing} of a {kind.__name__}")


def _tuple(hint: Any, read: _Read) -> _Read:
    """Of scalars: looked at all at once."""
    if _present(hint) in _SCALARS:
        usual = {_present(hint)} if hint in _SCALARS else {_present(hint), NoneType}
        return lambda value, arrays: (
            tuple(value) if usual.issuperset(map(type, value)) else tuple([read(each, arrays) for each in value])
        )
    return lambda value, arrays: tuple([read(each, arrays) for each in value])


def _enum(kind: type[Enum]) -> _Read:
    members = {member.value: member for member in kind}
    return lambda value, _: members[value] if value in members else kind(value)


def _scalar(hint: type, value: Any) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"the message holds {value!r} where a {hint.__name__} belongs")
    return value
