"""Recurrent modules on CUDA: cuDNN differentiates only what it computed for training.

Knows torch modules; knows no models and no points.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


def recurrent_parts(module: nn.Module) -> list[nn.RNNBase]:
    """The modules that `differentiable` is for: torch's LSTM, GRU and RNN whose parameters are on a CUDA device."""
    return [part for part in module.modules() if isinstance(part, nn.RNNBase) and _on_cuda(part)]


@contextmanager
def differentiable(parts: Sequence[nn.RNNBase]) -> Iterator[None]:
    """What these modules compute within the context can be differentiated, and is what they compute in eval mode.

    Around the forward pass is enough. They are in training mode with their dropout at zero; modules around them stay as
    they are.
    """
    before = [(part, part.training, part.dropout) for part in parts]
    try:
        for part in parts:
            part.training, part.dropout = True, 0.0
        yield
    finally:
        for part, training, dropout in before:
            part.training, part.dropout = training, dropout


def _on_cuda(part: nn.RNNBase) -> bool:
    return any(parameter.is_cuda for parameter in part.parameters())
