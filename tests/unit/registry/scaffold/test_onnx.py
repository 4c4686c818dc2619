"""Drafts of ONNX files: made by both kinds of exporters that people use, and by hand where these make none such."""

import warnings

import numpy as np
import onnx
import pytest
import torch
from attributor.errors import BundleError
from attributor.jobs.model import Framework, InputKind, OutputKind
from attributor.registry.registry import check_bundles
from attributor.registry.scaffold.drafts import Wishes
from attributor.registry.scaffold.onnx import draft_onnx
from drafted import placed
from onnx import TensorProto, helper, numpy_helper
from torch import nn


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, ids, mask):
        there = mask[..., None].float()
        return self.head((self.table(ids) * there).sum(1) / there.sum(1))


def exported(path, module, example, names, axes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), example, str(path), dynamo=False, input_names=names, output_names=["y"], dynamic_axes=axes
        )
    return path


@pytest.fixture
def text(tmp_path):
    ids = torch.zeros(2, 5, dtype=torch.long)
    axes = {name: {0: "rows", 1: "positions"} for name in ("ids", "attention_mask")}
    return exported(tmp_path / "text.onnx", Reader(), (ids, torch.ones_like(ids)), ["ids", "attention_mask"], axes)


@pytest.fixture
def picture(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    axes = {"input.1": {0: "rows"}}
    return exported(
        tmp_path / "cnn.onnx", nn.Sequential(net, nn.Softmax(-1)), (torch.zeros(2, 3, 8, 8),), ["input.1"], axes
    )


def of_scikit_learn(path, model, classes=3, dtype=np.float32, **options):
    from skl2onnx import to_onnx

    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 4)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, np.digitize(rows[:, 0], [-0.5, 0.5]) if classes else rows[:, 0] * 2)
        graph = to_onnx(model, rows[:1].astype(dtype), options={id(model): options} if options else None)
    path.write_bytes(graph.SerializeToString())
    return path


NONE = Wishes()


def bundle_of(path, tmp_path, wishes=NONE):
    draft = draft_onnx(path, wishes)
    return draft, placed(draft, tmp_path / "models", "m", "1", path.name)


@pytest.fixture(autouse=True)
def _models(tmp_path):
    (tmp_path / "models").mkdir()


def test_a_picture_net_gives_its_logits_not_their_softmax(tmp_path, picture):
    draft, bundle = bundle_of(picture, tmp_path)
    (spec,) = bundle.info.inputs
    assert (spec.name, spec.kind, spec.shape, spec.value_range) == ("input_1", InputKind.IMAGE, (3, 8, 8), (0, 1))
    assert bundle.manifest.input_tensors == {"input_1": "input.1"}
    assert bundle.info.output.kind is OutputKind.CLASSES
    assert "Gemm" in bundle.manifest.output_tensor
    assert "normalise" in draft.remarks[0]
    assert draft.baselines["black"][1] == {"input_1": "black"}
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None


def test_ids_are_found_where_they_are_looked_up(tmp_path, text):
    with pytest.raises(BundleError, match=r"Add --shape ids=N with numbers"):
        draft_onnx(text, Wishes())
    _, bundle = bundle_of(text, tmp_path, Wishes(shapes={"ids": (16,)}))
    ids, mask = bundle.info.inputs
    assert (ids.kind, ids.vocabulary, ids.variable, ids.shape) == (InputKind.TOKENS, 11, True, (16,))
    assert "Gather" in ids.embedding
    assert (mask.shape, mask.variable, mask.attributed, mask.vocabulary) == ((16,), True, False, 2)
    assert bundle.info.baselines["nothing"].tensors["ids"].tolist() == [-1] * 16
    assert bundle.info.baselines["nothing"].tensors["attention_mask"].tolist() == [1] * 16
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None


