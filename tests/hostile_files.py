"""ONNX files made to do harm: each is well-formed enough to be read, and must end in a refusal."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

#: Features of every file here, and its two outputs.
FEATURES, LABELS = 3, 2
_N = "n"


def value(name: str, kind: int = TensorProto.FLOAT, shape: Sequence[int | str] = (_N, LABELS)) -> ValueInfoProto:
    """A tensor of a graph."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[NodeProto],
    arrays: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 18,
    outputs: Sequence[ValueInfoProto] = (),
) -> bytes:
    """A file with input `x` (n, FEATURES) and output `y`."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [value("x", shape=(_N, FEATURES))],
        list(outputs) or [value("y")],
        [numpy_helper.from_array(array, name) for name, array in (arrays or {}).items()],
    )
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return made.SerializeToString()


WEIGHT = np.linspace(-1, 1, FEATURES * LABELS, dtype=np.float32).reshape(FEATURES, LABELS)


def linear(**arrays: np.ndarray) -> bytes:
    """A harmless one: y = x W."""
    return model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT, **arrays})


def huge_expand() -> bytes:
    """Asks for 400 GB of x."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["wide"]),
        helper.make_node("Expand", ["wide", "shape"], ["big"]),
        helper.make_node("ReduceSum", ["big", "one"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["sum", "w"], ["y"]),
    ]
    return model(nodes, {"one": np.array([1]), "shape": np.array([1, 10**11, 1]), "w": WEIGHT})


def huge_constant() -> bytes:
    """Asks for 400 GB at import, before any input is there."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "nothing"], ["y"]),
    ]
    return model(nodes, {"shape": np.array([10**11]), "w": WEIGHT})


def huge_product() -> bytes:
    """An outer product of 2^40 elements, which no single operand's size tells."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Range", ["zero", "many", "step"], ["row"]),
        helper.make_node("Unsqueeze", ["row", "one"], ["column"]),
        helper.make_node("Mul", ["row", "column"], ["square"]),
        helper.make_node("ReduceSum", ["square"], ["sum"], keepdims=0),
        helper.make_node("Add", ["z", "sum"], ["y"]),
    ]
    numbers = {"zero": np.float32(0), "many": np.float32(2**20), "step": np.float32(1)}
    return model(nodes, {"w": WEIGHT, "one": np.array([1]), **{n: np.array(v) for n, v in numbers.items()}})


def endless_loop() -> bytes:
    """Goes on for ever: no number of trips, and a condition that holds."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Mul", ["state", "half"], ["next"]),
        ],
        "body",
        [value("trip", TensorProto.INT64, ()), value("go", TensorProto.BOOL, ()), value("state")],
        [value("go_on", TensorProto.BOOL, ()), value("next")],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Loop", ["", "true", "z"], ["y"], body=body),
    ]
    return model(nodes, {"w": WEIGHT, "true": np.array(True), "half": np.array(0.5, np.float32)})


def loop_of_values() -> bytes:
    """Goes on as often as an input says: harmless for random inputs, endless for others."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["trip", "one"], ["count"]),
            helper.make_node("Cast", ["count"], ["so_far"], to=TensorProto.FLOAT),
            helper.make_node("Less", ["so_far", "most"], ["go_on"]),
            helper.make_node("Mul", ["state", "half"], ["next"]),
        ],
        "body",
        [value("trip", TensorProto.INT64, ()), value("go", TensorProto.BOOL, ()), value("state")],
        [value("go_on", TensorProto.BOOL, ()), value("next")],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Loop", ["", "true", "z"], ["y"], body=body),
    ]
    arrays = {"true": np.array(True), "half": np.array(0.5, np.float32), "one": np.array(1)}
    return model(nodes, {"w": WEIGHT, **arrays})


def size_of_values() -> bytes:
    """As large as an input says."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["many"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["many", "zero"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "nothing"], ["y"]),
    ]
    return model(nodes, {"w": WEIGHT, "zero": np.array([0])})


def count_of_values() -> bytes:
    """Counts, inside a branch, how many inputs are large: a size that follows from values, and is read as a shape."""
    branch = [
        helper.make_node("Greater", ["x", "half"], ["large"]),
        helper.make_node("NonZero", ["large"], ["out"]),
    ]
    bodies = [helper.make_graph(branch, name, [], [value("out", TensorProto.INT64, (2, "m"))]) for name in "ab"]
    nodes = [
        helper.make_node("If", ["true"], ["places"], then_branch=bodies[0], else_branch=bodies[1]),
        helper.make_node("Shape", ["places"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["count"]),
        helper.make_node("Cast", ["count"], ["many"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Mul", ["z", "many"], ["y"]),
    ]
    arrays = {"true": np.array(True), "half": np.array(0.5, np.float32), "one": np.array(1)}
    return model(nodes, {"w": WEIGHT, **arrays})


def doubling_loop() -> bytes:
    """Twice as large in every turn: no single node makes much of little."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Concat", ["s", "s"], ["next"], axis=1)],
        "body",
        [value("trip", TensorProto.INT64, ()), value("go", TensorProto.BOOL, ()), value("s", shape=("n", "m"))],
        [value("go_on", TensorProto.BOOL, ()), value("next", shape=("n", "m"))],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Loop", ["forty", "", "z"], ["long"], body=body),
        helper.make_node("ReduceSum", ["long", "one"], ["sum"]),
        helper.make_node("Mul", ["z", "sum"], ["y"]),
    ]
    return model(nodes, {"w": WEIGHT, "forty": np.array(40), "one": np.array([1])})


