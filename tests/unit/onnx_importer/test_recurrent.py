import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx_operators import misjudged, run_both, wrong_gradients

RANDOM = np.random.default_rng(0)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
N_POSITIONS, N_ROWS, N_FEATURES, HIDDEN = 5, 3, 2, 4
#: Inputs; the last two are of LSTM.
ORDER = ("x", "w", "r", "b", "lengths", "h", "c", "p")


def numbers(*shape: int) -> np.ndarray:
    return np.asarray(RANDOM.normal(0, 0.6, size=shape), dtype=np.float32)


X = numbers(N_POSITIONS, N_ROWS, N_FEATURES)


def weights(op_type: str, directions: int, *more: str) -> dict[str, np.ndarray]:
    n = GATES[op_type]
    known = {
        "w": numbers(directions, n * HIDDEN, N_FEATURES),
        "r": numbers(directions, n * HIDDEN, HIDDEN),
        "b": numbers(directions, 2 * n * HIDDEN),
        "lengths": np.array([2, 5, 1], dtype=np.int32),
        "h": numbers(directions, N_ROWS, HIDDEN),
        "c": numbers(directions, N_ROWS, HIDDEN),
        "p": numbers(directions, 3 * HIDDEN),
    }
    return {name: known[name] for name in ("w", "r", *more)}


def node(op_type: str, given: Mapping[str, np.ndarray], output: int = 0, **said: object) -> NodeProto:
    """`output`: 0 for all states, 1 for the last, 2 for the last cells."""
    order = ORDER if op_type == "LSTM" else ORDER[:6]
    inputs = [name if name == "x" or name in given else "" for name in order]
    return helper.make_node(op_type, inputs, [""] * output + ["y"], hidden_size=HIDDEN, **said)


