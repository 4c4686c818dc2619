import copy

import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from attributor.runtimes.layers import captured, replaced
from hostile_files import FEATURES, LABELS, WEIGHT, linear, model, value
from onnx import TensorProto, helper
from onnx_nets import NETS, export, net

EXPORTERS = ("torchscript", "dynamo")


def test_a_graph_is_a_module_in_eval_mode_without_parameters_to_train() -> None:
    module = import_model(linear())
    x = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[0, 1], x)
    assert gradient.tolist() == [WEIGHT[:, 1].tolist()]
    assert not module.training
    assert not any(tensor.requires_grad for tensor in (*module.parameters(), *module.buffers()))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_layers_have_the_names_that_the_modules_had(exporter: str) -> None:
    original, inputs = net("cnn"), NETS["cnn"].inputs(2, 0)
    module = import_model(export(original, inputs, exporter))
    names = list(module.named_layers)
    modules = {name for name, _ in original.named_modules() if name}
    readable = [name for name in names if name in modules]
    # Batch norm is folded into its convolution by both, and a module without a node of its own has no name.
    assert len(readable) > len(modules) / 2
    assert names[: len(readable)] == readable


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("dynamic_batch", [True, False])
def test_a_layer_is_that_of_the_original(exporter: str, *, dynamic_batch: bool) -> None:
    original, inputs = net("transformer"), NETS["transformer"].inputs(3, 0)
    one = tuple(each[:1] if not dynamic_batch else each for each in inputs)
    module = import_model(export(original, one, exporter, dynamic_batch=dynamic_batch))
    module.settle(inputs)
    if dynamic_batch:
        assert not module.row_by_row
    layer = next(name for name, part in original.named_modules() if name.endswith("first_norm"))
    with captured(original, [layer]) as expected:
        original(*inputs)
    with captured(module, [layer]) as found:
        module(*inputs)
    torch.testing.assert_close(found[layer], expected[layer], rtol=1e-4, atol=1e-5)
    with replaced(module, layer, found[layer] * 0 + 1), replaced(original, layer, expected[layer] * 0 + 1):
        torch.testing.assert_close(module(*inputs), original(*inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "transformer", "lstm"])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_file_of_one_row_takes_any_number(name: str, exporter: str) -> None:
    original = net(name)
    module = import_model(export(original, NETS[name].inputs(1, 0), exporter, dynamic_batch=False))
    inputs = [each.clone() for each in NETS[name].inputs(4, 1)]
    module.settle(inputs)
    inputs[0].requires_grad_()
    expected, found = original(*inputs), module(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    (of_original,) = torch.autograd.grad(expected.square().sum(), inputs[0])
    (gradient,) = torch.autograd.grad(found.square().sum(), inputs[0])
    torch.testing.assert_close(gradient, of_original, rtol=1e-3, atol=1e-5)


def test_a_copy_in_double_precision_computes_in_it_and_leaves_the_module_as_it_was() -> None:
    module = import_model(export(net("cnn"), NETS["cnn"].inputs(2, 0)))
    (x,) = NETS["cnn"].inputs(2, 0)
    before = module(x)
    wide = copy.deepcopy(module).double()
    assert wide(x.double()).dtype is torch.float64
    torch.testing.assert_close(wide(x.double()).float(), before, rtol=1e-4, atol=1e-5)
    assert torch.equal(module(x), before)
    assert list(wide.named_layers) == list(module.named_layers)
    own = set(map(id, wide.modules()))
    assert all(id(part) in own for part in wide.named_layers.values())


def test_a_branch_of_a_copy_computes_in_the_precision_of_the_copy() -> None:
    branch = [helper.make_graph([helper.make_node("Mul", ["z", "half"], ["out"])], "b", [], [value("out")])] * 2
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("If", ["true"], ["y"], then_branch=branch[0], else_branch=branch[1]),
    ]
    data = model(nodes, {"w": WEIGHT, "true": np.array(True), "half": np.array(0.1, np.float32)})
    wide = copy.deepcopy(import_model(data)).double()
    found = wide(torch.ones(1, FEATURES, dtype=torch.float64))
    assert found.dtype is torch.float64
    expected = np.ones((1, FEATURES)) @ WEIGHT.astype(float) * float(np.float32(0.1))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_an_inner_tensor_can_be_the_output_and_what_does_not_lead_to_it_is_left_out() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"], axis=-1),
        helper.make_node("NonMaxSuppression", ["y", "y"], ["unknown"]),
    ]
    module = import_model(model(nodes, {"w": WEIGHT}), output="scores")
    torch.testing.assert_close(module(torch.ones(1, FEATURES)), torch.from_numpy(WEIGHT.sum(0))[None])
    assert set(module.named_layers) == {"x", "scores"}


