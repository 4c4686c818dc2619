"""Values out of nothing, or out of sizes."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.constants import to_tensor
from attributor.onnx_importer.node import Function, Node, Unsupported, operator
from attributor.onnx_importer.running import bounded


@operator(
    "Constant",
    versions=(1, 9, 11, 12, 13, 19, 21, 23, 24, 25),
    attributes="value value_float value_floats value_int value_ints",
)
def constant(node: Node) -> Function:
    """A value that is written in the node."""
    if "value" in node.attributes:
        value = node.array("value")
    elif "value_float" in node.attributes:
        value = np.array(node.number("value_float"), np.float32)
    elif "value_int" in node.attributes:
        value = np.array(node.integer("value_int"), np.int64)
    elif (numbers := node.numbers("value_floats")) is not None:
        value = np.array(numbers, np.float32)
    elif (integers := node.integers("value_ints")) is not None:
        value = np.array(integers, np.int64)
    else:
        raise Unsupported("holds no value")
    if value is None or value.dtype.kind not in "biuf":
        raise Unsupported("holds a value that is not of numbers")
    return lambda: value


@operator("ConstantOfShape", versions=(9, 20, 21, 23, 24, 25), attributes="value", host=(0,))
def constant_of_shape(node: Node) -> Function:
    """One number everywhere; a host value where all of it is known to be small."""
    value = node.array("value")
    fill = np.zeros(1, np.float32) if value is None else value
    if fill.dtype.kind not in "biuf":
        raise Unsupported(f"holds {fill.dtype}")

    def run(sizes: NDArray[np.int64]) -> Any:
        bounded(*sizes.tolist())
        return to_tensor(np.full(tuple(sizes.tolist()), fill.reshape(-1)[0]))

    return run


@operator("Range", versions=(11, 27), attributes="stash_type", host=(0, 1, 2))
def range_(node: Node) -> Function:
    """From start to limit in steps of delta; summed up in double precision, whatever the type."""
    if node.integer("stash_type", 1) != 1:
        raise Unsupported("has another stash_type than float")

    def run(start: Any, limit: Any, delta: Any) -> Tensor:
        count = max(int(np.ceil((limit.reshape(()).astype(np.float64) - start.reshape(())) / delta.reshape(()))), 0)
        bounded(count)
        wide = np.int64 if start.dtype.kind == "i" else np.float64
        first, step = start.reshape(()).astype(wide), delta.reshape(()).astype(wide)
        return to_tensor((first + np.arange(count, dtype=wide) * step).astype(start.dtype))

    return run


@operator("EyeLike", versions=(9, 22), attributes="dtype k")
def eye_like(node: Node) -> Function:
    """Ones on a diagonal."""
    k = node.integer("k", 0)
    dtype = node.dtype("dtype") if "dtype" in node.attributes else None

    def run(x: Tensor) -> Tensor:
        rows, columns = x.shape
        on = torch.arange(columns, device=x.device)[None] - torch.arange(rows, device=x.device)[:, None] == k
        return on.to(x.dtype if dtype is None else dtype())

    return run


@operator("OneHot", versions=(9, 11, 28), attributes="axis", host=(1,))
def one_hot(node: Node) -> Function:
    """`values[1]` where the index is, `values[0]` elsewhere; an index out of range is nowhere."""
    axis = node.integer("axis", -1)

    def run(indices: Tensor, depth: NDArray[Any], values: Tensor) -> Tensor:
        n = int(depth.reshape(-1)[0])
        bounded(n, *indices.shape)
        whole = indices.long()
        whole = torch.where(whole < 0, whole + n, whole)
        hot = whole[..., None] == torch.arange(n, device=indices.device)
        return torch.where(hot, values[1], values[0]).movedim(-1, axis)

    return run
