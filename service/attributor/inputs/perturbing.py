"""What methods that take parts of an input away take away together, and how often those that draw do so.

Knows what the manifest says of a model; no torch, so that a request can be held against it before a job is queued.
"""

import math
from collections.abc import Iterable, Sequence

from attributor.jobs.explanation import Method
from attributor.jobs.model import InputKind, InputSpec

#: About so many patches, where a tensor has more elements than that and no window is given. Ours: as many as the
#: pixels of the smallest model here; sampling methods need some tens of samples per patch.
AIMED_PATCHES = 64
#: Samples of KernelSHAP, if none are asked for: those of its author's `shap` package, 2 per feature and 2048 more.
SHAP_SAMPLES, SHAP_SAMPLES_PER_FEATURE = 2048, 2
#: Samples of LIME, if none are asked for: the default for images of its author's `lime` package.
LIME_SAMPLES = 1000


def window_shape(declared: InputSpec, window: int | None) -> tuple[int, ...]:
    """The elements of one input that go together: of its number of axes, no longer than any of them.

    `window`: the side of a square on an image, the length on a single axis.
    """
    shape = declared.shape
    n_square = min(len(shape), 2)
    leading, square = shape[: len(shape) - n_square], shape[len(shape) - n_square :]
    side = _default_side(declared.kind, square) if window is None else window
    return (*leading, *(min(side, length) for length in square))


def n_patches(declared: Iterable[InputSpec], window: int | None) -> int:
    """How many patches, side by side, cover the inputs that are attributed."""
    return sum(
        math.prod(math.ceil(length / side) for length, side in zip(each.shape, window_shape(each, window), strict=True))
        for each in declared
        if each.attributed
    )


def default_samples(method: Method, n_features: int) -> int:
    """Samples of a fitted linear model of so many features, if none are asked for."""
    return LIME_SAMPLES if method is Method.LIME else SHAP_SAMPLES + SHAP_SAMPLES_PER_FEATURE * n_features


def _default_side(kind: InputKind, square: Sequence[int]) -> int:
    count = math.prod(square)
    if kind is InputKind.TABULAR or count <= AIMED_PATCHES:
        return 1
    return math.ceil(float((count / AIMED_PATCHES) ** (1 / len(square))))
