"""Named modules of a torch module: taking their outputs out of a forward pass, and putting others in.

Knows torch, modules and forward hooks. Knows no paths, no targets and no jobs.

The fast path of torch's transformer modules is off inside both contexts: it computes an encoder layer in one kernel,
past the modules inside, and packs padded batches into nested tensors, which have no batch axis of rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree  # torch has no public name for it; structures of tensors are its one purpose
from torch.utils.hooks import RemovableHandle

from attributor.errors import UnknownLayer, UnsupportedByModel

LAYER_FIELD = "layer.name"

#: Names listed in the answer to an unknown one. Ours: a line's worth; deep networks have hundreds.
_NAMES_SHOWN = 10


def named_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The layers of a module by name: those that it names itself, else its submodules.

    ONNX modules have an attribute `named_layers`, whose names may hold any characters.
    """
    own = getattr(module, "named_layers", None)
    if isinstance(own, Mapping):
        return dict(own)
    return {name: part for name, part in module.named_modules(remove_duplicate=False) if name}


def submodule(module: nn.Module, name: str) -> nn.Module:
    """The layer of `module` with this name, else the module inside it with this dotted name.

    Raises UnknownLayer; the module itself has no name.
    """
    layers = named_layers(module)
    found = layers.get(name) or (dict(module.named_modules(remove_duplicate=False)).get(name) if name else None)
    if found is None:
        raise UnknownLayer(_unknown(name, list(layers)), field=LAYER_FIELD)
    return found


@contextmanager
def replaced(module: nn.Module, name: str, value: Tensor) -> Iterator[None]:
    """Within the context, the named module's output in a forward pass of `module` is `value`, of the same shape.

    Of an output of several tensors (an LSTM's) the first is replaced. Gradients flow to `value`, which is not modified,
    also where the model goes on in place. Raises UnknownLayer; UnsupportedByModel in the forward pass for an output of
    another shape or without a float tensor, and on leaving unless the module was called exactly once.
    """
    layer = submodule(module, name)
    n_calls = 0

    def put_in(_layer: nn.Module, _args: Any, output: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        found = _float_tensor(name, output)
        if found.shape != value.shape:
            raise _unsupported(
                f"The output of layer {name!r} has shape {tuple(found.shape)} at one input and {tuple(value.shape)} "
                "at another. Choose a layer whose output has the same shape for all inputs."
            )
        return _with_first_tensor(output, value.clone())

    with ExitStack() as stack:
        stack.enter_context(_every_module_called())
        # First of the layer's hooks, so that whoever captures its output sees the replacement.
        _hook(stack, layer.register_forward_hook(put_in, prepend=True))
        yield
    _check_called_once(name, n_calls)


@contextmanager
def captured(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within the context, fills the dict with the named modules' outputs, with their graph, in one pass of `module`.

    Of an output of several tensors the first is taken. Scores of the pass can be differentiated by the tensors, whose
    values stay as they are where the model goes on in place. A replaced layer's output is its replacement. Raises
    UnknownLayer; UnsupportedByModel in the forward pass for an output that is not a float tensor with the batch (the
    first axis of the first tensor given to `module`) as its first axis, and on leaving unless each module was called
    exactly once. Another axis that happens to be as long as the batch is taken for it.
    """
    layers = {name: submodule(module, name) for name in names}
    n_calls = dict.fromkeys(layers, 0)
    outputs: dict[str, Tensor] = {}
    n_rows: int | None = None

    def count_rows(_module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        nonlocal n_rows
        given = _first_tensor((args, kwargs))
        n_rows = len(given) if given is not None and given.dim() else None

    def take(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def take_out(_layer: nn.Module, _args: Any, output: Any) -> Any:
            n_calls[name] += 1
            found = _float_tensor(name, output)
            _check_rows(name, found, n_rows)
            outputs[name] = found
            # The model goes on with a copy: an activation in place would write over what was taken.
            return _with_first_tensor(output, found.clone())

        return take_out

    with ExitStack() as stack:
        stack.enter_context(_every_module_called())
        _hook(stack, module.register_forward_pre_hook(count_rows, with_kwargs=True))
        for name, layer in layers.items():
            _hook(stack, layer.register_forward_hook(take(name)))
        yield outputs
    for name, n in n_calls.items():
        _check_called_once(name, n)


def _hook(stack: ExitStack, handle: RemovableHandle) -> None:
    stack.callback(handle.remove)


@contextmanager
def _every_module_called() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _first_tensor(structure: Any) -> Tensor | None:
    return next((leaf for leaf in pytree.tree_leaves(structure) if isinstance(leaf, Tensor)), None)


def _with_first_tensor(structure: Any, value: Tensor) -> Any:
    leaves, form = pytree.tree_flatten(structure)
    place = next(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
    return pytree.tree_unflatten([*leaves[:place], value, *leaves[place + 1 :]], form)


def _float_tensor(name: str, output: Any) -> Tensor:
    found = _first_tensor(output)
    if found is None:
        raise _unsupported(f"The output of layer {name!r} is {type(output).__name__}, in which no tensor was found.")
    if not found.is_floating_point():
        raise _unsupported(f"The output of layer {name!r} is {found.dtype}; only float outputs can be attributed.")
    return found


def _check_rows(name: str, output: Tensor, n_rows: int | None) -> None:
    if output.dim() == 0 or (n_rows is not None and len(output) != n_rows):
        raise _unsupported(
            f"The output of layer {name!r} has shape {tuple(output.shape)} for a batch of {n_rows}; its first axis "
            "would have to be the batch. Choose another layer."
        )


def _check_called_once(name: str, n_calls: int) -> None:
    if n_calls == 0:
        raise _unsupported(
            f"Layer {name!r} exists, but the model computes its output without calling it as a module. Choose the "
            "module around it, or another one."
        )
    if n_calls > 1:
        raise _unsupported(
            f"The model calls layer {name!r} {n_calls} times in a pass, so its output is not one place in the "
            "computation. Choose a layer that is called once."
        )


def _unsupported(detail: str) -> UnsupportedByModel:
    return UnsupportedByModel(detail, field=LAYER_FIELD)


def _unknown(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(names[:_NAMES_SHOWN])
    rest = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"The model has no layer {name!r}.{meant} Its layers: {shown or 'none'}{rest}."
