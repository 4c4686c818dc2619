"""Which tensor of an ONNX graph is the model's output, of what kind, and what its numbers are called.

Knows onnx's messages and the [output] table. Whether the draft is true is for the proof to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import NodeProto, TensorProto

from attributor.errors import BundleError
from attributor.registry.scaffold.drafts import Wishes
from attributor.registry.scaffold.inputs import DraftedInput
from attributor.registry.scaffold.manifest_text import Table
from attributor.registry.scaffold.onnx_graph import Graph, attribute

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
#: The opset since which a softmax without an axis runs along the last (onnx, Softmax-13); before it was the second.
_SOFTMAX_OF_THE_LAST_AXIS = 13
_SOFTMAXES = ("Softmax", "LogSoftmax")
_REGRESSORS = ("TreeEnsembleRegressor", "SVMRegressor", "LinearRegressor")
#: Attributes in which classifiers keep the names of their classes.
_CLASS_NAMES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")

#: Rows and labels; with positions between them.
_FLAT_AXES = 2
_SEQUENCE_AXES = 3

_DOUBLE_MAP = (
    "The graph is float64 and ends in a ZipMap, which takes float32 only, so that onnxruntime refuses it: convert the "
    "model with float32 rows and without the map: to_onnx(model, rows[:1].astype('float32'), "
    "options={'zipmap': False})."
)

_NAMES = {"classes": "logits", "sequence": "logits", "probabilities": "probabilities", "values": "values"}


@dataclass(frozen=True, slots=True)
class _Found:
    """A tensor, what kind of output it is (None: not yet told), and whether the manifest must name it."""

    tensor: str
    kind: str | None
    named: bool


def drafted_output(graph: Graph, inputs: Sequence[DraftedInput], wishes: Wishes, *, gradients: bool) -> Table:
    """The [output] table. Raises BundleError with what to add if the file does not say it."""
    found = _found(graph, gradients=gradients and wishes.output_kind in (None, "classes", "sequence"))
    dims = graph.dims(found.tensor)
    kind = wishes.output_kind or found.kind or _kind_of_dims(dims, wishes)
    if dims is not None and len(dims) != (_SEQUENCE_AXES if kind == "sequence" else _FLAT_AXES):
        raise BundleError(
            f"The output {found.tensor} has {len(dims)} axes with that of the rows; (rows, n) is needed, or, of a "
            "sequence, (rows, positions, n). Export the model with one more operation at its end."
        )
    table: dict[str, object] = {"name": _NAMES[kind]}
    if found.named:
        table["tensor"] = found.tensor
    table["kind"] = kind
    if kind == "sequence":
        table["positions"] = _positions(found.tensor, dims, inputs)
    return {**table, **_labels(graph, found.tensor, dims, wishes)}


def first_float_output(graph: Graph) -> str | None:
    """The first output of the graph that is a tensor of floats."""
    for value in graph.proto.output:
        if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type in _FLOATS:
            return str(value.name)
    return None


def _found(graph: Graph, *, gradients: bool) -> _Found:
    tensor = first_float_output(graph)
    of_classes = [node for node in graph.proto.node if node.op_type == "ZipMap"]
    if any(graph.is_double(node.input[0]) for node in of_classes):
        raise BundleError(_DOUBLE_MAP)
    named = tensor is None
    if tensor is None:
        if not of_classes:
            raise BundleError("The graph has no output of floats: a class number alone cannot be explained.")
        tensor = of_classes[0].input[0]
    maker = graph.maker_of(tensor)
    if maker is not None and maker.op_type in _SOFTMAXES and _over_labels(maker, graph):
        if gradients:  # the service applies the softmax, on the scale that a client asks for
            return _Found(maker.input[0], None, named=True)
        return _Found(tensor, "probabilities" if maker.op_type == "Softmax" else "values", named=named)
    if maker is not None and maker.op_type in _REGRESSORS:
        return _Found(tensor, "values", named=named)
    beside_classes = len(graph.proto.output) > 1 and graph.proto.output[0].name != tensor
    if of_classes or beside_classes or "prob" in tensor.lower():
        return _Found(tensor, "probabilities", named=named)
    return _Found(tensor, None, named=named)


def _over_labels(softmax: NodeProto, graph: Graph) -> bool:
    """Whether it runs along the last axis, for sure: before opset 13 its default was another."""
    dims = graph.dims(softmax.output[0])
    axis = attribute(softmax, "axis", -1 if graph.opset >= _SOFTMAX_OF_THE_LAST_AXIS else None)
    return axis == -1 or (dims is not None and axis in (None, len(dims) - 1) and len(dims) == _FLAT_AXES)


def _kind_of_dims(dims: Sequence[int | None] | None, wishes: Wishes) -> str:
    if dims is not None and len(dims) == _SEQUENCE_AXES:
        return "sequence"
    width = len(wishes.labels) or (dims[-1] if dims else None)
    return "values" if width == 1 else "classes"


def _positions(tensor: str, dims: Sequence[int | None] | None, inputs: Sequence[DraftedInput]) -> int:
    variable = [each.table["shape"] for each in inputs if each.table.get("variable")]
    if variable and isinstance(variable[0], list):
        return int(variable[0][0])
    if dims is None or dims[1] is None:
        raise BundleError(
            f"The file does not say how many positions the output {tensor} has; it has to be exported so."
        )
    return dims[1]


def _labels(graph: Graph, tensor: str, dims: Sequence[int | None] | None, wishes: Wishes) -> Table:
    width = dims[-1] if dims else None
    if wishes.labels:
        if width not in (None, len(wishes.labels)):
            raise BundleError(f"There are {len(wishes.labels)} labels; the output {tensor} has {width} numbers a row.")
        return {"labels": list(wishes.labels)}
    for node in graph.nodes:
        for name in _CLASS_NAMES:
            names = attribute(node, name, ())
            if isinstance(names, list) and names and width in (None, len(names)):
                return {"labels": _texts(names)}
    if (chosen := graph.chosen_from()) and width in (None, len(chosen)):
        return {"labels": _texts(chosen)}
    if width is None:
        raise BundleError(
            f"The file does not say how wide the output {tensor} is: add --label for each of its numbers."
        )
    return {"classes": width}


def _texts(names: Sequence[object]) -> list[str]:
    return [each.decode() if isinstance(each, bytes) else str(each) for each in names]
