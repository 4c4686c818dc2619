"""Pictures sampled at places that a tensor says, and such places from affine maps."""

from typing import Any

import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.running import bounded

#: ONNX's names, and those of its first version, in torch's words.
_MODES = {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest", "cubic": "bicubic", "bicubic": "bicubic"}


@operator("GridSample", versions=(16, 20, 22), attributes="align_corners mode padding_mode")
def grid_sample(node: Node) -> Function:
    """A picture's values at the places of a grid."""
    said, padding = node.text("mode", "linear"), node.text("padding_mode", "zeros")
    if said not in _MODES or padding not in ("zeros", "border", "reflection"):
        raise Unsupported(f"samples by {said!r} with {padding!r} around, which we do not know")
    mode, align = _MODES[said], node.integer("align_corners", 0) != 0

    def sampled(x: Tensor, grid: Tensor) -> Tensor:
        return F.grid_sample(x, grid, mode, padding, align)

    return sampled


@operator("AffineGrid", versions=(20,), attributes="align_corners", host=(1,))
def affine_grid(node: Node) -> Function:
    """The places that affine maps send the places of a picture to."""
    align = node.integer("align_corners", 0) != 0

    def grid(theta: Tensor, size: NDArray[Any]) -> Tensor:
        sizes = [int(n) for n in size]
        bounded(*sizes)
        return F.affine_grid(theta, sizes, align)

    return grid