def test_trees_are_drafted_without_gradients_and_with_the_classes_names(tmp_path):
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(3, random_state=0)
    path = of_scikit_learn(tmp_path / "forest.onnx", forest)
    draft, bundle = bundle_of(path, tmp_path, Wishes(columns=("a", "b", "c", "d")))
    info = bundle.info
    assert (info.framework, info.gradients) == (Framework.ONNX, False)
    assert (info.output.kind, info.output.labels) == (OutputKind.PROBABILITIES, ("0", "1", "2"))
    assert [feature.name for feature in info.inputs[0].features] == ["a", "b", "c", "d"]
    assert any("TreeEnsembleClassifier, which has no gradient" in remark for remark in draft.remarks)
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None


def test_a_regression_of_trees_gives_one_value(tmp_path):
    from sklearn.ensemble import GradientBoostingRegressor

    boosted = GradientBoostingRegressor(n_estimators=3, random_state=0)
    _, bundle = bundle_of(of_scikit_learn(tmp_path / "b.onnx", boosted, classes=0), tmp_path)
    assert (bundle.info.output.kind, bundle.info.output.shape) == (OutputKind.VALUES, (1,))


@pytest.mark.parametrize("options", [{}, {"zipmap": False}])
def test_a_scikit_learn_net_gives_its_logits_with_and_without_its_map_of_classes(tmp_path, options):
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier((8,), random_state=0, max_iter=5)
    _, bundle = bundle_of(of_scikit_learn(tmp_path / "mlp.onnx", net, **options), tmp_path)
    assert (bundle.info.output.kind, bundle.info.output.labels) == (OutputKind.CLASSES, ("0", "1", "2"))
    assert "add_result" in bundle.manifest.output_tensor
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None
    assert report.checks["output_scale"] == "passed"


def test_a_map_of_float64_is_refused_with_the_way_to_convert(tmp_path):
    from sklearn.linear_model import LogisticRegression

    path = of_scikit_learn(tmp_path / "l.onnx", LogisticRegression(), dtype=np.float64)
    with pytest.raises(BundleError, match=r"astype\('float32'\), options=\{'zipmap': False\}"):
        draft_onnx(path, NONE)
    without = of_scikit_learn(tmp_path / "l.onnx", LogisticRegression(), dtype=np.float64, zipmap=False)
    assert draft_onnx(without, NONE).output["labels"] == ["0", "1", "2"]


def test_an_export_of_a_data_frame_is_remarked_on_once(tmp_path):
    names = [f"column {i}" for i in range(13)]
    nodes = [helper.make_node("Concat", names, ["y"], axis=1)]
    inputs = [tensor(name, ["n", 1]) for name in names]
    draft = draft_onnx(graph_file(tmp_path / "g.onnx", inputs, [tensor("y", ["n", 13])], nodes), NONE)
    baseline, array = draft.remarks
    assert "the default baseline is zero" in baseline
    assert "13 inputs hold one number each" in array


def test_the_columns_of_a_table_can_be_named(tmp_path):
    path = graph_file(tmp_path / "g.onnx", [tensor("x", ["n", 2])], [tensor("y", ["n", 2])])
    assert any("--columns-from-csv names them" in remark for remark in draft_onnx(path, NONE).remarks)
    named = draft_onnx(path, Wishes(columns=("a", "b")))
    assert not any("--columns" in remark for remark in named.remarks)


def test_a_softmax_in_a_circle_of_identities_is_no_softmax(tmp_path):
    nodes = [
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Identity", ["b"], ["a"]),
        helper.make_node("Identity", ["a"], ["y"]),
    ]
    path = graph_file(tmp_path / "g.onnx", [tensor("x", ["n", 2])], [tensor("y", ["n", 2])], nodes)
    assert "tensor" not in draft_onnx(path, NONE).output


