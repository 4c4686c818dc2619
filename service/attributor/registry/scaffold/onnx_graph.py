"""What a scaffold asks of an ONNX graph: who makes a tensor, who looks ids up, how large an output is.

Knows onnx's messages. Knows nothing of manifests.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

from attributor.errors import BundleError

#: An embedding is a table: ids by dimensions.
_TABLE_AXES = 2
#: Operators that hand on what they are given.
_PASSING = ("Identity", "Cast")
#: Inputs that are looked at here.
_LEAST_INPUTS = {
    "Identity": 1,
    "Cast": 1,
    "Gather": 2,
    "Softmax": 1,
    "LogSoftmax": 1,
    "ZipMap": 1,
    "ArrayFeatureExtractor": 2,
}


class Graph:
    """A graph with its nodes by what they make and use."""

    def __init__(self, model: ModelProto) -> None:
        self.proto = proto = model.graph
        for node in proto.node:
            if len(node.input) < _LEAST_INPUTS.get(node.op_type, 0) or not node.output:
                raise BundleError(f"Node {node.name or node.op_type!r} has not the inputs and outputs that it needs.")
        self._inferred = _inferred(model)
        self.initializers: Mapping[str, TensorProto] = {tensor.name: tensor for tensor in proto.initializer}
        self.maker: Mapping[str, NodeProto] = {name: node for node in proto.node for name in node.output if name}
        #: The version of the operators of ai.onnx.
        self.opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=1)

    @property
    def nodes(self) -> Sequence[NodeProto]:
        """All nodes, also those in the bodies of If, Loop and Scan."""
        found: list[NodeProto] = []
        waiting = [self.proto]
        while waiting:
            for node in waiting.pop().node:
                found.append(node)
                waiting.extend(each.g for each in node.attribute if each.type == AttributeProto.GRAPH)
        return found

    def lookup(self, name: str) -> tuple[int, str] | None:
        """Rows of the table in which the ids `name` are looked up, and the tensor of what is found there."""
        names = {name}
        for node in self.proto.node:  # in an order in which each comes after what it uses
            if node.op_type in _PASSING and node.input[0] in names:
                names.add(node.output[0])
            if node.op_type != "Gather" or node.input[1] not in names or attribute(node, "axis", 0) != 0:
                continue
            table = self.initializers.get(node.input[0])
            if table is not None and len(table.dims) == _TABLE_AXES and table.data_type != TensorProto.INT64:
                return table.dims[0], node.output[0]
        return None

    def maker_of(self, name: str) -> NodeProto | None:
        """The node that makes a tensor, through those that hand it on as it is."""
        node = self.maker.get(name)
        for _ in self.proto.node:  # in a file of anybody they may go round in a circle
            if node is None or node.op_type != "Identity":
                break
            node = self.maker.get(node.input[0])
        return node

    def chosen_from(self) -> Sequence[object]:
        """The constants of which the graph chooses one a row by an ArgMax: a classifier's classes. Empty if none."""
        for node in self.proto.node:
            if node.op_type != "ArrayFeatureExtractor":
                continue
            classes, chosen = self.initializers.get(node.input[0]), self.maker_of(node.input[1])
            if classes is None or chosen is None or chosen.op_type != "ArgMax":
                continue
            if len(classes.dims) == 1 and classes.data_location != TensorProto.EXTERNAL:
                return list(onnx.numpy_helper.to_array(classes).tolist())
        return ()

    def dims(self, name: str) -> list[int | None] | None:
        """The shape of an output or inner tensor, None for what is open, as far as the file says or onnx infers it."""
        for kind in self._types(name):
            if kind.HasField("shape"):
                return [dim.dim_value or None for dim in kind.shape.dim]
        return None

    def is_double(self, name: str) -> bool:
        """Whether an output or inner tensor is float64, as far as the file says or onnx infers it."""
        return any(kind.elem_type == TensorProto.DOUBLE for kind in self._types(name))

    def _types(self, name: str) -> Iterator[TypeProto.Tensor]:
        for graph in (self._inferred, self.proto):
            for value in (*graph.output, *graph.value_info):
                if value.name == name:
                    yield value.type.tensor_type


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    for each in node.attribute:
        if each.name == name:
            return onnx.helper.get_attribute_value(each)
    return default


def _inferred(model: ModelProto) -> GraphProto:
    try:
        return onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # the file's own fault, which whoever runs it will name better
        return model.graph
