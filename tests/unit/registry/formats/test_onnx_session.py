import numpy as np
import onnx
import pytest
import torch
from attributor.errors import BundleError
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.runtimes.torch_runtime import configure_threads
from format_bundles import MEASURES, tree_bundle, tree_graph
from onnx import TensorProto, helper, numpy_helper

configure_threads()

ROWS = torch.tensor([[0.4, 1.0, -0.3], [-1.5, 0.2, 0.9], [2.0, -2.0, 0.1]])


def changed(change) -> bytes:
    graph = onnx.load_model_from_string(tree_graph()[0])
    change(graph)
    return graph.SerializeToString()


@pytest.mark.parametrize("zipmap", [False, True])
def test_trees_answer_as_scikit_learn_does_also_where_probabilities_were_put_into_dictionaries(tmp_path, zipmap):
    graph, trees = tree_graph(zipmap=zipmap)
    module = load_module(open_bundle(tree_bundle(tmp_path, graph=graph)))
    found = module(ROWS)
    assert found.dtype is torch.float32
    np.testing.assert_allclose(found.numpy(), trees.predict_proba(ROWS.numpy()), atol=1e-6)
    torch.testing.assert_close(module(ROWS[1:2]), found[1:2])
    assert not module.training
    assert not found.requires_grad


def test_many_rows_are_run_in_numbers_that_a_trial_takes(tmp_path):
    def counted(graph):
        """Its output is the number of rows of its run."""
        del graph.graph.node[:]
        graph.graph.node.extend(
            [
                helper.make_node("Shape", ["X"], ["shape"]),
                helper.make_node("Gather", ["shape", "first"], ["rows"]),
                helper.make_node("Cast", ["rows"], ["n"], to=TensorProto.FLOAT),
                helper.make_node("MatMul", ["X", "nothing"], ["zeros"]),
                helper.make_node("Add", ["zeros", "n"], ["probabilities"]),
            ]
        )
        graph.graph.initializer.append(numpy_helper.from_array(np.array(0), "first"))
        graph.graph.initializer.append(numpy_helper.from_array(np.zeros((3, 2), np.float32), "nothing"))

    module = load_module(open_bundle(tree_bundle(tmp_path, graph=changed(counted))))
    found = module(torch.zeros(64 + 64 + 37, 3))[:, 0].int().tolist()
    assert found == [64] * 128 + [32] * 32 + [4] * 4 + [1]


def test_a_tensor_inside_the_graph_may_be_the_output(tmp_path):
    def inside(graph):
        (last,) = (node for node in graph.graph.node if "probabilities" in node.output)
        last.output[list(last.output).index("probabilities")] = "votes"
        graph.graph.node.append(helper.make_node("Identity", ["votes"], ["probabilities"]))

    module = load_module(open_bundle(tree_bundle(tmp_path, graph=changed(inside), tensor="votes")))
    np.testing.assert_allclose(module(ROWS).numpy(), tree_graph()[1].predict_proba(ROWS.numpy()), atol=1e-6)


def test_a_tensor_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no tensor 'votes'") as caught:
        load_module(open_bundle(tree_bundle(tmp_path, tensor="votes")))
    assert caught.value.field == "output.tensor"


def test_an_output_of_whole_numbers_is_refused_with_what_would_do(tmp_path):
    with pytest.raises(BundleError, match=r"'label' is tensor\(int64\).*zipmap") as caught:
        load_module(open_bundle(tree_bundle(tmp_path, tensor="label")))
    assert caught.value.field == "output.tensor"


def test_tensors_in_other_files_are_refused(tmp_path):
    def elsewhere(graph):
        outside = numpy_helper.from_array(np.zeros(3, np.float32), "outside")
        outside.data_location = TensorProto.EXTERNAL
        outside.external_data.add(key="location", value="passwd")
        # In an attribute of a node, where a look at the initializers alone would miss it.
        graph.graph.node.append(helper.make_node("Constant", [], ["outside"], value=outside))

    with pytest.raises(BundleError, match="in other files"):
        load_module(open_bundle(tree_bundle(tmp_path, graph=changed(elsewhere))))


def test_a_fixed_batch_is_refused(tmp_path):
    def fixed(graph):
        graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    with pytest.raises(BundleError, match="takes a batch of 1 only") as caught:
        load_module(open_bundle(tree_bundle(tmp_path, graph=changed(fixed))))
    assert caught.value.field == "inputs"


def test_an_input_of_another_name_is_refused_with_those_there_are(tmp_path):
    def renamed(graph):
        graph.graph.input[0].name = "rows"
        for node in graph.graph.node:
            node.input[:] = ["rows" if name == "X" else name for name in node.input]

    with pytest.raises(BundleError, match=r"no input 'X'; name one of its inputs \(rows\)") as caught:
        load_module(open_bundle(tree_bundle(tmp_path, graph=changed(renamed))))
    assert caught.value.field == "inputs.features.tensor"


def test_an_input_that_no_one_gives_is_refused(tmp_path):
    def another(graph):
        graph.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [None, 1]))

    with pytest.raises(BundleError, match="also takes more"):
        load_module(open_bundle(tree_bundle(tmp_path, graph=changed(another))))


def test_an_input_of_words_is_refused(tmp_path):
    def words(graph):
        graph.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
        del graph.graph.node[:]
        graph.graph.node.append(helper.make_node("Cast", ["X"], ["probabilities"], to=TensorProto.FLOAT))
        del graph.graph.output[:]
        graph.graph.output.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None))

    with pytest.raises(BundleError, match=r"'X' is tensor\(string\); numbers are needed"):
        load_module(open_bundle(tree_bundle(tmp_path, graph=changed(words))))


@pytest.mark.parametrize("data", [b"not a graph", b"", b"\x08\x09"])
def test_a_file_that_is_no_graph_is_refused(tmp_path, data):
    with pytest.raises(BundleError, match=r"model\.onnx is not an ONNX") as caught:
        load_module(open_bundle(tree_bundle(tmp_path, graph=data)))
    assert caught.value.field == "file"


def test_what_onnxruntime_refuses_is_said(tmp_path):
    def unknown(graph):
        graph.graph.node[0].op_type = "Crystal"

    with pytest.raises(BundleError, match=r"onnxruntime cannot load .*Crystal"):
        load_module(open_bundle(tree_bundle(tmp_path, graph=changed(unknown))))


def test_the_batch_reaches_the_graph_in_the_type_that_it_wants(tmp_path):
    rows = helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, len(MEASURES)])
    sums = helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2])
    weights = numpy_helper.from_array(np.eye(3, 2), "weights")
    node = helper.make_node("MatMul", ["X", "weights"], ["probabilities"])
    graph = helper.make_model(
        helper.make_graph([node], "double", [rows], [sums], [weights]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    found = load_module(open_bundle(tree_bundle(tmp_path, graph=graph.SerializeToString())))(ROWS)
    torch.testing.assert_close(found, ROWS[:, :2])
