"""What a graph that onnxruntime runs unwatched may cost: as much for one row's values as for another's.

A trial runs such a graph on some rows. Its verdict holds for others only if no tensor's size and no number of turns
follows from values: then all that is computed follows from the shapes of the inputs. Knows onnx, no bundles.
"""

from collections.abc import Mapping

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from attributor.errors import BundleError

#: Of onnx itself. Others' operators may take any time, and hide sizes in ways that are nowhere written down.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})

#: By operator, which of its operands give the shape of a result, or the number of steps that it takes. Those by which a
#: result only shrinks (NonZero) are among them: a product of two such results grows with the square of what they hold.
_SIZED: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "DFT": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "ImageDecoder": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "NonMaxSuppression": (0, 1, 2, 3, 4),
    "NonZero": (0,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "RoiAlign": (1,),
    "STFT": (1, 3),
    "SequenceAt": (1,),
    "SequenceErase": (1,),
    "SequenceInsert": (2,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "StringConcat": (0, 1),
    "StringNormalizer": (0,),
    "StringSplit": (0,),
    "Tile": (1, 2),
    "TopK": (1,),
    "Unique": (0,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
}

#: What gives the shape of its operand, whatever that holds.
_OF_SHAPES = frozenset({"Shape", "Size"})
#: What gives other values at every call; and all that begin with Random.
_CHANCE = frozenset({"Bernoulli", "Dropout", "Multinomial"})
_OF_GRAPHS = frozenset({AttributeProto.GRAPH, AttributeProto.GRAPHS})
#: The one operator whose body runs as often as an axis of its operand is long. The distances of scikit-learn's
#: neighbours are written with it.
_SCAN = "Scan"
#: Characters of a node's name in a refusal. Ours: a line's worth.
_SHOWN = 80


def require_bounded(model: ModelProto) -> None:
    """Raises BundleError, naming the node, where a size or a number of turns could follow from the values of inputs."""
    if model.functions:
        raise _wrong(
            f"The graph calls functions of its own ({model.functions[0].name[:_SHOWN]}), which may not be in a model "
            "without gradients: save it with them inlined (onnx.inliner.inline_local_functions)."
        )
    _require_bounded(model.graph, _weights(model.graph))


def _require_bounded(graph: GraphProto, fixed: set[str]) -> None:
    """`fixed`: names of what is the same for all inputs of one shape; those that the graph makes are added."""
    for node in graph.node:
        _require_plain(node)
        for place in _SIZED.get(node.op_type, ()):
            if place < len(node.input) and node.input[place] not in fixed:
                raise _wrong(
                    f"Node {_name(node)} ({node.op_type}) takes its size from {node.input[place][:_SHOWN]!r}, which "
                    "follows from what the inputs hold: in a model without gradients only constants and the shapes of "
                    "tensors may give a size, or one request could take all memory."
                )
        for attribute in node.attribute:
            if _has_graph(attribute):
                _require_bounded(attribute.g, _inside(attribute.g, fixed))
        if _is_fixed(node, fixed):
            fixed.update(node.output)


def _is_fixed(node: NodeProto, fixed: set[str]) -> bool:
    if node.op_type in _OF_SHAPES:
        return True
    # What a body takes from around it is not among its node's operands.
    by_chance = node.op_type in _CHANCE or node.op_type.startswith("Random") or node.op_type == _SCAN
    return not by_chance and fixed.issuperset(node.input)


def _inside(body: GraphProto, around: set[str]) -> set[str]:
    """What is fixed where a body begins: what is so around it, but for names that mean something of its own there."""
    own = {each.name for each in body.input} | {name for node in body.node for name in node.output}
    return ((around | _weights(body)) - own) | {""}


def _require_plain(node: NodeProto) -> None:
    if node.domain not in _DOMAINS:
        raise _wrong(
            f"Node {_name(node)} ({node.op_type[:_SHOWN]}) is of {node.domain[:_SHOWN]!r}; a model without gradients "
            "is made of ONNX's own operators."
        )
    if node.op_type != _SCAN and any(_has_graph(attribute) for attribute in node.attribute):
        raise _wrong(
            f"Node {_name(node)} ({node.op_type[:_SHOWN]}) has a graph of its own, which may not be in a model without "
            "gradients: how often it runs could follow from what the inputs hold."
        )


def _has_graph(attribute: AttributeProto) -> bool:
    return attribute.type in _OF_GRAPHS or attribute.HasField("g") or len(attribute.graphs) > 0


def _weights(graph: GraphProto) -> set[str]:
    """Their names, and the empty one, which stands for an operand that is left out."""
    dense, sparse = graph.initializer, graph.sparse_initializer
    return {"", *(tensor.name for tensor in dense), *(tensor.values.name for tensor in sparse)}


def _name(node: NodeProto) -> str:
    return repr((node.name or next(iter(node.output), ""))[:_SHOWN])


def _wrong(what: str) -> BundleError:
    return BundleError(what, field="file")
