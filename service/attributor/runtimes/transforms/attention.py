"""Attention by torch's fused function where a model of transformers writes it out.

The same sum in another order. The fused kernels have no derivative in forward mode and no second one, so what needs
these (conductance) asks the plain module. Knows torch, and how such models are told; imports no transformers.
"""

from typing import Any

from torch import nn

from attributor.runtimes.transforms.copying import shared_copy

#: What transformers calls attention in elementary operations, and torch's scaled_dot_product_attention.
_PLAIN, _FUSED = "eager", "sdpa"


def fuse_attention(module: nn.Module) -> nn.Module | None:
    """A copy over the same weights with fused attention; None where the module has no such choice, or made it.

    Raises whatever transformers raises for a model that has none.
    """
    if not any(_writes_out(part) for part in module.modules()):
        return None
    made = shared_copy(module)
    parts: list[Any] = [part for part in made.modules() if _writes_out(part)]
    for part in parts:
        if _writes_out(part):  # a part within one that was told is told already
            part.set_attn_implementation(_FUSED)
    return made


def _writes_out(part: nn.Module) -> bool:
    config = getattr(part, "config", None)
    return hasattr(part, "set_attn_implementation") and getattr(config, "_attn_implementation", None) == _PLAIN
