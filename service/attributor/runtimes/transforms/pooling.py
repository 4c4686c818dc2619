"""ReLUs moved behind the pooling that followed them: max(relu(x)) is relu(max(x)), of a fraction of the numbers.

Gradients are the same, too: the largest of a window is where it was, and where none is positive nothing passes either
way. Done where a recorded pass shows that nothing else sees the ReLU's output. Knows torch alone.
"""

from collections.abc import Sequence
from typing import TypeGuard

from torch import Tensor, nn
from torch.nn import functional

from attributor.runtimes.transforms.affine import equal_forms
from attributor.runtimes.transforms.copying import replaced_copy
from attributor.runtimes.transforms.recording import Record, record

Pool = nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d

_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


class PooledFirst(nn.Module):
    """In the place of a pooling, with the ReLU behind it."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, maps: Tensor) -> Tensor:
        """relu(max(maps))."""
        return functional.relu(self.pool(maps))


class MovedReLU(nn.Module):
    """In the place of a ReLU that is done later."""

    def forward(self, tensor: Tensor) -> Tensor:
        """The tensor as it is."""
        return tensor


def pool_first(module: nn.Module, inputs: Sequence[Tensor], *others: Sequence[Tensor]) -> nn.Module | None:
    """A copy over the same weights in which maps are pooled before their ReLU; None where there is no such pair.

    `others`: inputs of other shapes, on which it must take the same way. The outputs of these layers are not what they
    were, so layers are asked of the plain module. Raises whatever the module raises.
    """
    if not any(_is_pool(part) for part in module.modules()):
        return None
    seen = [record(module, each) for each in (inputs, *others)]
    pairs = movable(seen[0]) if equal_forms(seen) else []
    if not pairs:
        return None
    instead: dict[nn.Module, nn.Module] = {}
    for rectifier, pool in pairs:
        instead[rectifier], instead[pool] = MovedReLU(), PooledFirst(pool)
    return replaced_copy(module, instead)


def movable(seen: Record) -> list[tuple[nn.ReLU, Pool]]:
    """ReLUs and poolings, each called once, where the ReLU's output is taken by the pooling and nothing else."""
    found = []
    for call in seen.calls:
        pool = call.module
        if not _is_pool(pool) or len(seen.calls_of(pool)) != 1:
            continue
        before = next((each for each in seen.calls if each.result is call.given[0] and _is_relu(each.module)), None)
        if before is None or not _is_relu(before.module) or len(seen.calls_of(before.module)) != 1:
            continue
        # One that writes in place has the memory of what it was given, which others may have read before.
        users = [number for number in seen.users(before.result) if number >= before.last]
        if all(call.first <= number < call.last for number in users) and not seen.is_output(before.result):
            found.append((before.module, pool))
    return found


def _is_relu(part: nn.Module) -> TypeGuard[nn.ReLU]:
    """The class itself: a subclass or a hook may compute something else."""
    return type(part) is nn.ReLU and not _is_hooked(part)


def _is_pool(part: nn.Module) -> TypeGuard[Pool]:
    """Without gaps: a window that lies beside the map altogether would have a maximum that is no number of it."""
    if type(part) not in _POOLS or _is_hooked(part) or part.return_indices:
        return False
    gaps = part.dilation if isinstance(part.dilation, tuple) else (part.dilation,)
    return set(gaps) == {1}


def _is_hooked(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._forward_pre_hooks)
