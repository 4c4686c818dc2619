"""Where the windows of a convolution or a pooling lie: strides, dilations and pads, as ONNX reads them.

Knows sizes and a node's attributes. Computes no tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from attributor.onnx_importer.node import Node, Unsupported

_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True, slots=True)
class Windows:
    """Per spatial axis. `begins`, `ends`: the pads given, which count only if `auto_pad` is NOTSET."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    auto_pad: str

    @property
    def same(self) -> bool:
        """Whether pads follow from the input's size."""
        return self.auto_pad.startswith("SAME")

    @property
    def symmetric(self) -> bool:
        """Whether torch's own padding, the same on both sides, does."""
        return not self.same and self.begins == self.ends

    def extents(self, kernel: Sequence[int]) -> tuple[int, ...]:
        """How far a window reaches, with its gaps."""
        return tuple((k - 1) * d + 1 for k, d in zip(kernel, self.dilations, strict=True))

    def pads(self, sizes: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
        """Before and behind, per axis, of an input of these sizes."""
        if not self.same:
            return list(zip(self.begins, self.ends, strict=True))
        found = []
        for size, stride, extent in zip(sizes, self.strides, self.extents(kernel), strict=True):
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
            less = total // 2
            found.append((less, total - less) if self.auto_pad == "SAME_UPPER" else (total - less, less))
        return found


def windows_of(node: Node, rank: int) -> Windows:
    """The windows that a node's attributes describe. Raises Unsupported for attributes that do not fit each other."""
    auto_pad = node.text("auto_pad", "NOTSET")
    if auto_pad not in _AUTO_PADS:
        raise Unsupported(f"has the auto_pad {auto_pad!r}, which we do not know")
    strides = _one_per_axis(node, "strides", rank)
    dilations = _one_per_axis(node, "dilations", rank)
    pads = (node.integers("pads") if auto_pad == "NOTSET" else None) or (0,) * (2 * rank)
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        raise Unsupported(f"has pads {list(pads)}; two numbers from 0 for each of {rank} axes are needed")
    return Windows(strides, dilations, pads[:rank], pads[rank:], auto_pad)


def _one_per_axis(node: Node, name: str, rank: int) -> tuple[int, ...]:
    found = node.integers(name) or (1,) * rank
    if len(found) != rank or min(found, default=1) < 1:
        raise Unsupported(f"has {name} {list(found)}; one number from 1 for each of {rank} axes is needed")
    return found


def flat_pads(pads: Sequence[tuple[int, int]]) -> list[int]:
    """As torch's `pad` takes them: the last axis first."""
    return [amount for pair in reversed(pads) for amount in pair]
