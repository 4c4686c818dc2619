"""What makes a proven model's passes cheaper without changing its answers: the transforms, asked for with an example.

Which ones a model gets follows from the model alone (`runtimes.transforms.choosing`). Knows manifests and torch.
"""

import torch
from torch import nn

from attributor.jobs.model import ModelInfo, Tensors
from attributor.registry.proof.probe_rows import probe_rows, usual_positions
from attributor.runtimes.transforms.choosing import Transformed, transformed
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
        lengths_vary=any(spec.variable for spec in info.inputs),
    )
    return transformed(module, sample)
