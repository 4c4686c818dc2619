"""Attributions to signed strengths in [-1, 1]. Knows nothing of colours or of files.

Zero stays exactly zero, both signs share one scale, and the scale does not depend on the polarity shown, so that two
views of one result can be compared.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.job import Polarity


@dataclass(frozen=True, slots=True)
class Strengths:
    """`values` in [-1, 1], shape (height, width); `scale` is the |attribution| of strength 1, 0 where all are 0."""

    values: NDArray[np.float32]
    scale: float


def channel_sum(attributions: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shape (channels, height, width) to (height, width): the papers aggregate over colour (AA figure 2)."""
    summed: NDArray[np.float64] = attributions.sum(axis=0, dtype=np.float64)
    return summed


def signed_strengths(values: NDArray[np.float64], clip_percentile: float, polarity: Polarity) -> Strengths:
    """Divide by the `clip_percentile` (in (0, 100]) of |values|, clip to [-1, 1], and hide the other sign.

    Where that percentile is zero although some value is not (few pixels matter), the largest one is the scale.
    """
    magnitude = np.abs(values)
    scale = float(np.percentile(magnitude, clip_percentile)) or float(magnitude.max())
    if scale == 0.0:
        return Strengths(np.zeros(values.shape, dtype=np.float32), 0.0)
    low = 0.0 if polarity is Polarity.POSITIVE else -scale
    high = 0.0 if polarity is Polarity.NEGATIVE else scale
    return Strengths((np.clip(values, low, high) / scale).astype(np.float32), scale)
