"""What makes a proven model's passes cheaper without changing its answers: the transforms, asked for with an example.

Which ones a model gets follows from the model alone (`runtimes.transforms.choosing`, `runtimes.padding`). Knows
manifests and torch.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from attributor.jobs.model import ModelInfo, Tensors
from attributor.registry.proof.probe_rows import probe_rows, usual_positions
from attributor.runtimes.padding import Buckets, proven_buckets
from attributor.runtimes.transforms.choosing import LENGTH_BUCKETS, Transformed, transformed
from attributor.runtimes.transforms.proving import Sample


def cheaper(module: nn.Module, info: ModelInfo, references: Tensors, device: torch.device) -> Transformed | None:
    """The module, on its device, with its transforms; None where it has no gradients."""
    if not info.gradients:
        return None
    rows = probe_rows(info, references, 1, usual_positions(info))
    sample = Sample(
        inputs=tuple(rows[spec.name].to(device) for spec in info.inputs),
        attributed=tuple(place for place, spec in enumerate(info.inputs) if spec.attributed),
        embeddings={
            place: spec.embedding for place, spec in enumerate(info.inputs) if spec.attributed and spec.embedding
        },
        variable=tuple(place for place, spec in enumerate(info.inputs) if spec.variable),
    )
    found = transformed(module, sample)
    buckets = _buckets(found, info, references, device)
    if buckets is None:
        return found
    return replace(found, buckets=buckets, applied=(*found.applied, LENGTH_BUCKETS))


def _buckets(found: Transformed, info: ModelInfo, references: Tensors, device: torch.device) -> Buckets | None:
    """Proven of every form that runs filled examples: a transform is proven without filling."""

    def examples(n_rows: int, positions: int) -> dict[str, Tensor]:
        rows = probe_rows(info, references, n_rows, positions)
        return {name: tensor.to(device) for name, tensor in rows.items()}

    buckets = proven_buckets(found.module, info, examples)
    if buckets is None or found.narrow is found.module:
        return buckets
    return proven_buckets(found.narrow, info, examples)
