import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from attributor.onnx_importer.running import TooLarge
from attributor.onnx_importer.step import NodeError
from onnx import TensorProto, helper
from onnx_operators import cases_of, misjudged, run_both, wrong_gradients

OPERATORS = [
    "BatchNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "RMSNormalization",
    "LpNormalization",
    "LRN",
    "MeanVarianceNormalization",
]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 4, 3, 5)).astype(np.float32)
SCALE, SHIFT, MEAN = (RANDOM.normal(size=4).astype(np.float32) for _ in range(3))
VARIANCE = RANDOM.uniform(0.5, 2, size=4).astype(np.float32)


@pytest.mark.parametrize("op_type", OPERATORS)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type, refused="training_mode") == []


@pytest.mark.parametrize("op_type", OPERATORS)
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    # With and without stored statistics, whose derivative torch's own batch_norm would drop.
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_stored_statistics_are_used_in_every_version(opset: int) -> None:
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=1e-3)
    _same(node, opset, s=SCALE, b=SHIFT, m=MEAN, v=VARIANCE)


def test_a_batch_in_training_is_refused_with_the_reason() -> None:
    (case,) = [case for case in cases_of("BatchNormalization") if case.name == "test_batchnorm_example_training_mode"]
    with pytest.raises(Refused, match="training mode, where rows of a batch change each other"):
        import_model(case.model.SerializeToString())


@pytest.mark.parametrize("opset", [7, 22])
def test_channels_are_normalised_one_by_one(opset: int) -> None:
    _same(helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"], epsilon=1e-3), opset, s=SCALE, b=SHIFT)


def test_a_channel_of_one_number_becomes_the_shift() -> None:
    node = helper.make_node("InstanceNormalization", ["x", "s", "b"], ["y"])
    ours, _ = run_both(node, 22, X[:, :, :1, :1].copy(), {"s": SCALE, "b": SHIFT}, TensorProto.FLOAT)
    np.testing.assert_allclose(ours[0, :, 0, 0], SHIFT, atol=1e-4)  # float32's rounding over the root of epsilon


def test_groups_had_one_scale_each_before_version_21() -> None:
    weights = {"s": SCALE[:2], "b": SHIFT[:2]}
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)
    ours, theirs = run_both(node, 18, X, weights, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (1,), ()])
def test_a_scale_may_be_narrower_than_what_it_scales(shape: tuple[int, ...]) -> None:
    scale = np.asarray(RANDOM.normal(size=shape), dtype=np.float32)
    ours, _ = _both("LayerNormalization", scale)
    x = torch.from_numpy(X)
    expected = torch.nn.functional.layer_norm(x, x.shape[2:]) * torch.from_numpy(scale)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_of_an_even_size_the_farther_neighbour_is_behind() -> None:
    x = X.astype(np.float64)
    square = np.pad(x**2, ((0, 0), (0, 1), (0, 0), (0, 0)))
    expected = x / (2 + 0.5 / 2 * (square[:, :-1] + square[:, 1:])) ** 0.75
    graph = helper.make_graph(
        [helper.make_node("LRN", ["x"], ["y"], size=2, alpha=0.5, bias=2.0)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    np.testing.assert_allclose(import_model(data).double()(torch.from_numpy(x)).numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("opset", [7, 22])
@pytest.mark.parametrize("p", [1, 2])
def test_numbers_are_divided_by_their_norm_and_zeros_stay(p: int, opset: int) -> None:
    x = X.copy()
    x[0, :, 0, 0] = 0
    ours, theirs = run_both(
        helper.make_node("LpNormalization", ["x"], ["y"], p=p, axis=1), opset, x, {}, TensorProto.FLOAT
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert (ours[0, :, 0, 0] == 0).all()


def test_a_neighbourhood_of_all_memory_is_not_computed() -> None:
    graph = helper.make_graph(
        [helper.make_node("LRN", ["x"], ["y"], size=2**40)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    module = import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    with pytest.raises(TooLarge):
        module(torch.from_numpy(X))


@pytest.mark.parametrize("op_type", ["LayerNormalization", "RMSNormalization"])
def test_a_scale_that_would_widen_its_input_is_an_error(op_type: str) -> None:
    (case, *_) = [case for case in cases_of(op_type) if len(case.model.graph.output) == 1 or op_type[0] == "L"]
    program = import_model(case.model.SerializeToString(), output=case.model.graph.output[0].name).program
    given = [torch.ones(1, 5), torch.ones(7, 5), torch.ones(5)][: len(case.model.graph.input)]
    with pytest.raises(NodeError, match="wider than what it scales"):
        program(given)


def _both(op_type: str, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return run_both(helper.make_node(op_type, ["x", "s"], ["y"], axis=2), 17, X, {"s": scale}, TensorProto.FLOAT)


def _same(node: object, opset: int, **weights: np.ndarray) -> None:
    ours, theirs = run_both(node, opset, X, weights, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
