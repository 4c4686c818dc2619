import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from onnx import TensorProto, helper
from onnx_operators import misjudged, run_both, wrong_gradients

RANDOM = np.random.default_rng(0)
OPERATORS = ["MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"]
X = np.asarray(RANDOM.normal(size=(2, 3, 8, 7)), dtype=np.float32)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", OPERATORS)
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


WINDOWS = [
    {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [0, 1, 2, 0], "ceil_mode": 1},
    {"kernel_shape": [2, 4], "pads": [1, 3, 0, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "dilations": [2, 3], "strides": [1, 2], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [3, 2], "strides": [1, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 2], "strides": [2, 1], "auto_pad": "VALID"},
]


@pytest.mark.parametrize("said", WINDOWS)
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "LpPool"])
def test_windows_lie_where_onnxruntime_has_them(op_type: str, said: dict[str, object]) -> None:
    _same(helper.make_node(op_type, ["x"], ["y"], **said), 22)


@pytest.mark.parametrize("said", WINDOWS)
def test_pads_are_counted_if_asked_but_never_what_rounding_up_adds(said: dict[str, object]) -> None:
    _same(helper.make_node("AveragePool", ["x"], ["y"], count_include_pad=1, **said), 22)


@pytest.mark.parametrize("said", WINDOWS)
@pytest.mark.parametrize("order", [0, 1])
def test_places_of_the_largest_count_the_whole_input_without_pads(order: int, said: dict[str, object]) -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], storage_order=order, **said)
    ours, theirs = run_both(node, 22, X, {}, TensorProto.INT64)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("op_type", "opset"), [("MaxPool", 7), ("MaxPool", 8), ("AveragePool", 7), ("LpPool", 7)])
def test_old_versions_are_computed(op_type: str, opset: int) -> None:
    _same(helper.make_node(op_type, ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]), opset)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_norm_of_everything_is_that_of_onnxruntime(p: int) -> None:
    _same(helper.make_node("GlobalLpPool", ["x"], ["y"], p=p), 13)


@pytest.mark.parametrize("op_type", ["LpPool", "GlobalLpPool"])
def test_a_window_of_zeros_has_a_gradient_of_zero_and_not_nan(op_type: str) -> None:
    said = {"kernel_shape": [2, 2]} if op_type == "LpPool" else {}
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    imported(helper.make_node(op_type, ["x"], ["y"], **said))(x).sum().backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"kernel_shape": [2, 2, 2, 2]}, "one to three axes are computed"),
        ({"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}, "pads as large as its windows"),
        ({"kernel_shape": [2, 2], "auto_pad": "VALID", "ceil_mode": 1}, "auto_pad VALID with ceil_mode"),
        ({"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "dilations": [2, 1]}, "auto_pad SAME with dilations"),
        ({"kernel_shape": [2, 2], "storage_order": 2}, "has storage_order 2, which we do not know"),
    ],
)
def test_what_cannot_be_computed_exactly_is_refused(said: dict[str, object], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        imported(helper.make_node("MaxPool", ["x"], ["y"], **said))


def test_a_window_larger_than_the_input_is_an_error() -> None:
    module = imported(helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[5, 5], pads=[0, 1, 0, 0]))
    with pytest.raises(RuntimeError, match="A window of 5 does not fit into 3 positions"):
        module(torch.ones(1, 1, 3, 9))


def imported(node: object) -> torch.nn.Module:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]).SerializeToString())


def _same(node: object, opset: int) -> None:
    ours, theirs = run_both(node, opset, X, {}, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
