"""Lists of JSON numbers to finite float32 or whole int64 arrays, and, where that fails, the place and the reason.

The good path is one pass over the types and one numpy conversion; only a failure is searched for. Knows nothing of
models or of what the numbers mean.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import cast

import numpy as np
from numpy.typing import NDArray

from attributor.errors import InvalidInput, InvalidShape

FLOAT32_MAX = float(np.finfo(np.float32).max)

#: What JSON numbers become. A bool is an int in Python but not a number here.
_NUMBER_TYPES = {int, float}

#: Numbers whose sum of squares is looked at first, which costs a third of a look at each. Ours: the linear algebra
#: below numpy takes several cores for more than 10,000.
_FEW = 4_096

#: Most characters of an offending value quoted in an error: ours, enough to recognise it.
_QUOTED_CHARS = 40


def finite_float32(data: Sequence[object], *, field: str) -> NDArray[np.float32]:
    """A regular nested list of numbers as an array of its own shape.

    Raises InvalidInput for anything that is not a finite number within float32, InvalidShape for ragged lists; the
    error's field ends with the indices of the first fault.
    """
    return _finite(data, field)[1]


def whole_int64(data: Sequence[object], low: int, high: int, *, field: str) -> NDArray[np.int64]:
    """A regular nested list of whole numbers from `low` to `high` as an array of its own shape; 5.0 is whole.

    Bounds within 2**53, so that float64 holds every number between them. Raises as `finite_float32`.
    """
    wide, _ = _finite(data, field)
    wrong = (wide < low) | (wide > high) | (wide != np.trunc(wide))
    if wrong.any():
        index = np.unravel_index(int(np.argmax(wrong)), wide.shape)
        place = ".".join(str(int(i)) for i in index)
        detail = f"must be a whole number from {low} to {high}, not {wide[index]:.15g}"
        raise InvalidInput(detail, field=f"{field}.{place}")
    return wide.astype(np.int64)


def number_fault(value: object) -> str | None:
    """Why `value` is not a finite number within float32; None if it is one."""
    if value is None:
        return "is null; it must be a number"
    if type(value) not in _NUMBER_TYPES:
        return f"must be a number, not {_quoted(value)}"
    number = cast(float, value)
    if number != number or number in (np.inf, -np.inf):
        return f"must be finite, not {number}"
    return None if abs(number) <= FLOAT32_MAX else f"is beyond float32 (at most {FLOAT32_MAX:.4g})"


def _finite(data: Sequence[object], field: str) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Numbers that are finite as float32, too; both."""
    try:
        wide = np.array(data, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _fault(data, field) from None
    if wide.size <= _FEW and np.vdot(wide, wide) < FLOAT32_MAX:  # false if any is not finite, or very large
        finite, narrow = True, wide.astype(np.float32)
    else:
        with np.errstate(over="ignore"):
            narrow = wide.astype(np.float32)
        finite = bool(np.isfinite(narrow).all())
    if not (finite and set(map(type, _leaves(data, wide.ndim))) <= _NUMBER_TYPES):
        raise _fault(data, field)
    return wide, narrow


def _quoted(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return shown if len(shown) <= _QUOTED_CHARS else shown[:_QUOTED_CHARS] + "..."


def _leaves(data: Sequence[object], depth: int) -> Iterable[object]:
    leaves: Iterable[object] = data
    for _ in range(depth - 1):
        leaves = chain.from_iterable(cast("Iterable[Iterable[object]]", leaves))
    return leaves


def _fault(data: Sequence[object], field: str) -> InvalidInput | InvalidShape:
    """The first fault in reading order. A stack of iterators: neither deep nor long requests cost memory."""
    lengths: dict[int, int] = {0: len(data)}
    place: list[int] = []
    walks = [enumerate(data)]
    while walks:
        index, value = next(walks[-1], (-1, None))
        if index < 0:
            walks.pop()
            place = place[:-1]
            continue
        depth = len(walks)
        fault: InvalidInput | InvalidShape | None = None
        if not isinstance(value, list | tuple):
            if reason := number_fault(value):
                fault = InvalidInput(reason)
            elif depth in lengths:
                fault = InvalidShape("a number stands where the entries before are lists")
        elif lengths.setdefault(depth, len(value)) != len(value):
            fault = InvalidShape(f"the list is ragged: {len(value)} entries here, {lengths[depth]} in those before")
        if fault is not None:
            fault.field = ".".join([field, *map(str, place), str(index)])
            return fault
        if not isinstance(value, list | tuple):
            continue
        place = [*place, index]
        walks.append(enumerate(value))
    return InvalidShape("lists and numbers are mixed, or nested too deeply", field=field)
