"""Where the values of a resized axis come from, and with what weights.

Knows ONNX's formulas of Resize, in numpy. Knows no tensor and no node.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Formulas for the place in the input of a place in the output, and what rounds it for the nearest value.
TRANSFORMATIONS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
#: Axes whose taps are kept. Ours: a model resizes some tens of axes, and sizes change from request to request.
_KEPT = 256
#: Places of an axis beyond which its taps are made anew: 256 of them are then a few MB at most.
_KEPT_PLACES = 2048


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a node says about all its axes. `cubic`: the coefficient a of the cubic kernel (Keys 1981, eq. 4)."""

    mode: str
    transformation: str
    rounding: str
    cubic: float
    exclude_outside: bool
    antialias: bool


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: sizes before and after, the scale, and the part of the input that is sampled (0 and 1: all)."""

    before: int
    after: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class Taps:
    """For each place of the output, the places of the input, (after, taps), and their weights; None: one tap of 1.

    `outside`: places that lie beyond the input and have the extrapolation value; None where there are none.
    """

    places: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    outside: NDArray[np.bool_] | None


def taps(sampling: Sampling, axis: Axis) -> Taps:
    """The taps of one axis; those of usual sizes are kept."""
    return _kept_taps(sampling, axis) if axis.after <= _KEPT_PLACES else _taps(sampling, axis)


@lru_cache(maxsize=_KEPT)
def _kept_taps(sampling: Sampling, axis: Axis) -> Taps:
    return _taps(sampling, axis)


def _taps(sampling: Sampling, axis: Axis) -> Taps:
    at = _origins(sampling.transformation, axis)
    outside = None
    if sampling.transformation == "tf_crop_and_resize":
        beyond = (at < 0) | (at > axis.before - 1)
        outside = beyond if beyond.any() else None
    if sampling.mode == "nearest":
        places = _rounded(at, sampling.rounding)
        return Taps(places.clip(0, axis.before - 1)[:, None], None, outside)
    places, weights = _weighted(sampling, axis, at)
    inside = (places >= 0) & (places < axis.before)
    if sampling.exclude_outside:
        weights = np.where(inside, weights, 0.0)
        weights = weights / weights.sum(1, keepdims=True)
    return Taps(places.clip(0, axis.before - 1), weights, outside)


def _origins(transformation: str, axis: Axis) -> NDArray[np.float64]:
    """Places in the input, in float32 as in other implementations: rounding decides what is nearest."""
    one = np.float32(1)
    x = np.arange(axis.after, dtype=np.float32)
    scale, before = np.float32(axis.scale), np.float32(axis.before)
    width = scale * before  # of the output, before it was rounded to whole places
    half = np.float32(0.5)
    if transformation == "asymmetric":
        found = x / scale
    elif transformation == "align_corners":
        found = np.zeros_like(x) if width == one else x * (before - one) / (width - one)
    elif transformation == "tf_crop_and_resize":
        start, end = np.float32(axis.start), np.float32(axis.end)
        if axis.after > 1:
            found = start * (before - one) + x * (end - start) * (before - one) / (width - one)
        else:
            found = np.full_like(x, half * (start + end) * (before - one))
    else:
        found = (x + half) / scale - half
        if transformation == "half_pixel_symmetric":
            found = before / 2 * (one - np.float32(axis.after) / width) + found
        elif transformation == "pytorch_half_pixel" and axis.after == 1:
            found = np.zeros_like(x)
    return found.astype(np.float64)


def _rounded(at: NDArray[np.float64], rounding: str) -> NDArray[np.int64]:
    if rounding == "round_prefer_floor":
        at = np.ceil(at - 0.5)
    elif rounding == "round_prefer_ceil":
        at = np.floor(at + 0.5)
    else:
        at = np.floor(at) if rounding == "floor" else np.ceil(at)
    return at.astype(np.int64)


def _weighted(sampling: Sampling, axis: Axis, at: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places around each origin, which may lie outside, and the kernel there; stretched where values are thinned."""
    reach = 1 if sampling.mode == "linear" else 2
    stretch = min(axis.scale, 1.0) if sampling.antialias else 1.0
    first = int(np.floor(-reach / stretch)) + 1
    steps = np.arange(first, 2 - first)
    floor = np.ceil(at) - 1
    distances = (steps[None, :] - (at - floor)[:, None]) * stretch
    weights = _linear(distances) if sampling.mode == "linear" else _cubic(distances, sampling.cubic)
    if sampling.antialias:
        weights = weights / weights.sum(1, keepdims=True)
    return floor.astype(np.int64)[:, None] + steps[None, :], weights


def _linear(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.clip(1 - np.abs(distances), 0, 1)
    return found


def _cubic(distances: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Keys, "Cubic convolution interpolation for digital image processing", 1981, eq. 4 with a free coefficient a."""
    d = np.abs(distances)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
