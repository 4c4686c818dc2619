"""The numbers of a tabular tensor as the columns that a person knows: which belong together, and what they say.

Knows declarations and arrays; nothing of requests, answers or pictures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.model import Feature, InputSpec


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

    def equal(self, values: NDArray[Any], others: NDArray[Any]) -> bool:
        """Whether two tensors of the input agree in it."""
        return np.array_equal(values[self.start : self.stop], others[self.start : self.stop])

    def added_up(self, attributions: NDArray[Any]) -> float:
        """The column's attribution: the sum over its elements, in float64."""
        return float(attributions[self.start : self.stop].sum(dtype=np.float64))


def columns(spec: InputSpec) -> tuple[Column, ...]:
    """Of a tabular input, in the declared order; none of other kinds."""
    found: list[Column] = []
    start = 0
    for feature in spec.features:
        stop = start + len(feature.elements)
        found.append(Column(feature, start, stop))
        start = stop
    return tuple(found)


def shortest(value: np.generic) -> float:
    """The shortest decimal that is this float32: 17.99, not 17.989999771118164."""
    return float(str(value))
