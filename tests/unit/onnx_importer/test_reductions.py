import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from onnx import TensorProto, helper
from onnx_operators import cases_of, gradient_difference, misjudged, run_both, wrong_gradients

KINDS = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(kind: str) -> None:
    assert misjudged(f"Reduce{kind}") == []


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_central_differences(kind: str) -> None:
    assert wrong_gradients(f"Reduce{kind}") == []
    assert any(gradient_difference(case) is not None for case in cases_of(f"Reduce{kind}"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opset", [7, 11, 12])
@pytest.mark.parametrize("attributes", [{}, {"axes": [1, 2], "keepdims": 0}, {"axes": [-1]}])
def test_axes_were_an_attribute(kind: str, opset: int, attributes: dict[str, object]) -> None:
    x = np.random.default_rng(0).uniform(0.5, 1.5, size=(2, 3, 4, 5)).astype(np.float32)
    node = helper.make_node(f"Reduce{kind}", ["x"], ["y"], **attributes)
    ours, theirs = run_both(node, opset, x, {}, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_derivative_of_the_norm_of_zeros_is_zero() -> None:
    (case,) = [case for case in cases_of("ReduceL2") if case.name == "test_reduce_l2_do_not_keepdims_random"]
    x = torch.zeros(3, 2, 2, requires_grad=True)
    (found,) = import_model(case.model.SerializeToString()).program([x, np.array([2])])
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(gradient, torch.zeros(3, 2, 2))


@pytest.mark.parametrize(("kind", "expected"), [("SumSquare", 9.0), ("LogSum", np.log(3.0)), ("L1", 3.0), ("Sum", 3.0)])
def test_no_axes_may_mean_that_each_number_is_reduced_for_itself(kind: str, expected: float) -> None:
    x = np.full((2, 2), 3.0, dtype=np.float32)
    node = helper.make_node(f"Reduce{kind}", ["x", "axes"], ["y"], noop_with_empty_axes=1)
    ours, _ = run_both(node, 18, x, {"axes": np.array([], dtype=np.int64)}, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, np.full((2, 2), expected), rtol=1e-6)