def external_constant(location: str) -> bytes:
    """A constant, not an initializer, that lies in another file."""
    made = ModelProto.FromString(model([helper.make_node("MatMul", ["x", "w"], ["y"])]))
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=WEIGHT.shape, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    made.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    return made.SerializeToString()


def long_name() -> bytes:
    """A name of a megabyte, which a report would carry."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z" * 10**6]),
        helper.make_node("Identity", ["z" * 10**6], ["y"]),
    ]
    return model(nodes, {"w": WEIGHT})


def external(location: str) -> bytes:
    """Takes its weights from another file."""
    made = ModelProto.FromString(linear())
    (tensor,) = made.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return made.SerializeToString()


def wrong_state() -> bytes:
    """An LSTM whose initial state has another batch than its input: torch would read past it."""
    hidden, rows = LABELS, 4 * LABELS
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["steps"]),
        helper.make_node("LSTM", ["steps", "w", "r", "", "", "h", "c"], ["", "last"], hidden_size=hidden),
        helper.make_node("Squeeze", ["last", "zero"], ["y"]),
    ]
    ones = {"w": (1, rows, FEATURES), "r": (1, rows, hidden), "h": (1, 7, hidden), "c": (1, 7, hidden)}
    return model(nodes, {"zero": np.array([0]), **{n: np.ones(s, np.float32) for n, s in ones.items()}})


def narrow_weight() -> bytes:
    """An LSTM whose recurrent weight is too narrow: torch would read out of bounds."""
    hidden, rows = LABELS, 4 * LABELS
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["steps"]),
        helper.make_node("LSTM", ["steps", "w", "r"], ["", "last"], hidden_size=hidden),
        helper.make_node("Squeeze", ["last", "zero"], ["y"]),
    ]
    ones = {"w": (1, rows, FEATURES), "r": (1, rows, 1)}
    return model(nodes, {"zero": np.array([0]), **{n: np.ones(s, np.float32) for n, s in ones.items()}})


def lying_size() -> bytes:
    """An initializer that says it has 10^12 elements and has six."""
    made = ModelProto.FromString(linear())
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend([10**6, 10**6])
    return made.SerializeToString()


def deep_nesting(depth: int = 400) -> bytes:
    """Branches within branches, deeper than any recursion should go."""
    graph: GraphProto = helper.make_graph([helper.make_node("Identity", ["z"], ["out"])], "g", [], [value("out")])
    for _ in range(depth):
        node = helper.make_node("If", ["true"], ["out"], then_branch=graph, else_branch=graph)
        if node.ByteSize() > 2**20:
            break
        graph = helper.make_graph([node], "g", [], [value("out")])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), *graph.node, helper.make_node("Identity", ["out"], ["y"])]
    return model(nodes, {"w": WEIGHT, "true": np.array(True)})


def cycle() -> bytes:
    """Two nodes that need each other."""
    nodes = [
        helper.make_node("Add", ["b", "z"], ["a"]),
        helper.make_node("Add", ["a", "z"], ["b"]),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    return model(nodes, {"w": WEIGHT})


def twice() -> bytes:
    """Two nodes give the same tensor; which of them counts would be anybody's guess."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    return model(nodes, {"w": WEIGHT, "v": -WEIGHT})


#: By name, and a word that its refusal must hold.
HOSTILE: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "huge expand": (huge_expand, "Expand"),
    "huge constant": (huge_constant, "ConstantOfShape"),
    "huge product": (huge_product, "Mul"),
    "endless loop": (endless_loop, "Loop"),
    "external data above the folder": (lambda: external("../../secret"), "none of the bundle's files"),
    "external data from the root": (lambda: external("/etc/passwd"), "none of the bundle's files"),
    "loop of values": (loop_of_values, "from the values of the model's inputs"),
    "size of values": (size_of_values, "from the values of the model's inputs"),
    "count of values": (count_of_values, "from the values of the model's inputs"),
    "doubling loop": (doubling_loop, "Concat"),
    "external constant": (lambda: external_constant("secret"), "in another file"),
    "long name": (long_name, "more than 1000 characters"),
    "lstm with a wrong state": (wrong_state, "initial state"),
    "lstm with a narrow weight": (narrow_weight, "LSTM"),
    "lying size": (lying_size, "w"),
    "deep nesting": (deep_nesting, ""),
    "cycle": (cycle, "nothing before it gives"),
    "same name twice": (twice, "twice"),
    "not a model": (lambda: b"\x08\x0a" + b"\xff" * 100, "cannot be read"),
    "empty": (lambda: b"", "no node"),
    "newer opset": (lambda: model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": WEIGHT}, opset=99), "opset"),
}