def test_all_that_is_not_known_is_listed() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("Det", ["a"], ["b"], name="second"),
        helper.make_node("Softmax", ["a"], ["c"], name="third", axis=-1, colour=1),
        helper.make_node("Mul", ["b", "c"], ["y"], name="fourth"),
    ]
    with pytest.raises(Refused) as caught:
        import_model(model(nodes, {"w": WEIGHT}))
    text = str(caught.value)
    assert text.startswith("The graph (opset 18) has what we cannot compute exactly: Det, Softmax. ")
    assert "node 'second': Det version 11 is not an operator that we compute" in text
    assert "node 'third': Softmax version 13 has the attribute colour, which we do not know" in text
    assert "fourth" not in text


def test_the_same_shape_again_gives_the_same_numbers_and_another_shape_its_own() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Cast", ["rows"], ["many"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Mul", ["z", "many"], ["y"]),
    ]
    module = import_model(model(nodes, {"w": WEIGHT, "zero": np.array(0)}))
    for rows in (1, 3, 1, 3, 2):
        x = torch.rand(rows, FEATURES, generator=torch.Generator().manual_seed(rows))
        torch.testing.assert_close(module(x), x @ torch.from_numpy(WEIGHT) * rows)


def counting(branch: bool) -> bytes:
    """Multiplies by how many inputs are positive: a size that follows from values."""
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("NonZero", ["positive"], ["places"]),
        helper.make_node("Shape", ["places"], ["shape"]),
    ]
    if branch:
        outputs = [value("places", TensorProto.INT64, (2, "m"))]
        bodies = [helper.make_graph(nodes[:2], name, [], outputs) for name in "ab"]
        nodes[:2] = [helper.make_node("If", ["true"], ["places"], then_branch=bodies[0], else_branch=bodies[1])]
    nodes += [
        helper.make_node("Gather", ["shape", "one"], ["count"]),
        helper.make_node("Cast", ["count"], ["many"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Mul", ["z", "many"], ["y"]),
    ]
    arrays = {"w": WEIGHT, "zero": np.array(0, np.float32), "one": np.array(1), "true": np.array(True)}
    return model(nodes, arrays)


@pytest.mark.parametrize("branch", [False, True])
def test_sizes_that_follow_from_values_are_found_anew_in_every_pass(*, branch: bool) -> None:
    module = import_model(counting(branch))
    for x in (torch.tensor([[1.0, -1.0, 2.0]]), torch.tensor([[1.0, 1.0, 2.0]]), torch.tensor([[-1.0, -1.0, 2.0]])):
        torch.testing.assert_close(module(x), x @ torch.from_numpy(WEIGHT) * int((x > 0).sum()))


@pytest.mark.parametrize("branch", [False, True])
def test_a_settled_module_takes_no_size_from_values(*, branch: bool) -> None:
    module = import_model(counting(branch))
    with pytest.raises(RuntimeError, match="from the values of the model's inputs"):
        module.settle([torch.rand(2, FEATURES)])


def test_a_loop_that_counts_its_turns_gives_the_count_of_each_input() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["trip", "one"], ["next"]),
            helper.make_node("Cast", ["next"], ["so_far"], to=TensorProto.FLOAT),
            helper.make_node("Less", ["so_far", "most"], ["go_on"]),
        ],
        "body",
        [value("trip", TensorProto.INT64, ()), value("go", TensorProto.BOOL, ()), value("n", TensorProto.INT64, ())],
        [value("go_on", TensorProto.BOOL, ()), value("next", TensorProto.INT64, ())],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Loop", ["", "true", "zero"], ["turns"], body=body),
        helper.make_node("Cast", ["turns"], ["many"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Mul", ["z", "many"], ["y"]),
    ]
    arrays = {"w": WEIGHT, "zero": np.array(0), "one": np.array(1), "true": np.array(True)}
    module = import_model(model(nodes, arrays))
    for most in (3.0, 7.0, 2.0):
        x = torch.tensor([[0.0, 1.0, most]])
        torch.testing.assert_close(module(x), x @ torch.from_numpy(WEIGHT) * most)


def test_a_division_by_what_comes_is_no_gelu() -> None:
    constants = {"w": WEIGHT, "root": np.sqrt(2), "one": 1.0, "half": 0.5}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Div", ["root", "z"], ["a"]),
        helper.make_node("Erf", ["a"], ["b"]),
        helper.make_node("Add", ["b", "one"], ["c"]),
        helper.make_node("Mul", ["z", "c"], ["d"]),
        helper.make_node("Mul", ["d", "half"], ["y"]),
    ]
    module = import_model(model(nodes, {name: np.asarray(v, np.float32) for name, v in constants.items()}))
    x = torch.rand(2, FEATURES, generator=torch.Generator().manual_seed(0))
    z = x @ torch.from_numpy(WEIGHT)
    for _ in range(2):
        torch.testing.assert_close(module(x), z * (1 + torch.erf(2**0.5 / z)) / 2)


