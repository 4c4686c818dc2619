"""Seeded inputs within what a manifest declares, on which a model is put to the proof. Knows no model."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.jobs.domain import declared_bounds
from attributor.jobs.model import Feature, InputSpec, ModelInfo, Part, Tensors

#: Rows of a batch. Ours: more than a pair, and not a power of two.
ROWS = 5

#: Positions of examples whose length varies. Ours: no number of rows here, so that no axis passes for another.
_POSITIONS = 7

_SEED = 0

#: Parts of a text or a molecule that have one value where there is no padding.
_CONSTANTS = {Part.MASK: 1, Part.SEGMENTS: 0, Part.ATOM_MASK: 1}


def most_positions(info: ModelInfo) -> int | None:
    """Of an example whose length varies; None where all shapes are fixed."""
    return next((spec.shape[0] for spec in info.inputs if spec.variable), None)


def usual_positions(info: ModelInfo) -> int | None:
    """A length below the most, if there is one; None where all shapes are fixed."""
    most = most_positions(info)
    return None if most is None else max(1, min(most - 1, _POSITIONS))


def probe_rows(info: ModelInfo, references: Tensors, n_rows: int, positions: int | None) -> dict[str, Tensor]:
    """Rows within the declared domain, per input (n_rows, *shape): float32, or int64 token ids; always the same.

    Attributed inputs are random, so that any value is met, the last id of a vocabulary among them. What is only given
    (a mask) has to make sense, and nothing declares its domain: it comes from the reference set, else it is what such a
    part of a text or molecule is without padding, else the default baseline's. `positions`: of variable inputs.
    """
    random = np.random.default_rng(_SEED)
    baseline = baseline_row(info, positions)
    rows = {}
    for spec in info.inputs:
        start = baseline[spec.name]
        if spec.attributed:
            values = _random_rows(spec, start, n_rows, random)
        else:
            values = _given_rows(spec, start, references.get(spec.name), n_rows)
        rows[spec.name] = torch.from_numpy(values)
    return rows


def baseline_row(info: ModelInfo, positions: int | None) -> dict[str, NDArray[Any]]:
    """The default baseline without a batch axis, as long as said where lengths vary."""
    tensors = info.baselines[info.default_baseline].tensors
    return {spec.name: tensors[spec.name][:positions] if spec.variable else tensors[spec.name] for spec in info.inputs}


def _given_rows(spec: InputSpec, start: NDArray[Any], references: NDArray[Any] | None, n_rows: int) -> NDArray[Any]:
    if references is not None:
        return np.resize(references, (n_rows, *start.shape))
    if spec.part in _CONSTANTS:
        return np.full((n_rows, *start.shape), _CONSTANTS[spec.part], start.dtype)
    return np.repeat(start[None], n_rows, axis=0)


def _random_rows(spec: InputSpec, start: NDArray[Any], n_rows: int, random: np.random.Generator) -> NDArray[Any]:
    if spec.vocabulary is not None:
        ids = random.integers(spec.vocabulary, size=(n_rows, *start.shape))
        ids.flat[0] = spec.vocabulary - 1
        return ids
    wide = start.astype(np.float64)
    low, high = declared_bounds(spec, start.shape)
    bounded = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(bounded, low, wide - 1 - abs(wide)), np.where(bounded, high, wide + 1 + abs(wide))
    values = random.uniform(low, high, (n_rows, *start.shape))
    place = 0
    for feature in spec.features:
        width = len(feature.elements)
        if feature.categories:
            values[:, place : place + width] = _categories(feature, n_rows, random)
        place += width
    return values.astype(np.float32)


def _categories(feature: Feature, n_rows: int, random: np.random.Generator) -> NDArray[Any]:
    """A column of categories, shape (n_rows, elements)."""
    numbers = random.integers(len(feature.categories), size=n_rows)
    return np.eye(len(feature.categories))[numbers] if feature.one_hot else numbers[:, None].astype(np.float64)
