"""The completeness axiom as a number: do the attributions add up to the difference of the scores?"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Completeness:
    """`error` in units of the score; `relative` to |F(x) - F(x')|, None where that difference is exactly zero."""

    error: float
    relative: float | None


def completeness(attribution_sum: float, score: float, baseline_score: float) -> Completeness:
    """|sum of attributions - (F(x) - F(x'))| (Sundararajan, Taly and Yan 2017, proposition 1)."""
    gap = score - baseline_score
    error = abs(attribution_sum - gap)
    return Completeness(error, error / abs(gap) if gap != 0 else None)
