import numpy as np
import onnx
import pytest
from attributor.errors import BundleError
from attributor.registry.catalog import open_bundle
from attributor.registry.formats.onnx_bounds import require_bounded
from attributor.registry.loader import load_module
from format_bundles import cnn_graph, tree_bundle, tree_graph
from hostile_files import WEIGHT, model, value
from onnx import TensorProto, helper

node = helper.make_node

#: Numbers in `n` that follow from what x holds, in forms that operators take for a size.
FROM_VALUES = [node("ReduceMax", ["x"], ["top"], keepdims=0), node("Cast", ["top"], ["n"], to=TensorProto.INT64)]
LIST = [*FROM_VALUES, node("Unsqueeze", ["n", "zero"], ["size"])]
CONSTANTS = {
    "w": WEIGHT,
    "zero": np.array([0]),
    "nought": np.array(0),
    "one": np.array(1),
    "pair": np.array([0.0, 1.0], np.float32),
    "ten": np.array([10]),
    "true": np.array(True),
    "wide": np.ones(8, np.float32),
}


def graph(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """`nodes`, beside y = x W."""
    return onnx.load_model_from_string(model([*nodes, node("MatMul", ["x", "w"], ["y"])], CONSTANTS))


GROWING = {
    "Expand": [*LIST, node("Expand", ["x", "size"], ["big"])],
    "Tile": [*LIST, node("Tile", ["wide", "size"], ["big"])],
    "ConstantOfShape": [*LIST, node("ConstantOfShape", ["size"], ["big"])],
    "Range": [*FROM_VALUES, node("Range", ["nought", "n", "one"], ["big"])],
    "Pad": [*FROM_VALUES, node("Concat", ["n", "n"], ["both"], axis=0), node("Pad", ["wide", "both"], ["big"])],
    "OneHot": [*FROM_VALUES, node("OneHot", ["ten", "n", "pair"], ["big"])],
    "Resize": [node("Resize", ["x", "", "x"], ["big"])],
    "Upsample": [node("Upsample", ["x", "x"], ["big"])],
    "TopK": [*LIST, node("TopK", ["wide", "size"], ["big", "where"])],
    "Reshape": [*LIST, node("Reshape", ["wide", "size"], ["big"])],
    "Slice": [*LIST, node("Slice", ["wide", "zero", "size"], ["big"])],
    # It shrinks, but on the rows of a trial to nothing, and on others to so much that its product with itself is huge.
    "NonZero": [node("NonZero", ["x"], ["big"])],
    "Compress": [node("Cast", ["x"], ["b"], to=TensorProto.BOOL), node("Compress", ["wide", "b"], ["big"])],
    "RandomUniform": [
        node("RandomUniform", [], ["r"], shape=[1]),
        node("Cast", ["r"], ["s"], to=TensorProto.INT64),
        node("ConstantOfShape", ["s"], ["big"]),
    ],
}


@pytest.mark.parametrize("name", GROWING)
def test_a_size_that_follows_from_values_is_refused_with_its_node(name):
    last = GROWING[name][-1]
    with pytest.raises(BundleError, match=rf"Node 'big' \({last.op_type}\) takes its size from") as caught:
        require_bounded(graph(*GROWING[name]))
    assert caught.value.field == "file"


def test_a_size_that_follows_from_constants_and_shapes_is_not():
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["rows"]),
        node("Mul", ["rows", "ten"], ["many"]),
        node("ConstantOfShape", ["many"], ["zeros"]),
        node("Tile", ["wide", "ten"], ["tiled"]),
        node("Expand", ["x", "shape"], ["same"]),
        node("Size", ["same"], ["size"]),
        node("Range", ["nought", "size", "one"], ["places"]),
        node("NonZero", ["places"], ["there"]),
        node("TopK", ["x", "zero"], ["best", "where"]),
        node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array([3, 1]))),
        node("Reshape", ["wide", "c"], ["shaped"]),
        node("Clip", ["x", "", ""], ["clipped"]),
        node("ReduceSum", ["x", ""], ["sum"]),
    ]
    require_bounded(graph(*nodes))