def test_small_outputs_hide_no_frozen_batch() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x", "zero"], ["mean"], keepdims=1),
        helper.make_node("Add", ["x", "mean"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "w"], ["y"]),
    ]
    module = import_model(model(nodes, {"w": WEIGHT * np.float32(1e-6), "zero": np.array([0])}))
    module.settle([torch.rand(3, FEATURES)])
    assert module.row_by_row


def test_what_follows_from_shapes_and_what_is_in_bodies_is_no_layer() -> None:
    module = import_model(export(net("transformer"), NETS["transformer"].inputs(2, 0), "torchscript", 17))
    before = set(module.named_layers)
    inputs = NETS["transformer"].inputs(3, 0)
    module.settle(inputs)
    after = list(module.named_layers)
    assert set(after) < before
    for name in after:
        with captured(module, [name]) as found:
            module(*inputs)
        assert isinstance(found[name], torch.Tensor), name


def test_rows_that_see_each_other_are_refused() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x", "zero"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("MatMul", ["centred", "w"], ["y"]),
    ]
    data = model(nodes, {"w": WEIGHT, "zero": np.array([0])}, outputs=[value("y", shape=("n", LABELS))])
    module = import_model(data)
    # Mapped row by row it is what each row alone gives: zeros. That is what the file says of one row.
    module.settle([torch.rand(3, FEATURES)])
    assert module.row_by_row
    with pytest.raises(Refused, match="no input 'nothing'; it takes 'x'"):
        import_model(data, inputs=["nothing"])


def test_a_gelu_of_five_nodes_is_computed_as_one_unless_somebody_listens_inside() -> None:
    """As torch's older exporter writes it; `x` is used again between its nodes, for the last time."""
    constants = {"w": WEIGHT, "root": np.sqrt(2), "one": 1.0, "half": 0.5}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Div", ["z", "root"], ["a"]),
        helper.make_node("Erf", ["a"], ["b"]),
        helper.make_node("Add", ["b", "one"], ["c"]),
        helper.make_node("Mul", ["z", "c"], ["d"]),
        helper.make_node("Neg", ["z"], ["other"]),
        helper.make_node("Mul", ["d", "half"], ["e"]),
        helper.make_node("Add", ["e", "other"], ["y"]),
    ]
    module = import_model(model(nodes, {name: np.asarray(v, np.float32) for name, v in constants.items()}))
    x = torch.rand(2, FEATURES, generator=torch.Generator().manual_seed(0))
    z = x @ torch.from_numpy(WEIGHT)
    for _ in range(2):
        torch.testing.assert_close(module(x), torch.nn.functional.gelu(z) - z)
    with captured(module, ["c", "e"]) as found:
        torch.testing.assert_close(module(x), torch.nn.functional.gelu(z) - z)
    torch.testing.assert_close(found["c"], torch.erf(z / 2**0.5) + 1)
    torch.testing.assert_close(found["e"], torch.nn.functional.gelu(z))
    with replaced(module, "c", torch.zeros_like(z)):
        torch.testing.assert_close(module(x), -z)


def test_what_was_prepared_without_gradients_serves_passes_with_them() -> None:
    module = import_model(linear())
    x = torch.ones(2, FEATURES)
    with torch.inference_mode():
        module(x)
    given = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(given).sum(), given)
    torch.testing.assert_close(gradient[0], torch.from_numpy(WEIGHT.sum(1)))
