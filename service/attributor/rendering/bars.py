"""A table's attributions as rows: the largest, the rest as one, and what the polarity hides. Draws nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attributor.jobs.job import Polarity, Visualization
from attributor.rendering.figures import rounded
from attributor.rendering.subject import Subject


@dataclass(frozen=True, slots=True)
class Bar:
    """One feature. At its baseline it gets zero by construction, which says nothing about its weight."""

    name: str
    unit: str | None
    value: float
    baseline: float | None
    attribution: float

    @property
    def at_baseline(self) -> bool:
        """Whether the input and the baseline agree in it."""
        return self.value == self.baseline

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
    """Features without a bar of their own: how many, and the sum of their attributions."""

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
    """Sort by |attribution|, equal ones in the declared order, and take the first `max_bars`."""
    attributions = subject.attributions.astype(np.float64)
    signs: Mapping[Polarity, np.ndarray[Any, np.dtype[np.bool_]]] = {
        Polarity.BOTH: np.ones(attributions.shape, dtype=np.bool_),
        Polarity.POSITIVE: attributions >= 0,
        Polarity.NEGATIVE: attributions <= 0,
    }
    wanted = signs[view.polarity]
    order = np.argsort(-np.abs(attributions), kind="stable")
    order = order[wanted[order]]
    return Bars(
        shown=tuple(_bar(subject, int(index)) for index in order[: view.max_bars]),
        others=_rest(attributions[order[view.max_bars :]]),
        hidden=_rest(attributions[~wanted]),
    )


def _bar(subject: Subject, index: int) -> Bar:
    feature = subject.input_spec.features[index]
    return Bar(
        name=feature.name,
        unit=feature.unit,
        value=_shortest(subject.example[index]),
        baseline=None if subject.baseline is None else _shortest(subject.baseline[index]),
        attribution=float(subject.attributions[index]),
    )


def _shortest(value: np.float32) -> float:
    """The shortest decimal that is this float32: 17.99, not 17.989999771118164."""
    return float(str(value))


def _rest(attributions: np.ndarray[Any, np.dtype[np.float64]]) -> Rest | None:
    return Rest(attributions.size, float(attributions.sum())) if attributions.size else None
