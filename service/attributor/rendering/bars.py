"""A table's attributions as rows: the largest, the rest as one, and what the polarity hides. Draws nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attributor.jobs.columns import Column, columns
from attributor.jobs.job import Polarity, Visualization
from attributor.rendering.figures import rounded
from attributor.rendering.subject import Subject


@dataclass(frozen=True, slots=True)
class Bar:
    """One column. `at_baseline`: the input and the baseline agree in it; it then gets zero by construction, which says
    nothing about its weight.

    `value`, `baseline`: a number or a category; None without a baseline, and for a one-hot column that is no category
    (such as a mean of several).
    """

    name: str
    unit: str | None
    value: float | str | None
    baseline: float | str | None
    attribution: float
    at_baseline: bool

    def payload(self) -> dict[str, Any]:
        """Plain values; value and baseline as exact as they were sent."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "baseline": self.baseline,
            "attribution": rounded(self.attribution),
            "at_baseline": self.at_baseline,
        }


@dataclass(frozen=True, slots=True)
class Rest:
    """Columns without a bar of their own: how many, and the sum of their attributions."""

    count: int
    attribution: float

    def payload(self) -> dict[str, Any]:
        """Plain values."""
        return {"count": self.count, "attribution": rounded(self.attribution)}


@dataclass(frozen=True, slots=True)
class Bars:
    """`shown` by falling |attribution|; `others`: the smaller ones; `hidden`: those of the sign not asked for.

    The attributions of all three add up to those of the input.
    """

    shown: tuple[Bar, ...]
    others: Rest | None
    hidden: Rest | None

    @property
    def largest(self) -> float:
        """The |attribution| of the longest bar, the bar of the others included."""
        others = () if self.others is None else (abs(self.others.attribution),)
        return max((*(abs(bar.attribution) for bar in self.shown), *others), default=0.0)


def rank(view: Visualization, subject: Subject) -> Bars:
    """Sort columns by |attribution|, equal ones in the declared order, and take the first `max_bars`."""
    table = columns(subject.input_spec)
    attributions = np.array([column.added_up(subject.attributions) for column in table])
    signs: Mapping[Polarity, np.ndarray[Any, np.dtype[np.bool_]]] = {
        Polarity.BOTH: np.ones(attributions.shape, dtype=np.bool_),
        Polarity.POSITIVE: attributions >= 0,
        Polarity.NEGATIVE: attributions <= 0,
    }
    wanted = signs[view.polarity]
    order = np.argsort(-np.abs(attributions), kind="stable")
    order = order[wanted[order]]
    return Bars(
        shown=tuple(_bar(subject, table[index], attributions[index]) for index in order[: view.max_bars]),
        others=_rest(attributions[order[view.max_bars :]]),
        hidden=_rest(attributions[~wanted]),
    )


def _bar(subject: Subject, column: Column, attribution: float) -> Bar:
    baseline, own = subject.baseline, slice(column.start, column.stop)
    return Bar(
        name=column.feature.name,
        unit=column.feature.unit,
        value=column.value(subject.example),
        baseline=None if baseline is None else column.value(baseline),
        attribution=float(attribution),
        at_baseline=baseline is not None and np.array_equal(subject.example[own], baseline[own]),
    )


def _rest(attributions: np.ndarray[Any, np.dtype[np.float64]]) -> Rest | None:
    return Rest(attributions.size, float(attributions.sum())) if attributions.size else None
