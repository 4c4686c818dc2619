"""The values that a model declares its inputs to have, element by element. Knows declarations, no example."""

import numpy as np
from numpy.typing import NDArray

from attributor.jobs.model import InputSpec

Bounds = tuple[NDArray[np.float64], NDArray[np.float64]]


def pixel_values(spec: InputSpec) -> Bounds | None:
    """An image's values for pixel 0 and pixel 255, shape (channels, 1, 1) each; None where none are declared.

    With `normalise`, pixels go from 0 to 1, less the mean and over the standard deviation of their channel.
    """
    if spec.normalise:
        mean, std = np.array(spec.normalise, np.float64).T[..., None, None]
        return (0.0 - mean) / std, (1.0 - mean) / std
    if spec.value_range is None:
        return None
    black, white = (np.full((spec.shape[0], 1, 1), value, np.float64) for value in spec.value_range)
    return black, white


def declared_bounds(spec: InputSpec, shape: tuple[int, ...]) -> Bounds:
    """Lowest and highest value of every element of a tensor of this shape; infinite where none is declared."""
    low, high = np.full(shape, -np.inf), np.full(shape, np.inf)
    pixels = pixel_values(spec)
    if pixels is not None:
        low[...], high[...] = np.minimum(*pixels), np.maximum(*pixels)
    for i, element in enumerate(spec.elements):
        low[i] = -np.inf if element.minimum is None else element.minimum
        high[i] = np.inf if element.maximum is None else element.maximum
    return low, high