def graph_file(path, inputs, outputs, nodes=None, initializers=(), **more):
    nodes = nodes or [helper.make_node("Identity", [inputs[0].name], [outputs[0].name])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path, **more)
    return path


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.mark.parametrize(
    ("inputs", "outputs", "wishes", "words"),
    [
        ([tensor("x", [8, 4])], [tensor("y", [8, 4])], Wishes(), "takes 8 rows at a time"),
        ([tensor("x", [])], [tensor("y", [])], Wishes(), "has no batch axis"),
        ([tensor("x", ["n", "w"])], [tensor("y", ["n", "w"])], Wishes(), "--shape x=N"),
        ([tensor("x", ["n", 4])], [tensor("y", ["n", 4])], Wishes(shapes={"x": (5,)}), "--shape x=5 is not 4"),
        ([tensor("x", ["n", 4])], [tensor("y", ["n", 4])], Wishes(shapes={"z": (5,)}), "has no input 'z'; it takes x"),
        ([tensor("x", ["n", 4])], [tensor("y", ["n", 4])], Wishes(columns=("a",)), "There are 1 columns; input x"),
        ([tensor("x", ["n", 4])], [tensor("y", ["n", 4])], Wishes(labels=("a",)), "There are 1 labels; the output y"),
        ([tensor("x", ["n", 4])], [tensor("y", ["n"])], Wishes(), "has 1 axes with that of the rows"),
        ([tensor("x", ["n", 4], TensorProto.INT64)], [tensor("y", ["n", 4])], Wishes(), "--vocabulary x=N"),
        ([tensor("x", ["n", 4], TensorProto.STRING)], [tensor("y", ["n", 4])], Wishes(), "is of type string"),
        ([tensor("x", ["n", 4])], [tensor("y", ["n", 4], TensorProto.INT64)], Wishes(), "no output of floats"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(tmp_path, inputs, outputs, wishes, words):
    path = graph_file(tmp_path / "g.onnx", inputs, outputs)
    with pytest.raises(BundleError) as caught:
        draft_onnx(path, wishes)
    assert words in caught.value.detail


def test_an_output_of_three_axes_is_a_sequence(tmp_path):
    path = graph_file(tmp_path / "g.onnx", [tensor("x", ["n", 5, 2])], [tensor("y", ["n", 5, 2])])
    output = draft_onnx(path, Wishes(labels=("in", "out"))).output
    assert output == {"name": "logits", "kind": "sequence", "positions": 5, "labels": ["in", "out"]}


def external(tmp_path, location):
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = tmp_path / "net.onnx"
    graph_file(
        path,
        [tensor("x", ["n", 4])],
        [tensor("y", ["n", 4])],
        [node],
        [weight],
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
    )
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    onnx.save(model, path)
    return path


def test_weights_beside_the_graph_come_along(tmp_path):
    _, bundle = bundle_of(external(tmp_path, "net.data"), tmp_path)
    assert set(bundle.manifest.files) == {"model.onnx", "net.data"}
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None


@pytest.mark.parametrize("location", ["../net.data", "/etc/passwd", "absent.data"])
def test_weights_elsewhere_are_refused(tmp_path, location):
    with pytest.raises(BundleError, match="no plain file beside it"):
        draft_onnx(external(tmp_path, location), Wishes())


def test_what_is_no_graph_is_refused(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"\x08\x0a\xff\xffnot a graph")
    with pytest.raises(BundleError, match=r"cannot be read as ONNX|holds no graph"):
        draft_onnx(path, Wishes())
    path.write_bytes(b"\x80\x04not a graph")
    with pytest.raises(BundleError, match=r"x\.onnx is not an ONNX file: it is a pickle"):
        draft_onnx(path, Wishes())


def test_a_graph_that_is_not_wired_or_beyond_all_measure_is_refused(tmp_path):
    outputs = [tensor("y", ["n", 4])]
    loose = [helper.make_node("Softmax", [], ["y"], axis=-1)]
    with pytest.raises(BundleError, match="has not the inputs and outputs"):
        draft_onnx(graph_file(tmp_path / "loose.onnx", [tensor("x", ["n", 4])], outputs, loose), Wishes())
    huge = [tensor("position_ids", ["n", 10**12], TensorProto.INT64)]
    with pytest.raises(BundleError, match="would take 1000000000000 numbers"):
        draft_onnx(graph_file(tmp_path / "huge.onnx", huge, outputs), Wishes())