def same(op_type: str, given: Mapping[str, np.ndarray], opset: int = 22, output: int = 0, **said: object) -> None:
    ours, theirs = run_both(node(op_type, given, output, **said), opset, X, given, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def imported(made: NodeProto, given: Mapping[str, np.ndarray], opset: int = 22) -> torch.nn.Module:
    graph = helper.make_graph(
        [made],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    return import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString())


@pytest.mark.parametrize("op_type", GATES)
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", GATES)
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("opset", [7, 14, 22])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("more", [(), ("b",), ("b", "h"), ("b", "lengths")])
@pytest.mark.parametrize("op_type", GATES)
def test_states_are_those_of_onnxruntime(op_type: str, more: tuple[str, ...], direction: str, opset: int) -> None:
    given = weights(op_type, 2 if direction == "bidirectional" else 1, *more)
    same(op_type, given, opset, output=0, direction=direction)
    same(op_type, given, opset, output=1, direction=direction)


@pytest.mark.parametrize("op_type", GATES)
@pytest.mark.parametrize("more", [("b",), ("b", "h", "lengths")])
def test_what_goes_into_an_activation_is_clipped(op_type: str, more: tuple[str, ...]) -> None:
    same(op_type, weights(op_type, 1, *more), clip=0.3)


@pytest.mark.parametrize("output", [0, 1, 2])
@pytest.mark.parametrize("said", [{}, {"input_forget": 1}, {"clip": 0.2}])
@pytest.mark.parametrize("more", [("p",), ("b", "h", "c", "p"), ("b", "lengths", "c", "p")])
def test_peepholes_and_coupled_gates_are_those_of_onnxruntime(
    more: tuple[str, ...], said: dict[str, object], output: int
) -> None:
    same("LSTM", weights("LSTM", 2, *more), output=output, direction="bidirectional", **said)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("more", [("b",), ("b", "lengths", "h")])
def test_the_reset_gate_works_before_or_behind_the_recurrence(more: tuple[str, ...], before: int) -> None:
    same("GRU", weights("GRU", 1, *more), linear_before_reset=before)


@pytest.mark.parametrize("name", ["Relu", "Softsign", "Softplus", "LeakyRelu", "Elu", "HardSigmoid"])
def test_other_activations_are_those_of_onnxruntime(name: str) -> None:
    same("RNN", weights("RNN", 1, "b"), activations=[name])
    same("GRU", weights("GRU", 2, "b"), activations=["HardSigmoid", name] * 2, direction="bidirectional")


def test_parameters_of_activations_are_taken_by_those_that_have_some() -> None:
    names, alphas, betas = ["HardSigmoid", "Tanh", "LeakyRelu"], [0.3, 0.1], [0.6]
    same("LSTM", weights("LSTM", 1), activations=names, activation_alpha=alphas, activation_beta=betas)


@pytest.mark.parametrize("op_type", GATES)
def test_rows_first_is_the_same_with_axes_exchanged(op_type: str) -> None:
    given = weights(op_type, 1, "b", "h")
    first = imported(node(op_type, given), given)(torch.from_numpy(X))
    turned = {**given, "h": np.ascontiguousarray(given["h"].transpose(1, 0, 2))}
    second = imported(node(op_type, turned, layout=1), turned)(torch.from_numpy(X).transpose(0, 1))
    torch.testing.assert_close(second, first.permute(2, 0, 1, 3))


def test_weights_that_were_put_into_order_follow_a_module_to_float64() -> None:
    given = weights("LSTM", 2, "b")
    module = imported(node("LSTM", given, direction="bidirectional"), given)
    single = module(torch.from_numpy(X))
    double = copy.deepcopy(module).double()(torch.from_numpy(X).double())
    assert double.dtype is torch.float64
    torch.testing.assert_close(double.float(), single)
    torch.testing.assert_close(module(torch.from_numpy(X)), single)


@pytest.mark.parametrize(
    ("op_type", "name", "shape"),
    [
        ("LSTM", "h", (1, N_ROWS + 1, HIDDEN)),
        ("LSTM", "c", (2, N_ROWS, HIDDEN)),
        ("LSTM", "c", (1, N_ROWS, HIDDEN - 1)),
        ("LSTM", "p", (1, HIDDEN)),
        ("GRU", "h", (1, 1, HIDDEN)),
        ("RNN", "h", (HIDDEN,)),
        ("RNN", "lengths", (N_ROWS + 1,)),
    ],
)
def test_operands_that_torch_would_read_beyond_are_errors(op_type: str, name: str, shape: tuple[int, ...]) -> None:
    given = weights(op_type, 1, "b")
    given[name] = np.ones(shape, dtype=np.int32 if name == "lengths" else np.float32)
    module = imported(node(op_type, given), given)
    with pytest.raises(RuntimeError, match=r"shape|sequence_lens"):
        module(torch.from_numpy(X))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("r", (1, 4 * HIDDEN, HIDDEN - 1)),
        ("r", (1, 4 * HIDDEN + 1, HIDDEN)),
        ("r", (4 * HIDDEN, HIDDEN)),
        ("w", (1, 3 * HIDDEN, N_FEATURES)),
        ("b", (1, 4 * HIDDEN)),
        ("w", (2, 4 * HIDDEN, N_FEATURES)),
    ],
)
def test_stored_weights_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...]) -> None:
    given = weights("LSTM", 1, "b")
    given[name] = np.ones(shape, dtype=np.float32)
    with pytest.raises(Refused, match="has weights that do not fit"):
        imported(node("LSTM", given), given)


def test_an_input_of_other_features_is_an_error() -> None:
    given = weights("LSTM", 1)
    with pytest.raises(RuntimeError, match="has 7 features, not 2"):
        imported(node("LSTM", given), given)(torch.ones(2, 2, 7))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"activations": ["Sigmoid", "Tanh"]}, "has 2 activations, not 3"),
        ({"activations": ["Sigmoid", "Tanh", "Swish"]}, "the activation 'Swish', which is not computed"),
        ({"activations": ["Sigmoid", "Tanh", "ThresholdedRelu"]}, "'ThresholdedRelu', which is not computed"),
        ({"activation_alpha": [0.1]}, "more activation_alpha"),
        ({"direction": "both"}, "the direction 'both'"),
        ({"layout": 2}, "layout 2, which we do not know"),
    ],
)
def test_what_cannot_be_computed_exactly_is_refused(said: dict[str, object], reason: str) -> None:
    given = weights("LSTM", 1)
    with pytest.raises(Refused, match=reason):
        imported(node("LSTM", given, **said), given)
