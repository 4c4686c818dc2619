import numpy as np
import pytest
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from onnx import TensorProto, helper
from onnx_operators import cases_of, misjudged, run_both, wrong_gradients

OPERATORS = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Mod",
    "Min",
    "Max",
    "Sum",
    "Mean",
    "Where",
    "Identity",
    "Abs",
    "Neg",
    "Sign",
    "Ceil",
    "Floor",
    "Round",
    "Sqrt",
    "Exp",
    "Log",
    "Reciprocal",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Erf",
    "Dropout",
]
X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    # _opt: an optional value, which is no tensor, though its schema says so.
    assert misjudged(op_type, refused="training_dropout|identity_opt") == []


@pytest.mark.parametrize("op_type", OPERATORS)
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type, left_out="float_edge_cases") == []  # of 0 / 0, which is no number


@pytest.mark.parametrize("opset", [7, 13, 14])
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
def test_a_stored_operand_is_broadcast_in_every_version(op_type: str, opset: int) -> None:
    weight = np.linspace(0.5, 1, 15, dtype=np.float32).reshape(3, 1, 5)
    _same(helper.make_node(op_type, ["x", "w"], ["y"]), opset, w=weight)


@pytest.mark.parametrize("opset", [7, 8, 12, 13])
@pytest.mark.parametrize("op_type", ["Max", "Min", "Sum", "Mean"])
def test_several_operands_are_taken_in_every_version(op_type: str, opset: int) -> None:
    _same(helper.make_node(op_type, ["x", "w", "x"], ["y"]), opset, w=X[::-1].copy())


@pytest.mark.parametrize("opset", [7, 12, 13, 15])
@pytest.mark.parametrize("exponent", [2.0, [[[[[3.0]]]]], [2.0, 1.0, 3.0, 0.0, 2.0]])
def test_a_stored_exponent_is_one_number_or_many(exponent: object, opset: int) -> None:
    _same(helper.make_node("Pow", ["x", "w"], ["y"]), opset, w=np.array(exponent, dtype=np.float32))


def test_a_whole_exponent_leaves_the_type_of_the_base() -> None:
    _same(helper.make_node("Pow", ["x", "w"], ["y"]), 15, w=np.array(3))


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 22])
def test_dropout_passes_on_its_input_in_every_version(opset: int) -> None:
    if opset < 12:
        _same(helper.make_node("Dropout", ["x"], ["y"], ratio=0.4), opset)
    else:
        node = helper.make_node("Dropout", ["x", "ratio", "training"], ["y"])
        _same(node, opset, ratio=np.array(0.4, dtype=np.float32), training=np.array(False))


def test_dropout_in_training_is_refused_with_the_reason() -> None:
    (case,) = [case for case in cases_of("Dropout") if case.name == "test_training_dropout"]
    with pytest.raises(Refused, match="training_mode that is not a constant false"):
        import_model(case.model.SerializeToString())


def _same(node: object, opset: int, **weights: np.ndarray) -> None:
    ours, theirs = run_both(node, opset, X, weights, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
