"""Pictures made larger or smaller, sampled on a grid, and blocks of pixels moved into channels and back."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.running import bounded
from attributor.onnx_importer.sampling import ROUNDINGS, TRANSFORMATIONS, Axis, Sampling, Taps, taps

_MODES = ("nearest", "linear", "cubic")
_POLICIES: dict[str, Callable[[list[float]], float] | None] = {
    "stretch": None,
    "not_larger": min,
    "not_smaller": max,
}
#: torch's names of linear interpolation, by the number of spatial axes.
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
_OF_TORCH = ("half_pixel", "pytorch_half_pixel", "align_corners")


@operator("Upsample", versions=(7, 9, 10), attributes="mode scales", host=(1,))
def upsample(node: Node) -> Function:
    """Resize of before opset 10: places divided by the scale, rounded down."""
    sampling = _old_sampling(node)
    fixed = node.numbers("scales") if node.version == 7 else None
    if node.version == 7 and fixed is None:
        raise Unsupported("has no attribute scales, which it needs")

    def resized(x: Tensor, scales: NDArray[Any] | None = None) -> Tensor:
        factors = list(fixed) if fixed is not None else _numbers(scales)
        return _sampled(x, _enlarged(x, factors), sampling, 0.0)

    return resized


@operator(
    "Resize",
    versions=(10, 11, 13, 18, 19),
    attributes="antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value "
    "keep_aspect_ratio_policy mode nearest_mode",
    host=(1, 2, 3),
)
def resize(node: Node) -> Function:
    """Values at other places of an axis: the nearest, or a mean of those around."""
    if node.version == 10:
        sampling = _old_sampling(node)
        return lambda x, scales: _sampled(x, _enlarged(x, _numbers(scales)), sampling, 0.0)
    sampling = _sampling(node)
    axes, beyond = node.integers("axes"), node.number("extrapolation_value", 0.0)
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy not in _POLICIES:
        raise Unsupported(f"has keep_aspect_ratio_policy {policy!r}, which we do not know")
    chosen = _POLICIES[policy]

    def resized(
        x: Tensor,
        roi: NDArray[Any] | None = None,
        scales: NDArray[Any] | None = None,
        sizes: NDArray[Any] | None = None,
    ) -> Tensor:
        which = [axis % x.dim() for axis in axes] if axes is not None else list(range(x.dim()))
        before = [x.shape[axis] for axis in which]
        after, factors = _lengths(before, _numbers(scales), _numbers(sizes), chosen)
        parts = [(0.0, 1.0)] * len(which)
        if sampling.transformation == "tf_crop_and_resize":
            parts = _parts(_numbers(roi), len(which))
        found = {
            axis: Axis(before[i], after[i], factors[i], start, end)
            for i, (axis, (start, end)) in enumerate(zip(which, parts, strict=True))
        }
        return _sampled(x, found, sampling, beyond)

    return resized


def _lengths(
    before: list[int], factors: list[float], sizes: list[float], chosen: Callable[[list[float]], float] | None
) -> tuple[list[int], list[float]]:
    """Sizes after, and the scales, of axes that are given one or the other. `chosen`: the one scale of all axes."""
    if len(sizes) + len(factors) != len(before):
        raise ValueError(f"Resize of {len(before)} axes got scales {factors} and sizes {sizes}.")
    if not sizes:
        return [_whole(n, factor) for n, factor in zip(before, factors, strict=True)], factors
    factors = [size / n for size, n in zip(sizes, before, strict=True)]
    if chosen is None:
        return [int(size) for size in sizes], factors
    factors = [chosen(factors)] * len(before)
    return [int(np.floor(factor * n + 0.5)) for factor, n in zip(factors, before, strict=True)], factors


def _sampling(node: Node) -> Sampling:
    found = Sampling(
        mode=node.text("mode", "nearest"),
        transformation=node.text("coordinate_transformation_mode", "half_pixel"),
        rounding=node.text("nearest_mode", "round_prefer_floor"),
        cubic=node.number("cubic_coeff_a", -0.75),
        exclude_outside=node.integer("exclude_outside", 0) != 0,
        antialias=node.integer("antialias", 0) != 0,
    )
    for said, known in (
        (found.mode, _MODES),
        (found.transformation, TRANSFORMATIONS),
        (found.rounding, ROUNDINGS),
    ):
        if said not in known:
            raise Unsupported(f"resizes by {said!r}, which we do not know")
    if found.antialias and found.mode == "nearest":
        raise Unsupported("smooths (antialias) what it takes from the nearest place")
    if found.antialias and found.transformation not in ("half_pixel", "pytorch_half_pixel"):
        raise Unsupported(f"smooths (antialias) at places by {found.transformation!r}, on which ONNX's runtimes differ")
    return found


def _old_sampling(node: Node) -> Sampling:
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise Unsupported(f"resizes by {mode!r}, which we do not know")
    known = node.constants[1] if len(node.constants) > 1 else None
    if known is not None and (known < 1).any():
        raise Unsupported("makes an axis smaller, for which this version says no formula")
    return Sampling(mode, "asymmetric", "floor", -0.75, exclude_outside=False, antialias=False)


def _numbers(values: NDArray[Any] | None) -> list[float]:
    return [] if values is None else [float(value) for value in values.reshape(-1)]


def _parts(roi: list[float], n: int) -> list[tuple[float, float]]:
    if len(roi) != 2 * n:
        raise ValueError(f"Resize of {n} axes got a roi of {len(roi)} numbers, not {2 * n}.")
    return list(zip(roi[:n], roi[n:], strict=True))


def _whole(size: int, factor: float) -> int:
    """In float32, which is the type of scales: 10 times 0.7 is 7."""
    return int(np.floor(np.float32(size) * np.float32(factor)))


def _enlarged(x: Tensor, factors: Sequence[float]) -> dict[int, Axis]:
    if len(factors) != x.dim() or min(factors, default=1) < 1:
        raise ValueError(f"Scales of {list(factors)} for shape {list(x.shape)}: one from 1 per axis is needed.")
    return {i: Axis(n, _whole(n, factor), factor) for i, (n, factor) in enumerate(zip(x.shape, factors, strict=True))}


def _sampled(x: Tensor, axes: dict[int, Axis], sampling: Sampling, beyond: float) -> Tensor:
    changed = {i: axis for i, axis in axes.items() if axis.scale != 1 or axis.after != axis.before or _is_part(axis)}
    sizes = list(x.shape)
    for i, axis in changed.items():
        sizes[i] = axis.after
        if axis.after < 1 or axis.before < 1:
            raise ValueError(f"Resize from {axis.before} to {axis.after} positions.")
    bounded(*sizes)
    if (quick := _by_torch(x, changed, sampling, sizes)) is not None:
        return quick
    if sampling.mode != "nearest" and not x.is_floating_point():
        raise ValueError("Resize of whole numbers takes the nearest; how others are rounded, ONNX does not say.")
    for i, axis in changed.items():
        x = _along(x, i, taps(sampling, axis), beyond)
    return x


def _is_part(axis: Axis) -> bool:
    return (axis.start, axis.end) != (0.0, 1.0)


def _by_torch(x: Tensor, axes: dict[int, Axis], sampling: Sampling, sizes: Sequence[int]) -> Tensor | None:
    """torch's own interpolation, where it is the same; None where not."""
    rank = x.dim() - 2
    if rank not in _LINEAR or not axes or min(axes) < 2 or not x.is_floating_point():
        return None
    if sampling.mode == "nearest":
        whole = all(_repeats(taps(sampling, axis), axis) for axis in axes.values())
        return F.interpolate(x, size=list(sizes[2:]), mode="nearest") if whole else None
    exact = all(axis.scale * axis.before == axis.after for axis in axes.values())
    plain = not (sampling.antialias or sampling.exclude_outside) and sampling.transformation in _OF_TORCH
    alone = sampling.transformation == "pytorch_half_pixel" and any(axis.after == 1 for axis in axes.values())
    if not (exact and plain) or alone:
        return None
    mode = _LINEAR[rank]
    if sampling.mode == "cubic":
        if rank != 2 or sampling.cubic != -0.75:
            return None
        mode = "bicubic"
    return F.interpolate(x, size=list(sizes[2:]), mode=mode, align_corners=sampling.transformation == "align_corners")


