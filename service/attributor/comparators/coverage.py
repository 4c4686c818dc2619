"""Finds what Captum's hooks cannot see in a model: it hooks modules, so a functional call keeps its plain gradient.

One forward pass under a dispatch mode, which sees every operation of torch, however it is called. Knows torch, no
Captum.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

#: Operations of torch (without leading and trailing underscores) that cut off below zero, as ReLU does.
RELU_CALLS = frozenset({"relu", "clamp", "clamp_min", "threshold"})
#: Operations that are not linear in their input, as networks use them.
NONLINEAR_CALLS = RELU_CALLS | {
    *("leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardtanh", "hardswish", "hardsigmoid", "softplus"),
    *("prelu", "rrelu_with_noise", "sigmoid", "log_sigmoid_forward", "tanh", "softmax", "log_softmax", "exp", "pow"),
    *(
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "mkldnn_max_pool2d",
    ),
    *("max", "amax", "maximum", "minimum", "mkldnn_rnn_layer", "lstm", "thnn_fused_lstm_cell", "native_layer_norm"),
    *("scaled_dot_product_flash_attention_for_cpu", "scaled_dot_product_flash_attention", "cudnn_rnn", "miopen_rnn"),
    *("scaled_dot_product_efficient_attention", "scaled_dot_product_fused_attention_overrideable"),
}
#: Where two activations meet: relevance must be shared between them, which only a module's rule does.
JOINING_CALLS = frozenset({"add", "mul", "sub", "bmm"})


class _Calls(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Names of the operations that run while no covered module does."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.depth = 0
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__.strip("_")
        if self.depth == 0 and (name not in JOINING_CALLS or _joins(args)):
            self.seen.add(name)
        return func(*args, **(kwargs or {}))


def _joins(arguments: Sequence[Any]) -> bool:
    """Whether both sides depend on the model's input; a constant beside an activation is a shift or a factor."""
    sides = [each for each in arguments[:2] if isinstance(each, Tensor)]
    return len(sides) == 2 and all(side.requires_grad for side in sides)


@dataclass(frozen=True, slots=True)
class Seen:
    """`uncovered`: names of calls outside covered modules. `reused`: covered modules that ran more than once."""

    uncovered: frozenset[str]
    reused: tuple[str, ...]


def look(module: nn.Module, inputs: Sequence[Tensor], covers: Callable[[nn.Module], bool]) -> Seen:
    """What runs when the module is called with `inputs`; `covers` says of a module whether a method hooks it."""
    calls, runs = _Calls(), Counter[str]()
    handles = []

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            calls.depth += 1
            runs[name] += 1

        return hook

    def leave(*_: object) -> None:
        calls.depth -= 1

    for name, part in module.named_modules():
        if covers(part):
            handles += [part.register_forward_pre_hook(enter(name)), part.register_forward_hook(leave)]
    try:
        # With gradients, as the methods run it: without, torch fuses whole layers into one operation.
        with torch.enable_grad(), calls:
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return Seen(frozenset(calls.seen), tuple(name for name, count in runs.items() if count > 1))
