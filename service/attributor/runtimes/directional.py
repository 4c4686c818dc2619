"""Derivatives of several outputs along one direction of the inputs (a Jacobian times a vector), in one forward pass.

Knows torch's two ways of differentiating and nothing of models, layers or paths.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from attributor.errors import UnsupportedByModel

Run = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
Values = tuple[Tensor, ...]


def directional(run: Run, inputs: Sequence[Tensor], tangents: Sequence[Tensor]) -> tuple[Values, Values]:
    """The values of `run(inputs)`, and their derivatives d/dt run(inputs + t * tangents) at t = 0, detached.

    The values keep their graph: they can be differentiated afterwards, by each other too, from the same pass. `run` may
    be called twice, with tensors that require gradients; tangents have the shapes and dtypes of the inputs.

    Forward mode with dual numbers (Wengert 1964) where every operator has a formula for it, else the derivative of the
    vector-Jacobian product by its vector (Townsend 2017). Found on torch 2.13, CPU, to need the second: LSTM in float32
    (oneDNN's kernel; not in float64, nor GRU, RNN and the cells) and grid_sample. Fused attention has neither, so
    scaled_dot_product_attention runs on its plain kernel here. Raises UnsupportedByModel where an operator has neither
    (cdist, embedding_bag, a function of the model's own without `jvp` that cannot be differentiated twice); what `run`
    itself raises passes through.
    """
    _prepare_forward_mode()
    leaves = [given if given.requires_grad else given.detach().requires_grad_() for given in inputs]
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        try:
            return _forward_mode(run, leaves, tangents)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # mostly NotImplementedError, which is one
            reason = error
        values = run(leaves)
        try:
            return values, _double_backward(values, leaves, tangents)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise UnsupportedByModel(
                f"Conductance needs the derivative of the layer along the path, which torch cannot compute for this "
                f"model: {_in_short(reason)}. Use layer_ig.",
                field="layer.quantity",
            ) from error


@cache
def _prepare_forward_mode() -> None:
    """At its first dual number torch compiles formulas by jit.script and warns of its own use of it: nothing that we or
    our users could change."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        _dual(torch.zeros(1), torch.zeros(1))


def _forward_mode(run: Run, leaves: Sequence[Tensor], tangents: Sequence[Tensor]) -> tuple[Values, Values]:
    with forward_ad.dual_level():
        duals = [_dual(leaf, tangent) for leaf, tangent in zip(leaves, tangents, strict=True)]
        # The values are returned as they are: an unpacked primal is another tensor, outside the others' graph.
        values = run(duals)
        return values, tuple(_tangent(value) for value in values)


def _double_backward(values: Values, leaves: Sequence[Tensor], tangents: Sequence[Tensor]) -> Values:
    """g(u) = J^T u is linear in u, so the derivative of g . tangent by u is J . tangent, at any u."""
    reached = [value for value in values if value.requires_grad]
    cotangents = [torch.zeros_like(value, requires_grad=True) for value in reached]
    pulled_back = torch.autograd.grad(reached, leaves, cotangents, create_graph=True, allow_unused=True)
    # A leaf that no value depends on has no gradient; the graph goes through the others.
    used = [(by, tangent) for by, tangent in zip(pulled_back, tangents, strict=True) if by is not None]
    if not used:
        return tuple(torch.zeros_like(value) for value in values)
    along = torch.autograd.grad(
        [by for by, _ in used], cotangents, [tangent for _, tangent in used], allow_unused=True, materialize_grads=True
    )
    derivatives = iter(along)
    return tuple(next(derivatives) if value.requires_grad else torch.zeros_like(value) for value in values)


def _dual(leaf: Tensor, tangent: Tensor) -> Tensor:
    dual: Tensor = forward_ad.make_dual(leaf, tangent)  # type: ignore[no-untyped-call]
    return dual


def _tangent(value: Tensor) -> Tensor:
    tangent: Tensor | None = forward_ad.unpack_dual(value).tangent  # type: ignore[no-untyped-call]
    return torch.zeros_like(value) if tangent is None else tangent.detach()


def _in_short(error: RuntimeError) -> str:
    return str(error).splitlines()[0].split(". ")[0].rstrip(".")
