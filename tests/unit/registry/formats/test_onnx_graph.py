import numpy as np
import onnx
import pytest
import torch
from attributor.errors import BundleError
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.registry.seal import seal
from attributor.runtimes.torch_runtime import configure_threads
from format_bundles import IMAGE_SHAPE, cnn_graph, graph_bundle, small_cnn, tree_graph
from onnx import TensorProto, helper, numpy_helper

configure_threads()

IMAGES = torch.linspace(0, 1, 5 * 64).reshape(5, *IMAGE_SHAPE)


@pytest.mark.parametrize("dynamo", [False, True])
def test_a_graph_of_either_exporter_computes_what_its_module_did_and_so_do_its_gradients(tmp_path, dynamo):
    module = load_module(open_bundle(graph_bundle(tmp_path, graph=cnn_graph(dynamo=dynamo))))
    here, there = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    torch.testing.assert_close(module(here), small_cnn()(there))
    gradients = [torch.autograd.grad(net(x)[:, 1].sum(), x)[0] for net, x in ((module, here), (small_cnn(), there))]
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0
    assert not any(part.training for part in module.modules())


def test_a_tensor_inside_the_graph_may_be_the_output(tmp_path):
    graph = onnx.load_model_from_string(cnn_graph(dynamo=False))
    before_last = graph.graph.node[-1].input[0]
    folder = graph_bundle(tmp_path, labels=[str(n) for n in range(36)], tensor=before_last)
    torch.testing.assert_close(load_module(open_bundle(folder))(IMAGES), small_cnn()[:-1](IMAGES))


def test_weights_may_lie_in_a_file_beside_the_graph(tmp_path):
    folder = graph_bundle(tmp_path)
    graph = onnx.load_model_from_string(cnn_graph(dynamo=False))
    onnx.save_model(
        graph, str(folder / "model.onnx"), save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )
    seal(folder)
    bundle = open_bundle(folder)
    torch.testing.assert_close(load_module(bundle)(IMAGES), small_cnn()(IMAGES))
    weights = folder / "model.onnx.data"
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(BundleError, match=r"model\.onnx\.data has sha256"):
        load_module(bundle)


def test_a_graph_that_cannot_be_differentiated_is_refused_with_its_nodes(tmp_path):
    graph = onnx.load_model_from_string(tree_graph()[0])
    graph.graph.input[0].name = "pixels"
    for node in graph.graph.node:
        node.input[:] = ["pixels" if name == "X" else name for name in node.input]
    with pytest.raises(BundleError, match="TreeEnsemble") as caught:
        load_module(open_bundle(graph_bundle(tmp_path, graph=graph.SerializeToString())))
    assert caught.value.field == "file"


def test_a_tensor_in_another_file_is_refused_wherever_it_is_but_among_the_weights(tmp_path):
    outside = numpy_helper.from_array(np.zeros(3, np.float32), "outside")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="passwd")
    constant = helper.make_node("Constant", [], ["c"], value=outside)
    body = helper.make_graph([], "body", [], [], [outside])
    sparse = helper.make_sparse_tensor(outside, numpy_helper.from_array(np.arange(3), "i"), [9])
    for place, change in {
        "attribute": lambda graph: graph.node.append(constant),
        "body": lambda graph: graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=body)),
        "sparse": lambda graph: graph.sparse_initializer.append(sparse),
    }.items():
        model = onnx.load_model_from_string(cnn_graph(dynamo=False))
        change(model.graph)
        folder = graph_bundle(tmp_path / place, graph=model.SerializeToString())
        with pytest.raises(BundleError, match="keeps the tensor 'outside' in other files") as caught:
            load_module(open_bundle(folder))
        assert caught.value.field == "file"
