"""Names for the layers of a graph: the modules that an exporter wrote down, and every tensor.

torch's dynamo exporter keeps a node's module path in its metadata; its older exporter, in the node's name.
"""

import ast
from collections.abc import Iterable, Mapping
from math import prod

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, shape_inference
from torch import nn

from attributor.onnx_importer.compiling import Compiled

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_SCOPES = "pkg.torch.onnx.name_scopes"
#: A path of modules longer than this is not one.
_MOST_CHARACTERS = 4000
#: Initializers with more elements only count by their type: sizes in a graph come from small ones.
_SMALL = 1024


def layers_of(model: ModelProto, made: Compiled, inputs: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Readable names first, in the graph's order, then tensors by their names. Tensors that are known to hold no floats
    are left out, and so are those that do not change with the inputs."""
    others = _without_floats(model)
    # Those inside bodies are called as often as the body, or not at all: they are no layers.
    own = {name for node in model.graph.node for name in node.output} | inputs.keys()
    tensors = {n: part for n, part in {**inputs, **made.layers}.items() if n in own and n not in others}
    named = {path: tensors[name] for path, name in _module_outputs(model.graph, tensors).items()}
    return named | {name: part for name, part in tensors.items() if name not in named}


def _module_outputs(graph: GraphProto, tensors: Iterable[str]) -> dict[str, str]:
    """Per module path the tensor that the module returns: the last one made in it that is used outside."""
    known = set(tensors)
    scopes = [module_path(node) for node in graph.node]
    users: dict[str, list[str]] = {value.name: [""] for value in graph.output}
    for node, scope in zip(graph.node, scopes, strict=True):
        for name in node.input:
            users.setdefault(name, []).append(scope)
    found: dict[str, str] = {}
    for node, scope in zip(graph.node, scopes, strict=True):
        for name in node.output:
            for path in _prefixes(scope) if name in known else ():
                if any(not _within(user, path) for user in users.get(name, [])):
                    found[path] = name
    order = dict.fromkeys(path for scope in scopes for path in _prefixes(scope))
    return {path: found[path] for path in order if path in found}


def module_path(node: NodeProto) -> str:
    """The dotted name of the innermost module that a node was in; empty where nobody wrote it down."""
    said = {entry.key: entry.value for entry in node.metadata_props}
    if _SCOPES in said and len(said[_SCOPES]) < _MOST_CHARACTERS:
        try:
            scopes = ast.literal_eval(said[_SCOPES])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ""
        return str(scopes[-2]) if isinstance(scopes, list) and len(scopes) > 1 else ""
    parts = node.name[:_MOST_CHARACTERS].split("/")
    if len(parts) < 3 or parts[0]:
        return ""
    path, before = "", ""
    for part in parts[1:-1]:
        if before and part.startswith(f"{before}."):  # of a Sequential: "layers", then "layers.0"
            path = path[: len(path) - len(before)] + part
        else:
            path = f"{path}.{part}" if path else part
        before = part
    return path


def _prefixes(path: str) -> list[str]:
    parts = path.split(".") if path else []
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _within(scope: str, path: str) -> bool:
    return scope == path or scope.startswith(f"{path}.")


def _without_floats(model: ModelProto) -> set[str]:
    """Names of tensors whose type is known and is not of floats."""
    slim = ModelProto()
    slim.CopyFrom(onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import))
    slim.graph.node.extend(model.graph.node)
    slim.graph.input.extend(model.graph.input)
    slim.graph.output.extend(model.graph.output)
    slim.graph.name = "types"
    known = {value.name for value in slim.graph.input}
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _SMALL and tensor.data_location != TensorProto.EXTERNAL:
            slim.graph.initializer.append(tensor)
        elif tensor.name not in known:
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            slim.graph.input.append(info)
    try:
        inferred = shape_inference.infer_shapes(slim)
    except Exception:  # names only: a graph whose types cannot be told lists all of its tensors
        return set()
    values = [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values if value.type.HasField("tensor_type")}
    return {name for name, kind in kinds.items() if kind not in (*_FLOATS, TensorProto.UNDEFINED)}
