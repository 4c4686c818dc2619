from collections.abc import Mapping

import numpy as np
import pytest
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx_operators import misjudged, run_both, wrong_gradients

RANDOM = np.random.default_rng(0)
N_ROWS, N_HEADS, N_QUERIES, N_KEYS, N_FEATURES = 2, 4, 3, 3, 8
ORDER = ("x", "k", "v", "mask", "past_key", "past_value")


def numbers(*shape: int) -> np.ndarray:
    return np.asarray(RANDOM.normal(size=shape), dtype=np.float32)


X = numbers(N_ROWS, N_HEADS, N_QUERIES, N_FEATURES)
SEEN = RANDOM.random((N_ROWS, 1, N_QUERIES, N_KEYS)) > 0.4
SEEN[..., 0] = True
BLIND = SEEN.copy()
BLIND[0, 0, 1] = False


def operands(heads: int = N_HEADS, **more: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "k": numbers(N_ROWS, heads, N_KEYS, N_FEATURES),
        "v": numbers(N_ROWS, heads, N_KEYS, N_FEATURES),
        **more,
    }


def node(given: Mapping[str, np.ndarray], outputs: tuple[str, ...] = ("y",), **said: object) -> NodeProto:
    inputs = [name if name == "x" or name in given else "" for name in ORDER]
    return helper.make_node("Attention", inputs, list(outputs), **said)


def imported(made: NodeProto, given: Mapping[str, np.ndarray], opset: int = 23) -> torch.nn.Module:
    graph = helper.make_graph(
        [made],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    return import_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString())


@pytest.mark.parametrize("op_type", ["Attention", "RotaryEmbedding"])
def test_every_case_of_onnx_is_computed_or_refused_as_it_must_be(op_type: str) -> None:
    assert misjudged(op_type) == []


@pytest.mark.parametrize("op_type", ["Attention", "RotaryEmbedding"])
def test_gradients_are_those_of_central_differences(op_type: str) -> None:
    assert wrong_gradients(op_type) == []


@pytest.mark.parametrize("opset", [23, 24])
@pytest.mark.parametrize("heads", [N_HEADS, 2, 1])
@pytest.mark.parametrize("said", [{}, {"scale": 0.3}, {"softcap": 2.0}, {"is_causal": 1}])
@pytest.mark.parametrize("mask", ["none", "seen", "added"])
def test_answers_are_those_of_onnxruntime(mask: str, said: dict[str, object], heads: int, opset: int) -> None:
    masks = {"none": {}, "seen": {"mask": SEEN}, "added": {"mask": numbers(N_QUERIES, N_KEYS)}}
    given = operands(heads, **masks[mask])
    ours, theirs = run_both(node(given, **said), opset, X, given, TensorProto.FLOAT)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("causal", [0, 1])
def test_keys_of_the_past_come_first(causal: int) -> None:
    past = {name: numbers(N_ROWS, N_HEADS, 2, N_FEATURES) for name in ("past_key", "past_value")}
    given = operands(**past)
    ours = imported(node(given, ("y", "keys", "values"), is_causal=causal), given)(torch.from_numpy(X)).numpy()
    k, v = (np.concatenate([past[f"past_{name}"], given[name[0]]], 2) for name in ("key", "value"))
    places = np.tril(np.ones((N_QUERIES, N_KEYS + 2), dtype=bool), 2 if causal else 9)
    given = {"k": k, "v": v, "mask": places}
    expected = imported(node(given), given)(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("softcap", [0.0, 2.0])  # by the fused kernel, and step by step
@pytest.mark.parametrize("added", [False, True])
def test_a_query_that_sees_no_key_gives_zero_and_a_gradient_of_zero(added: bool, softcap: float) -> None:
    mask = np.where(BLIND, 0.0, -np.inf).astype(np.float32) if added else BLIND
    given = operands(mask=mask)
    x = torch.from_numpy(X).requires_grad_(True)
    found = imported(node(given, softcap=softcap), given)(x)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    assert (found[0, :, 1] == 0).all()
    assert (gradient[0, :, 1] == 0).all()
    assert gradient.isfinite().all()
    assert (gradient[1] != 0).any()


def test_a_mask_of_one_key_is_not_guessed_at() -> None:
    given = operands(mask=np.ones((N_QUERIES, 1), dtype=bool))
    with pytest.raises(RuntimeError, match="could be meant for all of them or for the first"):
        imported(node(given), given, 24)(torch.from_numpy(X))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"qk_matmul_output_mode": 4}, "qk_matmul_output_mode 4, which we do not know"),
        ({"q_num_heads": 3, "kv_num_heads": 2}, "3 heads of queries and 2 of keys"),
        ({"scale": -1.0}, "a scale of -1.0"),
        ({"softmax_precision": 17}, "data type FLOAT8E4M3FN"),
    ],
)
def test_what_cannot_be_computed_exactly_is_refused(said: dict[str, object], reason: str) -> None:
    given = operands()
    with pytest.raises(Refused, match=reason):
        imported(node(given, **said), given)


def test_heads_that_do_not_fit_are_an_error() -> None:
    given = operands(3)
    with pytest.raises(RuntimeError, match="Attention got shapes that do not fit"):
        imported(node(given), given)(torch.from_numpy(X))
