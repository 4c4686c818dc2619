"""What a picture is about, and the sentences and figures that every picture carries. Knows no pixels and no SVG."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.job import Visualization
from attributor.jobs.model import InputSpec
from attributor.rendering.figures import number, percent, rounded
from attributor.rendering.reading import EFFECT, Reading


@dataclass(frozen=True, slots=True)
class Subject:
    """One input of one result. `example`, `baseline` and `attributions` have the shape of `input_spec`.

    Without a baseline there is no score of it. `completeness_error` None: `completeness_reason` says why.
    """

    input_spec: InputSpec
    example: NDArray[np.float32]
    baseline: NDArray[np.float32] | None
    attributions: NDArray[np.float32]
    target_label: str
    score: float
    baseline_score: float | None
    completeness_error: float | None
    relative_completeness_error: float | None
    completeness_reason: str | None = None
    reading: Reading = EFFECT


@dataclass(frozen=True, slots=True)
class Scale:
    """`full_strength`: the |attribution|, in units of the reading, from which on a colour or a bar is at its fullest.

    It is the `clip_percentile` of |attribution|; 0 where every attribution is zero.
    """

    full_strength: float
    clip_percentile: float


def title(view: Visualization, subject: Subject) -> str:
    """The head of a picture."""
    return f'{subject.reading.titles[view.polarity]} "{subject.target_label}"'


def facts(subject: Subject) -> tuple[str, str]:
    """What the model said, and how far the attributions add up to it, or why they do not: two short lines."""
    said = f"score {number(subject.score)}"
    if subject.baseline_score is not None:
        said += f", at the baseline {number(subject.baseline_score)}"
    if subject.completeness_error is None:
        return said, f"no completeness: {subject.completeness_reason}"
    error = f"completeness error {number(subject.completeness_error)}"
    if subject.relative_completeness_error is not None:
        error += f" ({percent(subject.relative_completeness_error)} of the difference)"
    return said, error


def common_payload(view: Visualization, subject: Subject, scale: Scale) -> dict[str, Any]:
    """The part of a payload that every kind of picture has; numbers to four significant digits."""
    return {
        "kind": view.kind.value,
        "input": subject.input_spec.name,
        "title": title(view, subject),
        "target_label": subject.target_label,
        "score": rounded(subject.score),
        "baseline_score": _rounded(subject.baseline_score),
        "completeness_error": _rounded(subject.completeness_error),
        "relative_completeness_error": _rounded(subject.relative_completeness_error),
        "completeness_reason": subject.completeness_reason,
        "scale": {
            "full_strength": rounded(scale.full_strength),
            "units": subject.reading.units,
            "clip_percentile": scale.clip_percentile,
        },
    }


def legend_entry(sign: str, colour: str | None, meaning: str) -> Mapping[str, Any]:
    """One entry of a legend. `sign`: lowers, none, raises or either; `colour` None: that of the picture below."""
    return {"sign": sign, "color": colour, "meaning": meaning}


def _rounded(value: float | None) -> float | None:
    return None if value is None else rounded(value)
