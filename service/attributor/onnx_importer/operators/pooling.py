"""Poolings over windows and over everything."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.windows import Windows, flat_pads, windows_of

_ATTRIBUTES = "auto_pad kernel_shape pads strides"
_MAXIMA: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_WITH_INDICES: dict[int, Callable[..., tuple[Tensor, Tensor]]] = {
    1: F.max_pool1d_with_indices,
    2: F.max_pool2d_with_indices,
    3: F.max_pool3d_with_indices,
}
_AVERAGES: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_GLOBAL_MAXIMA: dict[int, Callable[..., Tensor]] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}


def _windows(node: Node) -> tuple[tuple[int, ...], Windows, bool]:
    """The kernel, its windows, and whether sizes are rounded up."""
    kernel = node.integers("kernel_shape") or ()
    if not 1 <= len(kernel) <= 3 or min(kernel) < 1:
        raise Unsupported(f"has kernel_shape {list(kernel)}; one to three axes are computed")
    windows, ceil = windows_of(node, len(kernel)), node.integer("ceil_mode", 0) != 0
    if ceil and windows.auto_pad == "VALID":
        raise Unsupported("has auto_pad VALID with ceil_mode, on which ONNX's text and its runtimes differ")
    extents = windows.extents(kernel)
    apart = any(stride > extent for stride, extent in zip(windows.strides, extents, strict=True))
    if windows.same and (apart or set(windows.dilations) != {1}):
        raise Unsupported("has auto_pad SAME with dilations or gaps between windows, on which ONNX's runtimes differ")
    if any(p >= e for pads in (windows.begins, windows.ends) for p, e in zip(pads, extents, strict=True)):
        raise Unsupported(f"has pads as large as its windows ({list(extents)}), which would hold nothing")
    return kernel, windows, ceil


def _fits_torch(kernel: Sequence[int], windows: Windows) -> bool:
    """Whether torch's poolings take these pads: the same on both sides, and half a kernel at most."""
    return windows.symmetric and all(p <= k // 2 for p, k in zip(windows.begins, kernel, strict=True))


def _padding(sizes: Sequence[int], kernel: Sequence[int], windows: Windows, *, ceil: bool) -> list[tuple[int, int]]:
    """Pads before and behind; behind, what the last window needs where sizes are rounded up.

    A last window that would start behind the input and its first pad is left out, as torch does (ONNX since 22).
    """
    found = []
    for size, (first, last), stride, extent in zip(
        sizes, windows.pads(sizes, kernel), windows.strides, windows.extents(kernel), strict=True
    ):
        free = size + first + last - extent
        if free < 0:
            raise ValueError(f"A window of {extent} does not fit into {size} positions with pads {first} and {last}.")
        steps = -(-free // stride) if ceil else free // stride
        if steps * stride >= size + first:
            steps -= 1
        found.append((first, steps * stride + extent - size - first))
    return found


@operator("MaxPool", versions=(1, 8, 10, 11, 12, 22), attributes=f"{_ATTRIBUTES} ceil_mode dilations storage_order")
def max_pool(node: Node) -> Function:
    """The largest of each window, and where it is in the whole input, counted without pads."""
    kernel, windows, ceil = _windows(node)
    rank, fits = len(kernel), _fits_torch(kernel, windows)
    run, run_with = _MAXIMA[rank], _WITH_INDICES[rank]
    strides, begins, dilations = windows.strides, windows.begins, windows.dilations
    order = node.integer("storage_order", 0)
    if order not in (0, 1):
        raise Unsupported(f"has storage_order {order}, which we do not know")

    def padded(x: Tensor) -> tuple[Tensor, list[tuple[int, int]]]:
        pads = _padding(x.shape[2:], kernel, windows, ceil=ceil)
        lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
        return F.pad(x, flat_pads(pads), value=lowest), pads

    def largest(x: Tensor) -> Tensor:
        _require_axes(x, rank)
        if fits and x.is_floating_point():
            return run(x, kernel, strides, begins, dilations, ceil)
        whole, _ = padded(x)
        # torch pools no small whole numbers on every device; float64 holds all that a pooling of pictures can hold.
        found = run(_pooled_as(whole), kernel, strides, 0, dilations)
        return found.to(x.dtype)

    def largest_and_where(x: Tensor) -> tuple[Tensor, Tensor]:
        _require_axes(x, rank)
        whole, pads = padded(x)
        found, where = run_with(_pooled_as(whole), kernel, strides, 0, dilations)
        return found.to(x.dtype), _flat_indices(where, whole.shape, x.shape, pads, column_major=order == 1)

    return largest_and_where if len(node.wanted) > 1 and node.wanted[1] else largest


def _pooled_as(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.to(torch.float64)


def _flat_indices(
    where: Tensor, padded: Sequence[int], shape: Sequence[int], pads: Sequence[tuple[int, int]], *, column_major: bool
) -> Tensor:
    """From positions among the padded values of one channel to positions among all values of the input."""
    at, rest = [], where
    for size, (first, _) in zip(reversed(padded[2:]), reversed(pads), strict=True):
        at.append(rest % size - first)
        rest = rest // size
    at.reverse()
    sizes, n = list(shape[2:]), 1
    found = torch.zeros_like(where)
    for axis in range(len(sizes)) if column_major else reversed(range(len(sizes))):
        found = found + at[axis] * n
        n *= sizes[axis]
    maps = torch.arange(shape[0] * shape[1], device=where.device).reshape(*shape[:2], *(1,) * len(sizes))
    return found + maps * n


@operator(
    "AveragePool", versions=(7, 10, 11, 19, 22), attributes=f"{_ATTRIBUTES} ceil_mode count_include_pad dilations"
)
def average_pool(node: Node) -> Function:
    """The mean of each window, of what lies in the input, or with its pads too; never what ceil_mode adds behind."""
    kernel, windows, ceil = _windows(node)
    rank, include = len(kernel), node.integer("count_include_pad", 0) != 0
    fits = _fits_torch(kernel, windows) and set(windows.dilations) == {1}
    run = _AVERAGES[rank]

    def mean(x: Tensor) -> Tensor:
        _require_axes(x, rank)
        if fits:
            return run(x, kernel, windows.strides, windows.begins, ceil, include)
        pads = _padding(x.shape[2:], kernel, windows, ceil=ceil)
        sums = _window_sums(F.pad(x, flat_pads(pads)), kernel, windows)
        given = windows.pads(x.shape[2:], kernel)
        for axis in range(rank):
            size, first = x.shape[2 + axis], pads[axis][0]
            low, high = (-given[axis][0], size + given[axis][1]) if include else (0, size)
            starts = torch.arange(sums.shape[2 + axis], device=x.device) * windows.strides[axis] - first
            inner = torch.arange(kernel[axis], device=x.device) * windows.dilations[axis]
            places = starts[:, None] + inner
            count = ((places >= low) & (places < high)).sum(1).to(x.dtype)
            sums = sums / count.reshape(-1, *(1,) * (rank - 1 - axis))
        return sums

    return mean


def _window_sums(x: Tensor, kernel: Sequence[int], windows: Windows) -> Tensor:
    """The sum of each window of a padded input."""
    for axis, (extent, stride, dilation) in enumerate(
        zip(windows.extents(kernel), windows.strides, windows.dilations, strict=True), start=2
    ):
        x = x.unfold(axis, extent, stride)[..., ::dilation].sum(-1)
    return x


@operator("LpPool", versions=(2, 11, 18, 22), attributes=f"{_ATTRIBUTES} ceil_mode dilations p")
def lp_pool(node: Node) -> Function:
    """The p-norm of each window."""
    kernel, windows, ceil = _windows(node)
    p = _norm(node)

    def norm(x: Tensor) -> Tensor:
        _require_axes(x, len(kernel))
        pads = _padding(x.shape[2:], kernel, windows, ceil=ceil)
        return _root(_window_sums(F.pad(x.abs() ** p, flat_pads(pads)), kernel, windows), p)

    return norm


@operator("GlobalAveragePool", versions=(1, 22))
def global_average_pool(node: Node) -> Function:
    """The mean of each channel."""

    def mean(x: Tensor) -> Tensor:
        return x.mean(_spatial(x), keepdim=True)

    return mean


@operator("GlobalMaxPool", versions=(1, 22))
def global_max_pool(node: Node) -> Function:
    """The largest of each channel; the first of equals has the whole gradient, as in a pooling over windows."""

    def largest(x: Tensor) -> Tensor:
        rank = len(_spatial(x))
        return _GLOBAL_MAXIMA[rank](x, 1) if rank in _GLOBAL_MAXIMA else x.amax(_spatial(x), keepdim=True)

    return largest


@operator("GlobalLpPool", versions=(2, 22), attributes="p")
def global_lp_pool(node: Node) -> Function:
    """The p-norm of each channel."""
    p = _norm(node)

    def norm(x: Tensor) -> Tensor:
        return _root((x.abs() ** p).sum(_spatial(x), keepdim=True), p)

    return norm


def _norm(node: Node) -> int:
    p = node.integer("p", 2)
    if p < 1:
        raise Unsupported(f"has p {p}; a norm needs 1 or more")
    return p


def _root(sums: Tensor, p: int) -> Tensor:
    """The p-th root; at 0 with a gradient of 0, where the root's own would make NaN of it."""
    if p == 1:
        return sums
    none = sums == 0
    return torch.where(none, 0.0, torch.where(none, 1.0, sums) ** (1 / p)).to(sums.dtype)


def _spatial(x: Tensor) -> tuple[int, ...]:
    if x.dim() < 3:
        raise ValueError(f"A pooling takes rows, channels and at least one axis more, not shape {list(x.shape)}.")
    return tuple(range(2, x.dim()))


def _require_axes(x: Tensor, rank: int) -> None:
    if x.dim() != rank + 2:
        raise ValueError(f"A pooling over {rank} axes got shape {list(x.shape)}.")
