"""Convolutions and their transposes, of one to three spatial axes."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.running import bounded
from attributor.onnx_importer.windows import Windows, flat_pads, windows_of

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_ATTRIBUTES = "auto_pad dilations group kernel_shape pads strides"


@operator("Conv", versions=(1, 11, 22), attributes=_ATTRIBUTES)
def conv(node: Node) -> Function:
    """A convolution; pads that differ between sides are put on first."""
    return _of_rank(node, _conv)


def _conv(node: Node, rank: int) -> Function:
    windows, group = windows_of(node, rank), _group(node)
    run, symmetric, kernel = _CONVOLUTIONS[rank], windows.symmetric, node.integers("kernel_shape")
    strides, dilations, begins = windows.strides, windows.dilations, windows.begins

    def convolve(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        _require_shapes(x, w, rank, kernel)
        if symmetric:
            return run(x, w, b, strides, begins, dilations, group)
        padded = F.pad(x, flat_pads(windows.pads(x.shape[2:], w.shape[2:])))
        return run(padded, w, b, strides, 0, dilations, group)

    return convolve


@operator("ConvTranspose", versions=(1, 11, 22), attributes=f"{_ATTRIBUTES} output_padding output_shape")
def conv_transpose(node: Node) -> Function:
    """The transpose of a convolution: all places that windows reach, cropped by the pads; the bias everywhere."""
    return _of_rank(node, _conv_transpose)


def _conv_transpose(node: Node, rank: int) -> Function:
    windows, group = windows_of(node, rank), _group(node)
    added = node.integers("output_padding") or (0,) * rank
    wanted = node.integers("output_shape")
    if len(added) != rank or min(added) < 0:
        raise Unsupported(f"has output_padding {list(added)}; one number from 0 for each of {rank} axes is needed")
    if wanted is not None and len(wanted) != rank:
        raise Unsupported(f"has output_shape {list(wanted)}; one number for each of {rank} axes is needed")
    run, strides, dilations = _TRANSPOSED[rank], windows.strides, windows.dilations
    kernel = node.integers("kernel_shape")
    plain = windows.symmetric and wanted is None and not any(added)

    def transposed(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        _require_shapes(x, w, rank, kernel)
        whole = [(n - 1) * s + e for n, s, e in zip(x.shape[2:], strides, windows.extents(w.shape[2:]), strict=True)]
        bounded(x.shape[0], w.shape[1] * group, *whole)
        if plain:
            return run(x, w, b, strides, windows.begins, 0, group, dilations)
        full = run(x, w, None, strides, 0, 0, group, dilations)
        pads = _cropping(windows, x.shape[2:], whole, added, wanted)
        bounded(*full.shape[:2], *(n - first - last for n, (first, last) in zip(whole, pads, strict=True)))
        cropped = F.pad(full, [-amount for amount in flat_pads(pads)])
        return cropped if b is None else cropped + b.reshape(-1, *(1,) * rank)

    return transposed


def _cropping(
    windows: Windows, sizes: Sequence[int], whole: Sequence[int], added: Sequence[int], wanted: Sequence[int] | None
) -> list[tuple[int, int]]:
    """What is cut off before and behind; less than 0: zeros are put there."""
    if wanted is None and windows.same:
        wanted = [size * stride for size, stride in zip(sizes, windows.strides, strict=True)]
    if wanted is None:
        return [(p, q - a) for p, q, a in zip(windows.begins, windows.ends, added, strict=True)]
    found = []
    for size, n, a in zip(wanted, whole, added, strict=True):
        if windows.same and n + a < size:
            raise ValueError(
                f"ConvTranspose with auto_pad reaches {n + a} of {size} places; runtimes differ on the rest."
            )
        total = max(n + a - size, 0)
        first = total // 2 if windows.auto_pad == "SAME_UPPER" else total - total // 2
        found.append((first, n - first - size))
    return found


def _of_rank(node: Node, build: Callable[[Node, int], Function]) -> Function:
    """What is built for the number of spatial axes that the node tells, or for each, if only the weights will tell."""
    rank = _rank(node)
    if rank is not None:
        if rank not in _CONVOLUTIONS:
            raise Unsupported(f"has {rank} spatial axes; 1 to 3 are computed")
        return build(node, rank)
    built = {each: build(node, each) for each in _CONVOLUTIONS}

    def told_by_weights(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        if w.dim() - 2 not in built:
            raise ValueError(f"A convolution got weights of shape {list(w.shape)}.")
        found: Tensor = built[w.dim() - 2](x, w, b)
        return found

    return told_by_weights


def _rank(node: Node) -> int | None:
    weights = node.constants[1] if len(node.constants) > 1 else None
    kernel = node.integers("kernel_shape")
    if weights is not None and kernel is not None and tuple(weights.shape[2:]) != kernel:
        raise Unsupported(f"has kernel_shape {list(kernel)}, but weights of shape {list(weights.shape)}")
    if weights is not None:
        return weights.ndim - 2
    if pads := node.integers("pads"):
        return len(pads) // 2
    for name in ("kernel_shape", "strides", "dilations", "output_padding", "output_shape"):
        if name in node.attributes:
            return len(node.integers(name) or ())
    return None


def _group(node: Node) -> int:
    group = node.integer("group", 1)
    if group < 1:
        raise Unsupported(f"has {group} groups")
    return group


def _require_shapes(x: Tensor, w: Tensor, rank: int, kernel: Sequence[int] | None) -> None:
    if x.dim() != rank + 2 or w.dim() != rank + 2 or (kernel is not None and tuple(w.shape[2:]) != kernel):
        raise ValueError(f"A convolution of {rank} spatial axes got shapes {list(x.shape)} and {list(w.shape)}.")
