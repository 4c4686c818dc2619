import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from onnx import TensorProto, helper
from onnx_operators import misjudged, run_both, wrong_gradients

RANDOM = np.random.default_rng(0)
OPERATORS = ["Conv", "ConvTranspose"]


def numbers(*shape: int) -> np.ndarray:
    return np.asarray(RANDOM.normal(size=shape), dtype=np.float32)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", OPERATORS)
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize("n_axes", [1, 2, 3])
@pytest.mark.parametrize(
    "said",
    [
        {"pads": (0, 1), "strides": 2},
        {"pads": (2, 1), "dilations": 2, "group": 2},
        {"auto_pad": "SAME_UPPER", "strides": 2},
        {"auto_pad": "SAME_LOWER", "strides": 3, "group": 2},
        {"auto_pad": "VALID", "strides": 2},
    ],
)
def test_windows_lie_where_onnxruntime_has_them(said: dict[str, object], n_axes: int, opset: int) -> None:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes(said, n_axes))
    weights = {"w": numbers(6, 4 // said.get("group", 1), *(2, 3, 2)[:n_axes]), "b": numbers(6)}
    _same(node, opset, numbers(2, 4, *(7, 6, 5)[:n_axes]), weights)


@pytest.mark.parametrize("opset", [11, 22])
@pytest.mark.parametrize("n_axes", [1, 2])
@pytest.mark.parametrize(
    "said",
    [
        {"pads": (0, 1), "strides": 2},
        {"pads": (1, 1), "strides": 3, "output_padding": 2},
        {"pads": (2, 0), "dilations": 2, "group": 2},
        {"auto_pad": "SAME_UPPER", "strides": 2},
        {"auto_pad": "SAME_LOWER", "strides": 2},
        {"strides": 2, "output_shape": 13},
    ],
)
def test_transposed_windows_are_cropped_as_onnxruntime_does(said: dict[str, object], n_axes: int, opset: int) -> None:
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes(said, n_axes))
    group = said.get("group", 1)
    weights = {"w": numbers(4, 3, *(3, 4)[:n_axes]), "b": numbers(3 * group)}
    _same(node, opset, numbers(2, 4, *(6, 6)[:n_axes]), weights)


def attributes(said: dict[str, object], n_axes: int) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in said.items():
        if name == "pads":
            found[name] = [value[0]] * n_axes + [value[1]] * n_axes
        else:
            found[name] = value if name in ("group", "auto_pad") else [value] * n_axes
    return found


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"auto_pad": "SAME"}, "has the auto_pad 'SAME', which we do not know"),
        ({"pads": [1, 1]}, "has pads"),
        ({"pads": [-1, 0, 0, 0]}, "has pads"),
        ({"strides": [0, 1]}, "has strides"),
        ({"dilations": [1]}, "has dilations"),
        ({"group": 0}, "has 0 groups"),
        ({"kernel_shape": [5, 5]}, "has kernel_shape"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(attributes: dict[str, object], reason: str) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    with pytest.raises(Refused, match=reason):
        imported(node, numbers(4, 4, 3, 3))


def test_a_picture_of_other_axes_than_the_weights_is_no_input() -> None:
    module = imported(helper.make_node("Conv", ["x", "w"], ["y"]), numbers(4, 4, 3, 3))
    with pytest.raises(RuntimeError, match="of 2 spatial axes"):
        module(torch.ones(4, 8, 8))


def imported(node: object, weights: np.ndarray) -> torch.nn.Module:
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    return import_model(model.SerializeToString())


def _same(node: object, opset: int, x: np.ndarray, weights: dict[str, np.ndarray]) -> None:
    ours, theirs = run_both(node, opset, x, weights, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
