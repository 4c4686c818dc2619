"""What diagnostics keep of evaluated points: the first target on two scales, layers' distances to their output at x.

Saturation along the path (Sundararajan, Taly, Yan 2016, section 2.2). Knows open routes and a pass's tensors.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from attributor.core.asks import Indices
from attributor.jobs.model import OutputKind, OutputScale
from attributor.model_port import Observation
from attributor.runtimes.batch import Batch
from attributor.runtimes.routes import OpenRoute
from attributor.runtimes.targets import target_scores


@torch.no_grad()
def observe(
    batch: Batch,
    outputs: Tensor,
    caught: Mapping[str, Tensor],
    kind: OutputKind,
) -> None:
    """Adds an Observation per point to the routes that are observed. `outputs`, `caught` by layer: per row."""
    for n, route in enumerate(batch.routes):
        if route.spec.observed is None:
            continue
        if not route.references:  # no pass over it has come so far: its first point is this portion's, the example
            example = batch.rows_by_portion[n]
            route.references = {layer: _flat(caught[layer][example][None])[0] for layer in batch.observed}
        rows, indexes = _rows(batch, n)
        at = torch.from_numpy(rows).to(outputs.device)
        distances = [_distances(_flat(caught[layer][at]), route.references[layer]) for layer in batch.observed]
        probabilities, logits = _on_both_scales(route, outputs[at], kind)
        route.observations.extend(
            Observation(index, probability, logit, tuple(of_layer[place] for of_layer in distances))
            for place, (index, probability, logit) in enumerate(zip(indexes, probabilities, logits, strict=True))
        )


def _rows(batch: Batch, portion: int) -> tuple[Indices, list[int]]:
    """The rows of a portion's asks, and the indexes of their first nodes."""
    asks = batch.points[portion].asks
    rows = batch.points_by_portion[portion] + np.arange(len(asks))
    return (batch.first_nodes[rows] if batch.row_per_node else rows), [ask.nodes[0].index for ask in asks]


def _on_both_scales(
    route: OpenRoute, outputs: Tensor, kind: OutputKind
) -> tuple[list[float] | list[None], list[float]]:
    """The first target as probability, and as logit; of outputs that are probabilities, which have none, as
    log-probability, the logit but for a constant of the point. There 0 stands as the smallest normal float32: a
    diagnostic shows saturation, and need not fail of it."""
    target = route.targets[0]

    def read(rows: Tensor, scale: OutputScale) -> list[float]:
        found: list[float] = target_scores(rows, [replace(target, scale=scale)] * len(rows), kind).tolist()
        return found

    if kind is OutputKind.VALUES:
        return [None] * len(outputs), read(outputs, OutputScale.VALUE)
    if kind is OutputKind.PROBABILITIES:
        above_zero = outputs.clamp(min=torch.finfo(torch.float32).tiny)
        return read(outputs, OutputScale.PROBABILITY), read(above_zero, OutputScale.LOG_PROBABILITY)
    return read(outputs, OutputScale.PROBABILITY), read(outputs, OutputScale.LOGIT)


def _flat(rows: Tensor) -> Tensor:
    """float64, shape (rows, units); never a view of the pass."""
    return rows.detach().reshape(len(rows), -1).to(torch.float64, copy=True)


def _distances(rows: Tensor, reference: Tensor) -> list[tuple[float, float]]:
    """L2 norm of the difference, and 1 - cosine: 0 between equal outputs, 1 to an output of zeros."""
    l2 = (rows - reference).norm(dim=1)
    cosine = torch.nn.functional.cosine_similarity(rows, reference[None], dim=1)
    turned = torch.where(l2 == 0, 0.0, 1 - cosine)
    return list(zip(l2.tolist(), turned.tolist(), strict=True))
