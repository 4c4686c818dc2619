"""Changes of data type. Knows the node interface's rule that float64 may stand for all floats in a pass."""

from torch import Tensor

from attributor.onnx_importer.node import Function, Node, operator


@operator("Cast", versions=(6, 9, 13, 19, 21, 23, 24, 25, 28), attributes="to saturate round_mode")
def cast(node: Node) -> Function:
    """x in the type `to`: floats are cut to whole numbers, and all but 0 is true.

    `saturate` and `round_mode` are of 8-bit floats only, which `dtype` refuses.
    """
    dtype = node.dtype("to")
    return lambda x: x.to(dtype())


@operator("CastLike", versions=(15, 19, 21, 23, 24, 25), attributes="saturate round_mode")
def cast_like(node: Node) -> Function:
    """x in the type of the other tensor, whose values do not matter."""
    return _cast_like


def _cast_like(x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)