def _repeats(found: Taps, axis: Axis) -> bool:
    """Whether every value is repeated equally often."""
    if axis.after % axis.before or found.outside is not None:
        return False
    return np.array_equal(found.places[:, 0], np.arange(axis.after) // (axis.after // axis.before))


def _along(x: Tensor, axis: int, found: Taps, beyond: float) -> Tensor:
    shape = [1] * x.dim()
    shape[axis] = len(found.places)
    if found.weights is None:
        y = x.index_select(axis, torch.from_numpy(found.places[:, 0]).to(x.device))
    else:
        matrix = np.zeros((len(found.places), x.shape[axis]))
        np.add.at(matrix, (np.arange(len(matrix))[:, None], found.places), found.weights)
        weights = torch.from_numpy(matrix).to(x.device, x.dtype)
        y = torch.movedim(torch.movedim(x, axis, -1) @ weights.t(), -1, axis)
    if found.outside is None:
        return y
    return torch.where(torch.from_numpy(found.outside).to(x.device).reshape(shape), beyond, y).to(x.dtype)


@operator("DepthToSpace", versions=(1, 11, 13, 28), attributes="blocksize mode")
def depth_to_space(node: Node) -> Function:
    """Channels moved into blocks of pixels."""
    n, columns_first = _block(node)

    def moved(x: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        shape = (n, n, channels // n**2) if not columns_first else (channels // n**2, n, n)
        order = (0, 3, 4, 1, 5, 2) if not columns_first else (0, 1, 4, 2, 5, 3)
        y = x.reshape(rows, *shape, height, width).permute(order)
        return y.reshape(rows, channels // n**2, height * n, width * n)

    return moved


@operator("SpaceToDepth", versions=(1, 13, 28), attributes="blocksize mode")
def space_to_depth(node: Node) -> Function:
    """Blocks of pixels moved into channels."""
    n, columns_first = _block(node)
    order = (0, 1, 3, 5, 2, 4) if columns_first else (0, 3, 5, 1, 2, 4)

    def moved(x: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        y = x.reshape(rows, channels, height // n, n, width // n, n).permute(order)
        return y.reshape(rows, channels * n**2, height // n, width // n)

    return moved


def _block(node: Node) -> tuple[int, bool]:
    n, mode = node.integer("blocksize"), node.text("mode", "DCR")
    if n < 1 or mode not in ("DCR", "CRD"):
        raise Unsupported(f"has a blocksize of {n} and the mode {mode!r}, which we do not know")
    return n, mode == "CRD"
