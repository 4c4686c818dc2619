"""Noisy copies of an example, and what is averaged over their attributions (SmoothGrad and its kin). Knows no model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attributor.errors import UnsupportedByModel
from attributor.jobs.domain import declared_bounds
from attributor.jobs.explanation import SmoothForm, Smoothing
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, Tensors


def noisy_copies(example: Tensors, info: ModelInfo, smoothing: Smoothing, rng: np.random.Generator) -> list[Tensors]:
    """`smoothing.samples` copies with gaussian noise of `smoothing.noise` times the range of each value.

    The range is the declared one (of an image its pixels', of a table each element's), else that of the example's own
    values in that input (Smilkov, Thorat, Kim, Viégas, Wattenberg 2017, section 3.2). Nothing is cut off at the range.
    Tokens and inputs that are not attributed stay. Raises UnsupportedByModel, field "smoothing", if all would stay.
    """
    spread = {
        declared.name: smoothing.noise * _range(declared, example[declared.name])
        for declared in info.inputs
        if declared.attributed and declared.kind is not InputKind.TOKENS
    }
    if not any(each.any() for each in spread.values()):
        raise UnsupportedByModel(
            "there is nothing to add noise to: smoothing needs an attributed input of numbers with a range above zero",
            field="smoothing",
        )
    return [
        {
            name: rng.normal(values, spread[name]).astype(values.dtype) if name in spread else values
            for name, values in example.items()
        }
        for _ in range(smoothing.samples)
    ]


def combine(form: SmoothForm, attributions: Sequence[Tensors]) -> Tensors:
    """What is answered for the copies' attributions, per input, float64.

    The mean (Smilkov et al. 2017), the mean of squares (Hooker, Erhan, Kindermans, Kim 2019) or the variance over the
    copies, divided by their number (Adebayo, Gilmer, Goodfellow, Kim 2018, VarGrad).
    """
    return {name: _combined(form, np.stack([each[name] for each in attributions])) for name in attributions[0]}


def _combined(form: SmoothForm, values: NDArray[np.generic]) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    if form is SmoothForm.VARIANCE:
        return np.asarray(wide.var(axis=0))
    return np.asarray(np.mean(wide**2 if form is SmoothForm.SQUARED else wide, axis=0))


def _range(declared: InputSpec, values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Highest less lowest value, of the example's shape."""
    low, high = declared_bounds(declared, values.shape)
    own = np.ptp(values.astype(np.float64)) if values.size else 0.0
    return np.where(np.isfinite(low) & np.isfinite(high), high - low, own)
