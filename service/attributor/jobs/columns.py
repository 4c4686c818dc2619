"""The numbers of a tabular tensor as the columns that a person knows: which belong together, and what they say.

Knows declarations and arrays; nothing of requests, answers or pictures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.model import Feature, InputSpec
from attributor.jobs.once import once


@dataclass(frozen=True, slots=True)
class Column:
    """A feature and its place in the tensor: the elements from `start` to before `stop`, one or one per category."""

    feature: Feature
    start: int
    stop: int

    def value(self, values: NDArray[Any]) -> float | str | None:
        """What a tensor of the input, shape (elements,), says of this column, as a person would say it: a number or a
        category. None where one-hot elements are not 1 for one category and 0 for the others."""
        own, categories = values[self.start : self.stop], self.feature.categories
        if self.feature.one_hot:
            (chosen,) = np.nonzero(own)
            return categories[chosen[0]] if len(chosen) == 1 and own[chosen[0]] == 1 else None
        number = shortest(own[0])
        return categories[int(number)] if number in range(len(categories)) else number

    def outside(self, values: NDArray[Any]) -> bool:
        """Whether the value is none that the model declares: beyond its bounds, or no category."""
        if self.feature.categories:
            return not isinstance(self.value(values), str)
        value, low, high = values[self.start], self.feature.minimum, self.feature.maximum
        return bool((low is not None and value < low) or (high is not None and value > high))

    def added_up(self, attributions: NDArray[Any]) -> float:
        """The column's attribution: the sum over its elements, in float64."""
        return float(attributions[self.start : self.stop].sum(dtype=np.float64))


@once
def columns(spec: InputSpec) -> tuple[Column, ...]:
    """Of a tabular input, in the declared order; none of other kinds."""
    found: list[Column] = []
    start = 0
    for feature in spec.features:
        stop = start + len(feature.elements)
        found.append(Column(feature, start, stop))
        start = stop
    return tuple(found)


@once
def _bounds(spec: InputSpec) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], list[Column]]:
    """Where columns start, the bounds of those that are numbers (infinite ones for the others), and the others."""
    found = columns(spec)
    lows = [-np.inf if c.feature.minimum is None or c.feature.categories else c.feature.minimum for c in found]
    highs = [np.inf if c.feature.maximum is None or c.feature.categories else c.feature.maximum for c in found]
    starts = np.array([column.start for column in found], np.intp)
    return starts, np.array(lows), np.array(highs), [column for column in found if column.feature.categories]


def equal_columns(spec: InputSpec, values: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
    """In which columns tensors of a tabular input agree; the last axis is that of the elements."""
    return np.logical_and.reduceat(values == others, _bounds(spec)[0], axis=-1)


def may_be_outside(spec: InputSpec, values: NDArray[Any]) -> NDArray[np.bool_]:
    """For which of many tensors, shape (tensors, *input shape), `columns_outside` has to be asked; none of other
    kinds."""
    if not spec.features:
        return np.zeros(len(values), np.bool_)
    starts, lows, highs, others = _bounds(spec)
    if others:
        return np.ones(len(values), np.bool_)
    own = values[:, starts]
    return np.asarray(((own < lows) | (own > highs)).any(axis=1))


def columns_outside(spec: InputSpec, values: NDArray[Any]) -> list[Column]:
    """The columns whose value is none that the model declares, in the declared order; none of other kinds."""
    if not spec.features:
        return []
    starts, lows, highs, others = _bounds(spec)
    own = values[starts]
    beyond = np.flatnonzero((own < lows) | (own > highs)).tolist()
    if not beyond and not others:
        return []
    found = [columns(spec)[n] for n in beyond] + [column for column in others if column.outside(values)]
    return sorted(found, key=lambda column: column.start)


def shortest(value: np.generic) -> float:
    """The shortest decimal that is this float32: 17.99, not 17.989999771118164."""
    return float(str(value))
