"""Which operators are affine in one tensor, and the chain of them that begins at an input of a recorded pass.

Knows torch's operators by the names of their schemas, and records; knows no modules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor

from attributor.runtimes.transforms.recording import Operation, Record

#: Affine in their first argument, whatever else they are given, so long as that is constant.
_IN_FIRST = frozenset(
    f"aten::{name}"
    for name in (
        # the same numbers elsewhere
        *("view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "squeeze", "unsqueeze"),
        *("expand", "slice", "select", "narrow", "clone", "alias", "flip", "roll", "repeat", "unfold", "im2col"),
        *("pixel_shuffle", "pixel_unshuffle", "contiguous", "constant_pad_nd"),
        *("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d"),
        # weighted sums
        *("neg", "sum", "mean", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
        *("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
        *("div", "add", "sub", "rsub", "mul", "mm", "bmm", "linear", "convolution"),
    )
)
#: Affine in their second argument, too (addmm(bias, mat1, mat2) in that only, with a constant bias).
_IN_SECOND = frozenset({"aten::add", "aten::sub", "aten::mul", "aten::addmm", "aten::baddbmm", "aten::rsub"})
#: By stored statistics, in their first argument; the place of the flag that says otherwise.
_NORMS = {
    "aten::native_batch_norm": 5,
    "aten::cudnn_batch_norm": 5,
    "aten::_native_batch_norm_legit_no_training": None,
}


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One operator of a chain. `number`: in the record; `work`: multiplications over all rows up to and with it."""

    number: int
    result: Tensor
    work: int


def affine_chain(seen: Record, start: Tensor) -> list[Link]:
    """Operators from an input on, each the only one that takes what the one before it gave.

    All else that they take is constant. Ends before the first operator that is not affine or writes over its argument,
    and where a tensor is taken twice (which the last one's result may be).
    """
    links: list[Link] = []
    tensor, work = start, 0
    while not seen.is_output(tensor):
        takers = seen.takers(tensor)
        if len(takers) != 1:
            break
        operation = seen.operations[takers[0]]
        result = _affine_result(seen, operation, tensor)
        if result is None or _is_overwritten(seen, tensor):
            break
        work += _multiplications(operation, result)
        links.append(Link(takers[0], result, work))
        tensor = result
    return links


def _is_overwritten(seen: Record, tensor: Tensor) -> bool:
    """Whether any operator writes into the tensor's memory."""
    return any(seen.operations[number].mutates for number in seen.users(tensor))


def _affine_result(seen: Record, operation: Operation, tensor: Tensor) -> Tensor | None:
    """What the operation makes of the tensor, if it is affine in it and needs nothing else of the inputs."""
    others = [given for given in operation.given if given is not tensor]
    once = len(operation.given) - len(others) == 1
    if operation.mutates or not once or any(seen.depends(given) for given in others):
        return None
    result = operation.result
    if operation.name in _NORMS:
        flag = _NORMS[operation.name]
        if operation.args[0] is not tensor or (flag is not None and operation.args[flag]):
            return None
        result = result[0]
    elif not _is_affine(operation, tensor):
        return None
    return result if isinstance(result, Tensor) and result.dtype == tensor.dtype else None


def _is_affine(operation: Operation, tensor: Tensor) -> bool:
    name, args = operation.name, operation.args
    if name == "aten::_to_copy":
        return args[0] is tensor
    if operation.kwargs.get("rounding_mode"):
        return False  # floor and truncation
    if name in _IN_FIRST and args and args[0] is tensor:
        return True
    if name in _IN_SECOND and len(args) > 1 and args[1] is tensor:
        return True
    return name == "aten::cat" and any(part is tensor for part in args[0])


def _multiplications(operation: Operation, result: Tensor) -> int:
    if operation.name == "aten::convolution":
        weight, transposed = operation.args[1], operation.args[6]
        return int(result.numel() * prod(weight[:, 0].shape if transposed else weight[0].shape))
    if operation.name in ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear"):
        factor = operation.args[1 if operation.name in ("aten::addmm", "aten::baddbmm") else 0]
        return int(result.numel() * factor.shape[-1])
    return 0


def float_rows(tensor: Tensor, n_rows: int) -> bool:
    """Whether the first axis may be that of the rows."""
    return tensor.is_floating_point() and tensor.dim() > 1 and len(tensor) == n_rows


def equal_forms(records: Sequence[Record]) -> bool:
    """Whether all passes took the same way, and none by reading values."""
    return len({record.form for record in records}) == 1 and not any(record.is_read for record in records)
