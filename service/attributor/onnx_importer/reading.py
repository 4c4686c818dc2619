"""The bytes of a file to a checked message: opsets that we have proven, functions inlined, nothing from other files.

Knows onnx. Computes nothing.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, inliner, shape_inference

from attributor.onnx_importer.compiling import schema_version
from attributor.onnx_importer.node import OPERATORS
from attributor.onnx_importer.offenders import Refused

log = logging.getLogger(__name__)

#: Newest opsets whose every operator in our tables was held against ONNX's own cases.
NEWEST_OPSETS: Mapping[str, int] = {"": 28, "ai.onnx.ml": 5}
#: ai.onnx before 7 has other broadcasting; exporters of the last seven years write 11 and up.
OLDEST_OPSET = 7
#: protobuf's own limit for one message is 2 GiB; larger models keep their weights in external data.
MOST_BYTES = 2**31 - 1
#: Nodes of a graph, with those of its bodies. Ours: a GPT-2 of 48 layers has about 20,000.
MOST_NODES = 200_000
#: Characters of a name. Ours: exporters write paths of modules, up to some hundreds.
MOST_NAME = 1_000


def read_model(data: bytes) -> ModelProto:
    """The message, with functions inlined that have no builder of ours. Raises Refused."""
    if len(data) > MOST_BYTES:
        raise Refused("The file is larger than 2 GiB; keep its weights in external data.")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise Refused("The file is not an ONNX model: its protobuf message cannot be read.") from None
    if not model.graph.node:
        raise Refused("The file is not an ONNX model, or its graph has no node.")
    if model.graph.sparse_initializer:
        raise Refused("The graph has sparse initializers, which are not taken; store them densely.")
    _require_opsets(model)
    nodes = all_nodes(model.graph)
    if len(nodes) > MOST_NODES:
        raise Refused(f"The graph has more than {MOST_NODES} nodes.")
    names = (name for node in nodes for name in (node.name, node.op_type, *node.input, *node.output))
    if any(len(name) > MOST_NAME for name in (*names, *(tensor.name for tensor in model.graph.initializer))):
        raise Refused(f"The graph has a name of more than {MOST_NAME} characters.")
    try:
        return _inlined(model)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # the inliner's words for a function that is wrong
        raise Refused(f"The functions of the file cannot be inlined ({type(error).__name__}: {error}).") from None


def opsets(model: ModelProto) -> dict[str, int]:
    """The version of each operator set, by domain."""
    return {"" if each.domain == "ai.onnx" else each.domain: each.version for each in model.opset_import}


def all_nodes(graph: GraphProto) -> Sequence[NodeProto]:
    """The nodes of a graph and of all bodies in it."""
    found: list[NodeProto] = []
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            found.append(node)
            waiting.extend(attribute.g for attribute in node.attribute if attribute.type == AttributeProto.GRAPH)
    return found


def _require_opsets(model: ModelProto) -> None:
    said = opsets(model)
    used = {"" if node.domain == "ai.onnx" else node.domain for node in all_nodes(model.graph)}
    used |= {"" if n.domain == "ai.onnx" else n.domain for f in model.functions for n in f.node}
    own = {function.domain for function in model.functions}
    for domain in sorted(used - own):
        if domain not in NEWEST_OPSETS:
            known = "ai.onnx and ai.onnx.ml"
            raise Refused(f"The graph uses operators of the domain {domain!r}; we compute those of {known}.")
        version = said.get(domain)
        oldest = OLDEST_OPSET if domain == "" else 1
        if version is None or not oldest <= version <= NEWEST_OPSETS[domain]:
            raise Refused(
                f"The file is of opset {version} of {domain or 'ai.onnx'}; we have proven {oldest} to "
                f"{NEWEST_OPSETS[domain]}. Export it again with one of these (opset_version)."
            )


def _inlined(model: ModelProto) -> ModelProto:
    if model.functions:
        model = inliner.inline_local_functions(model)
    said = opsets(model)
    wanted = sorted({("", node.op_type) for node in all_nodes(model.graph) if _needs_inlining(node, said)})
    if not wanted:
        return model
    # Some bodies depend on the types of their operands, which the inliner does not always find by itself.
    for typed in (False, True):
        try:
            given = shape_inference.infer_shapes(model) if typed else model
            return inliner.inline_selected_functions(given, wanted, exclude=False, inline_schema_functions=True)
        except MemoryError:
            raise
        except Exception as error:  # its assertions are RuntimeErrors, its other words are not listed anywhere
            log.debug("inlining %s: %s", wanted, error)
    return model  # the operators stay, and are refused by name


def _needs_inlining(node: NodeProto, said: Mapping[str, int]) -> bool:
    """Whether its schema says how it is made of others, and we have nothing better."""
    if node.domain not in ("", "ai.onnx"):
        return False
    declared = OPERATORS.get(("", node.op_type))
    version = schema_version(node, said)
    if version == 0 or (declared is not None and version in declared.versions):
        return False
    schema: Any = onnx.defs.get_schema(node.op_type, said[""], "")  # its stubs lack what it is asked here
    return bool(schema.has_function or schema.has_context_dependent_function)
