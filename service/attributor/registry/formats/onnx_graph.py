"""Framework onnx, read: the bytes of a bundle's graph, which of its tensors are inputs and output, and the module.

The module is made by our importer, so that it can be differentiated. Knows onnx and bundles, no requests.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, TensorProto
from torch import nn

from attributor.errors import BundleError
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from attributor.registry.catalog import Bundle
from attributor.registry.files import read_verified
from attributor.registry.foreign import describe
from attributor.registry.proof.probe_rows import most_positions, probe_rows

#: How files with a graph's large tensors end: `model.onnx.data` of torch, `model.onnx_data` of others.
_EXTERNAL = "data"

#: To find out whether the graph's batch is free. Ours: a row with a neighbour on each side.
_ROWS = 3
#: Characters of a tensor's name in a refusal. Ours: a line's worth.
_SHOWN = 80

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})


@dataclass(frozen=True, slots=True)
class Graph:
    """A verified graph: `data`, as it lies on disk, and read; `inputs` in the manifest's order, and `output`: names of
    tensors."""

    file: str
    data: bytes
    model: ModelProto
    inputs: tuple[str, ...]
    output: str


def load(bundle: Bundle) -> nn.Module:
    """The graph as a module that can be differentiated.

    Raises BundleError for a file that changed, a graph that the importer refuses, a tensor that is not there.
    """
    graph = read_graph(bundle)
    external = external_data(bundle)
    try:
        module = import_model(graph.data, inputs=graph.inputs, output=graph.output, external=external)
        rows = probe_rows(bundle.info, {}, _ROWS, most_positions(bundle.info))
        module.settle(list(rows.values()))
    except Refused as error:
        raise BundleError(str(error), field="file") from None
    except MemoryError:
        raise
    except Exception as error:  # what torch raises when it runs somebody's graph
        raise BundleError(f"{graph.file} cannot be run: {describe(error)}.", field="file") from error
    return module


def read_graph(bundle: Bundle) -> Graph:
    """The graph and its tensors.

    Raises BundleError for a file that is no ONNX, a tensor that is not there, and one in another file that is no weight
    of the graph.
    """
    name = bundle.manifest.file
    if name is None:
        raise BundleError("A bundle of framework onnx needs file, the name of its graph.", field="file")
    data = read_verified(bundle.folder, name, bundle.manifest.files[name])
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise BundleError(f"{name} is not an ONNX file: {describe(error)}.", field="file") from None
    if not model.graph.output:
        raise BundleError(f"{name} is not an ONNX graph: it has no output.", field="file")
    _require_own_tensors(name, model)
    return Graph(name, data, model, _inputs(bundle, model), _output(bundle, model))


def _require_own_tensors(name: str, model: ModelProto) -> None:
    """Weights in other files are read from verified bytes. Others' code would look for the rest wherever the process
    was started, at any path that the graph names."""
    for tensor in chain(_tensors(model, but="graph"), _tensors(model.graph, but="initializer")):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise BundleError(
                f"{name} keeps the tensor {tensor.name[:_SHOWN]!r} in other files, where only the graph's own "
                "initializers may lie: save it as one file (onnx.save_model with save_as_external_data=False).",
                field="file",
            )


def _tensors(message: Message, *, but: str = "") -> Iterator[TensorProto]:
    """Every tensor in a message, however deep (in bodies, attributes, functions), except in its field `but`."""
    for field, value in message.ListFields():
        if field.message_type is None or field.name == but:
            continue
        for part in value if field.is_repeated else (value,):
            if isinstance(part, TensorProto):
                yield part
            else:
                yield from _tensors(part)


def external_data(bundle: Bundle) -> Mapping[str, bytes]:
    """The verified files in which a graph's large tensors may lie, by name. Raises BundleError for one that changed."""
    return {
        name: read_verified(bundle.folder, name, record)
        for name, record in bundle.manifest.files.items()
        if name.endswith(_EXTERNAL)
    }


def _inputs(bundle: Bundle, model: ModelProto) -> tuple[str, ...]:
    """In the manifest's order. Old graphs list their weights among the inputs: those may stay unnamed."""
    weights = {tensor.name for tensor in model.graph.initializer}
    known = [each.name for each in model.graph.input if each.name not in weights]
    named = {spec.name: bundle.manifest.input_tensors.get(spec.name, spec.name) for spec in bundle.info.inputs}
    for name, tensor in named.items():
        if tensor not in known:
            raise BundleError(
                f"The graph has no input {tensor!r}; name one of its inputs ({', '.join(known)}) by tensor.",
                field=f"inputs.{name}.tensor",
            )
    if missing := [tensor for tensor in known if tensor not in named.values()]:
        raise BundleError(f"The graph also takes {', '.join(missing)}: declare an input for it.", field="inputs")
    return tuple(named.values())


def _output(bundle: Bundle, model: ModelProto) -> str:
    """The tensor that the manifest names, an output or any inner one; else the first float output.

    A ZipMap, which puts probabilities into dictionaries, is passed over: its input is the tensor.
    """
    if asked := bundle.manifest.output_tensor:
        return asked
    unzipped: dict[str, str] = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "ZipMap"}
    for each in model.graph.output:
        if each.name in unzipped:
            return unzipped[each.name]
        if each.type.tensor_type.elem_type in _FLOATS:
            return str(each.name)
    raise BundleError("The graph has no float output; name one of its tensors by output.tensor.", field="output.tensor")
