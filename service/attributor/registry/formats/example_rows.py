"""Seeded rows within what a manifest declares: to find out, at load, which batches a file takes. Knows no file."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from attributor.jobs.domain import declared_bounds
from attributor.jobs.model import InputSpec, ModelInfo

_SEED = 0


def example_rows(info: ModelInfo, n_rows: int) -> Sequence[Tensor]:
    """In the manifest's order, each (n_rows, *shape): float32, or int64 ids; rows differ in what is attributed.

    Numbers lie about the default baseline, within the declared domain; what is only given (a mask) is as in the
    baseline.
    """
    random = np.random.default_rng(_SEED)
    return [_rows(spec, info, n_rows, random) for spec in info.inputs]


def _rows(spec: InputSpec, info: ModelInfo, n_rows: int, random: np.random.Generator) -> Tensor:
    baseline = info.baselines[info.default_baseline].tensors[spec.name]
    shape = (n_rows, *baseline.shape)
    if not spec.attributed:
        return torch.from_numpy(np.broadcast_to(baseline, shape).copy())
    if spec.vocabulary is not None:
        return torch.from_numpy(random.integers(spec.vocabulary, size=shape))
    low, high = declared_bounds(spec, baseline.shape)
    wide = baseline.astype(np.float64)
    around = random.uniform(wide - 1 - abs(wide), wide + 1 + abs(wide), shape)
    return torch.from_numpy(np.clip(around, low, high).astype(np.float32))