@pytest.mark.parametrize("op_type", ["If", "Loop", "SequenceMap"])
def test_a_node_with_a_graph_of_its_own_is_refused(op_type):
    body = helper.make_graph([node("Identity", ["x"], ["out"])], "body", [], [value("out")])
    with pytest.raises(BundleError, match=rf"Node 'turns' \({op_type}\) has a graph of its own"):
        require_bounded(graph(node(op_type, ["true"], ["out"], name="turns", body=body)))


def scan(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A Scan over the rows of x; `nodes` in its body make `out` of `row`."""
    body = helper.make_graph(list(nodes), "body", [value("row", shape=(3,))], [value("out", shape=(None,))])
    return graph(node("Scan", ["x"], ["scanned"], body=body, num_scan_inputs=1))


def test_a_scan_takes_as_many_turns_as_an_axis_is_long_so_only_its_body_is_looked_at():
    require_bounded(scan(node("Tile", ["row", "ten"], ["out"])))
    with pytest.raises(BundleError, match=r"Node 'out' \(NonZero\) takes its size from 'row'"):
        require_bounded(scan(node("NonZero", ["row"], ["out"])))


def test_a_name_in_a_body_does_not_pass_for_the_constant_of_that_name_around_it():
    nodes = [node("Cast", ["row"], ["ten"], to=TensorProto.INT64), node("Tile", ["row", "ten"], ["out"])]
    with pytest.raises(BundleError, match=r"Node 'out' \(Tile\) takes its size from 'ten'"):
        require_bounded(scan(*nodes))


def test_what_a_scan_makes_is_of_values_though_its_operands_are_constants():
    body = helper.make_graph(
        [node("ReduceMax", ["x"], ["top"]), node("Cast", ["top"], ["out"], to=TensorProto.INT64)],
        "body",
        [value("turn", shape=())],
        [value("out", TensorProto.INT64, ())],
    )
    turns = node("Scan", ["wide"], ["tops"], body=body, num_scan_inputs=1)
    with pytest.raises(BundleError, match=r"Node 'big' \(ConstantOfShape\)"):
        require_bounded(graph(turns, node("ConstantOfShape", ["tops"], ["big"])))


def test_an_operator_of_others_is_refused():
    with pytest.raises(BundleError, match=r"Node 'big' \(ExpandDims\) is of 'com\.microsoft'"):
        require_bounded(graph(node("ExpandDims", ["x", "zero"], ["big"], domain="com.microsoft")))


def test_a_function_of_the_graphs_own_is_refused():
    hiding = graph()
    inner = helper.make_function("own", "Big", ["x"], ["y"], [node("NonZero", ["x"], ["y"])], hiding.opset_import)
    hiding.functions.append(inner)
    with pytest.raises(BundleError, match=r"functions of its own \(Big\).*inline_local_functions"):
        require_bounded(hiding)


def test_a_model_that_is_served_without_gradients_is_held_to_it(tmp_path):
    def growing(trees):
        trees.graph.node.extend(
            [
                node("ReduceMax", ["X"], ["top"], keepdims=0),
                node("Cast", ["top"], ["n"], to=TensorProto.INT64),
                node("OneHot", ["label", "n", "values"], ["big"]),
            ]
        )
        trees.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0.0, 1.0], np.float32), "values"))

    trees = onnx.load_model_from_string(tree_graph()[0])
    growing(trees)
    with pytest.raises(BundleError, match=r"Node 'big' \(OneHot\)"):
        load_module(open_bundle(tree_bundle(tmp_path, graph=trees.SerializeToString())))


@pytest.mark.parametrize("dynamo", [False, True])
def test_graphs_of_exporters_are_taken(dynamo):
    require_bounded(onnx.load_model_from_string(cnn_graph(dynamo=dynamo)))


def test_models_of_scikit_learn_are_taken():
    """Of the kinds that have no gradients, and of those whose converters write the most of elementary operators."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import IsolationForest, RandomForestRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler
    from sklearn.svm import SVR

    random = np.random.default_rng(5)
    rows = random.normal(size=(40, 3)).astype(np.float32)
    classes = (rows[:, 0] > 0).astype(int)
    for kind in (
        IsolationForest(n_estimators=3),
        RandomForestRegressor(n_estimators=3),
        GaussianProcessRegressor(),
        KNeighborsClassifier(3),
        SVR(),
        make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression()),
    ):
        kind.fit(rows, classes)
        require_bounded(to_onnx(kind, rows[:1], target_opset={"": 18, "ai.onnx.ml": 3}))
