import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.step import NodeError
from onnx import TensorProto, helper
from onnx_operators import cases_of, misjudged, run_both, wrong_gradients

OPERATORS = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "HardSwish",
    "Mish",
    "LeakyRelu",
    "Elu",
    "Celu",
    "Selu",
    "PRelu",
    "HardSigmoid",
    "ThresholdedRelu",
    "Gelu",
    "Swish",
    "Shrink",
    "Clip",
]
X = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", OPERATORS)
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("opset", [7, 9, 16])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), (5,), (4, 5), (2, 1, 4, 1)])
def test_slopes_are_broadcast_in_every_version(shape: tuple[int, ...], opset: int) -> None:
    slope = np.random.default_rng(1).normal(size=shape)
    _same("PRelu", opset, slope=np.asarray(slope, dtype=np.float32))


@pytest.mark.parametrize("bounds", [{"min": -0.3, "max": 0.5}, {"max": 0.5}, {"min": 0.0}])
def test_bounds_were_attributes_before_version_11(bounds: dict[str, float]) -> None:
    _same("Clip", 10, bounds)


def test_a_bound_left_out_before_version_11_is_the_largest_finite_number() -> None:
    x = np.array([np.inf, -np.inf, 1.0], dtype=np.float32)
    node = helper.make_node("Clip", ["x"], ["y"])
    ours, theirs = run_both(node, 10, x, {}, TensorProto.FLOAT)
    np.testing.assert_array_equal(ours, theirs)
    assert np.isfinite(ours).all()


@pytest.mark.parametrize("opset", [11, 12, 13])
@pytest.mark.parametrize(("low", "high"), [(-0.3, 0.5), (0.5, -0.5)])
def test_where_bounds_cross_the_upper_one_is_given(low: float, high: float, opset: int) -> None:
    _same("Clip", opset, low=np.array(low, dtype=np.float32), high=np.array(high, dtype=np.float32))


@pytest.mark.parametrize("opset", [7, 22])
@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        ("Elu", {"alpha": 0.3}),
        ("Selu", {}),
        ("Selu", {"alpha": 1.5, "gamma": 1.1}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 1 / 6}),
        ("LeakyRelu", {}),
        ("Softplus", {}),
    ],
)
def test_attributes_and_their_defaults_are_kept(op_type: str, attributes: dict[str, float], opset: int) -> None:
    _same(op_type, opset, attributes)


def test_the_derivative_of_prelu_reaches_its_slope_per_channel() -> None:
    # Slopes of this shape go to torch's fused function; no case of ONNX has one.
    (case,) = [case for case in cases_of("PRelu") if case.name == "test_prelu_broadcast"]
    program = import_model(case.model.SerializeToString()).double().program
    x = torch.from_numpy(X).double()
    slope = torch.full((3, 1, 1), 0.3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(program([x, slope])[0].sum(), slope)
    torch.testing.assert_close(gradient, x.clamp(max=0).sum((0, 2, 3)).reshape(3, 1, 1))


def test_slopes_that_would_widen_their_input_are_an_error() -> None:
    (case,) = [case for case in cases_of("PRelu") if case.name == "test_prelu_broadcast"]
    with pytest.raises(NodeError, match="wider than what they scale"):
        import_model(case.model.SerializeToString()).program([torch.ones(1, 5), torch.ones(7, 5)])


def _same(op_type: str, opset: int, attributes: dict[str, float] | None = None, **weights: np.ndarray) -> None:
    node = helper.make_node(op_type, ["x", *weights], ["y"], **(attributes or {}))
    ours, theirs = run_both(node, opset, X, weights, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
