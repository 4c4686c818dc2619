"""Copies of a module that share its weights, and modules or weights put in the place of others. Knows torch alone."""

import copy
from collections.abc import Mapping

from torch import Tensor, nn


def shared_copy(module: nn.Module, instead: Mapping[int, Tensor] | None = None) -> nn.Module:
    """Modules of its own, over the same parameters and buffers, so that parts of it can be replaced.

    `instead`: by id, weights that are others in the copy. Costs no memory that counts beside these. Raises whatever a
    module raises that cannot be copied.
    """
    tensors: list[Tensor] = []
    for part in module.modules():
        tensors.extend(value for value in part.__dict__.values() if isinstance(value, Tensor))
        tensors.extend(each for each in (*part._parameters.values(), *part._buffers.values()) if each is not None)
    same = {id(tensor): tensor for tensor in tensors}
    return copy.deepcopy(module, {**same, **(instead or {})})


def replaced_copy(module: nn.Module, instead: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """A copy over the same weights in which some submodules of `module` are others, under all their names."""
    names = {name: part for name, part in module.named_modules(remove_duplicate=False) if part in instead}
    made = shared_copy(module)
    gone: list[str] = []
    # Outer names first: what stood inside a part that was replaced is gone.
    for name in sorted(names, key=lambda each: each.count(".")):
        if not any(name.startswith(f"{each}.") for each in gone):
            parent, _, own = name.rpartition(".")
            made.get_submodule(parent)._modules[own] = instead[names[name]]
            gone.append(name)
    return made
