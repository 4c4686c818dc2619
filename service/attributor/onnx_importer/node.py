"""What an operator's builder is told of the node that it builds, and how it declares itself.

Knows onnx's attribute messages. Knows no graph: subgraphs come as something that can be run.

An operator is a *builder*: called once per node at import, it reads and judges the attributes, and returns the function
that computes the node in every pass. A function takes one argument per input of the node (None for an optional one that
is left out) and returns its output, or a tuple of outputs where the node has several.

Two kinds of value flow between functions. A `Tensor` is on the module's device. A *host* value is a numpy array:
shapes, axes, lengths and what is computed of them, so that no pass waits for the device to learn a size. Arguments
that the builder names in `host` always arrive as numpy arrays; all others arrive as tensors. A function may return
numpy arrays (Shape, Size); if all arguments of a node are host values, it is computed with tensors on the CPU, and what
it returns becomes host values again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import AttributeProto, numpy_helper
from torch import Tensor

Value = Tensor | NDArray[Any] | None
Function = Callable[..., Any]


class Unsupported(Exception):
    """Raised by a builder for a node that it cannot compute exactly; the text says what, in a clause."""


class Subgraph(Protocol):
    """The graph in an attribute (the body of If, Loop, Scan), compiled. Outer values that it uses are found by it."""

    @property
    def n_inputs(self) -> int:
        """How many inputs it declares."""

    @property
    def n_outputs(self) -> int:
        """How many outputs it declares."""

    def __call__(self, *inputs: Value) -> tuple[Value, ...]:
        """Its outputs. Host values stay host values."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node at import. `version`: of the operator's schema (its since_version) in the model's opset.

    `present`: which inputs are given; `wanted`: which outputs are used or named. `constants`: the values of inputs that
    are known at import (initializers and what follows from them alone), else None. `floating`: the dtype that stands
    for float32 in the pass that runs (float64 in the proof of gradients). `keep`: keeps an array that the builder made
    of constants; what it returns gives it in a pass, on the device and in the dtype of the module that runs.
    `subgraphs`: by attribute name.
    """

    op_type: str
    domain: str
    version: int
    name: str
    attributes: Mapping[str, AttributeProto]
    present: tuple[bool, ...]
    wanted: tuple[bool, ...]
    constants: tuple[NDArray[Any] | None, ...]
    floating: Callable[[], torch.dtype]
    keep: Callable[[NDArray[Any]], Callable[[], Tensor]]
    subgraphs: Mapping[str, Subgraph] = field(default_factory=dict)

    def integer(self, name: str, default: int | None = None) -> int:
        """An attribute of one whole number. Raises Unsupported if it is missing and has no default."""
        return int(self._value(name, AttributeProto.INT, default))

    def number(self, name: str, default: float | None = None) -> float:
        """An attribute of one number."""
        return float(self._value(name, AttributeProto.FLOAT, default))

    def text(self, name: str, default: str | None = None) -> str:
        """An attribute of text."""
        value = self._value(name, AttributeProto.STRING, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers; None if it is left out."""
        return tuple(int(n) for n in self._list(name, AttributeProto.INTS)) if name in self.attributes else None

    def numbers(self, name: str) -> tuple[float, ...] | None:
        """A list of numbers; None if it is left out."""
        return tuple(float(n) for n in self._list(name, AttributeProto.FLOATS)) if name in self.attributes else None

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of texts; None if it is left out."""
        if name not in self.attributes:
            return None
        return tuple(text.decode() for text in self._list(name, AttributeProto.STRINGS))

    def array(self, name: str) -> NDArray[Any] | None:
        """A tensor; None if it is left out."""
        if name not in self.attributes:
            return None
        tensor: onnx.TensorProto = self._value(name, AttributeProto.TENSOR, None)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:  # onnx would look for it wherever the process stands
            raise Unsupported(f"keeps its {name} in another file")
        return np.array(numpy_helper.to_array(tensor))

    def dtype(self, name: str, default: int | None = None) -> "Callable[[], torch.dtype]":
        """An attribute that names a data type: see `dtype_of`."""
        return dtype_of(self.integer(name, default), self.floating)

    def _value(self, name: str, kind: int, default: Any) -> Any:
        if name not in self.attributes:
            if default is None:
                raise Unsupported(f"has no attribute {name}, which it needs")
            return default
        attribute = self.attributes[name]
        if attribute.type != kind:
            raise Unsupported(f"has an attribute {name} of another type than its schema says")
        return onnx.helper.get_attribute_value(attribute)

    def _list(self, name: str, kind: int) -> Sequence[Any]:
        values: Sequence[Any] = self._value(name, kind, ())
        return values


#: ONNX's data types that we compute with. float32 is not among them: see `dtype_of`.
_DTYPES: Mapping[int, torch.dtype] = {
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.BOOL: torch.bool,
}


def dtype_of(number: int, floating: Callable[[], torch.dtype]) -> Callable[[], torch.dtype]:
    """The torch dtype of an ONNX data type, asked for in the pass: where float64 stands for float32, all floats are.

    Raises Unsupported for a type that we do not compute with.
    """
    if number == onnx.TensorProto.FLOAT:
        return floating
    if number not in _DTYPES:
        raise Unsupported(f"has data type {dtype_name(number)}, with which it is not computed")
    dtype = _DTYPES[number]
    if not dtype.is_floating_point:
        return lambda: dtype
    return lambda: torch.float64 if floating() is torch.float64 else dtype


def dtype_name(number: int) -> str:
    """ONNX's name of a data type, or its number if it has none."""
    known = onnx.TensorProto.DataType.keys(), onnx.TensorProto.DataType.values()
    return next((name for name, value in zip(*known, strict=True) if value == number), str(number))


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator as it is declared. `versions`: the since_versions of its schema that the builder was checked against;
    `attributes`: those that it reads or may ignore; `host`: the inputs that it needs as host values."""

    build: Callable[[Node], Function]
    versions: frozenset[int]
    attributes: frozenset[str]
    host: tuple[int, ...]


#: By (domain, operator type); "" is the domain ai.onnx.
OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(
    *op_types: str, versions: Sequence[int], attributes: str = "", host: tuple[int, ...] = (), domain: str = ""
) -> Callable[[Callable[[Node], Function]], Callable[[Node], Function]]:
    """Declares a builder for operator types. `attributes`: their names, separated by spaces."""

    def declare(build: Callable[[Node], Function]) -> Callable[[Node], Function]:
        for op_type in op_types:
            if (domain, op_type) in OPERATORS:
                raise RuntimeError(f"Operator {op_type} is declared twice. This is a bug.")
            declared = Operator(build, frozenset(versions), frozenset(attributes.split()), host)
            OPERATORS[(domain, op_type)] = declared
        return build

    return declare
