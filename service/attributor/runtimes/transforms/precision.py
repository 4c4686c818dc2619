"""Passes in bfloat16. Knows torch alone.

Matrix products and convolutions take bfloat16 (eight bits of mantissa) and add up in float32; torch's autocast says
which operators do. What that costs in exactness, and what a result states of it, is the engine's (`engine.precise`).
"""

from contextlib import AbstractContextManager

import torch


def bfloat16(device: torch.device) -> AbstractContextManager[None]:
    """Within the context, passes of any module run in bfloat16 where that pays; gradients by float32 stay float32.

    The forward pass belongs inside; its backward pass goes in the same types. Outputs may be bfloat16: widen them.
    """
    context: AbstractContextManager[None] = torch.autocast(device.type, torch.bfloat16)
    return context
