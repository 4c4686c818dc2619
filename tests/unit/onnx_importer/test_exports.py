"""Real nets by both exporters of torch and by skl2onnx: the same answers and gradients as the net that was exported."""

import numpy as np
import onnxruntime
import pytest
import torch
from attributor.onnx_importer.module import OnnxModule, import_model
from attributor.onnx_importer.offenders import Refused
from onnx_nets import NETS, Exporter, export, net, sklearn_mlp

BATCHES = (1, 2, 5)
#: Of float32 answers of about 1, and of gradients relative to their norm. Ours, ten times what was seen.
CLOSE, CLOSE_GRADIENT = 1e-5, 1e-4

#: By net, from which opset on the older exporter can, and up to which one the newer: beyond 25 it mislabels attention.
#: All opsets in between: `benchmarks/onnx_exports.py`.
OPSETS: dict[str, tuple[int, int]] = {"cnn": (13, 26), "transformer": (14, 25), "words": (14, 25), "lstm": (13, 26)}
FILES: list[tuple[str, Exporter, int]] = [
    *((name, "torchscript", opset) for name, (oldest, _) in OPSETS.items() for opset in (oldest, 17, 20)),
    *((name, "dynamo", opset) for name, (_, newest) in OPSETS.items() for opset in (20, newest)),
    ("cnn", "dynamo", 18),
    ("transformer", "dynamo", 23),
]


def small(name: str) -> torch.nn.Module:
    return net(name, layers=1) if name in ("transformer", "words") else net(name)


def imported(name: str, exporter: Exporter, opset: int) -> tuple[OnnxModule, bytes]:
    data = export(small(name), NETS[name].inputs(3, 0), exporter, opset, dynamic_positions=_positions(name, exporter))
    return import_model(data), data


def _positions(name: str, exporter: Exporter) -> int | None:
    """The newer exporter fixes the length of what an LSTM goes through."""
    return NETS[name].positions if exporter == "torchscript" else None


def in_onnxruntime(data: bytes, inputs: tuple[torch.Tensor, ...]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {v.name: x.numpy() for v, x in zip(session.get_inputs(), inputs, strict=True)})[0]


def gradient(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    x = inputs[0].detach().requires_grad_(True)
    return torch.autograd.grad(module(x, *inputs[1:]).square().sum(), x)[0]


@pytest.mark.parametrize(("name", "exporter", "opset"), FILES)
def test_a_file_answers_like_onnxruntime_and_like_the_net_at_any_batch(
    name: str, exporter: Exporter, opset: int
) -> None:
    module, data = imported(name, exporter, opset)
    for rows in BATCHES:
        inputs = NETS[name].inputs(rows, rows)
        found = module(*inputs)
        torch.testing.assert_close(found, small(name)(*inputs), rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(found.numpy(), in_onnxruntime(data, inputs), rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize(("name", "exporter", "opset"), [each for each in FILES if each[0] != "words"])
def test_the_gradient_for_the_input_is_that_of_the_net(name: str, exporter: Exporter, opset: int) -> None:
    module, _ = imported(name, exporter, opset)
    for rows in BATCHES:
        inputs = NETS[name].inputs(rows, rows)
        ours, theirs = gradient(module, inputs), gradient(small(name), inputs)
        assert float((ours - theirs).norm()) <= CLOSE_GRADIENT * float(theirs.norm())


def test_a_recurrence_runs_over_other_lengths_if_the_file_leaves_them_open() -> None:
    module, data = imported("lstm", "torchscript", 15)
    for positions in (1, 7, 20):
        inputs = NETS["lstm"].inputs(2, positions, positions)
        torch.testing.assert_close(module(*inputs), net("lstm")(*inputs), rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(module(*inputs).numpy(), in_onnxruntime(data, inputs), rtol=CLOSE, atol=CLOSE)
        ours, theirs = gradient(module, inputs), gradient(net("lstm"), inputs)
        assert float((ours - theirs).norm()) <= CLOSE_GRADIENT * float(theirs.norm())


@pytest.mark.parametrize("name", ["cnn", "transformer", "lstm"])
def test_a_batch_frozen_at_one_is_mapped_row_by_row(name: str) -> None:
    data = export(small(name), NETS[name].inputs(1, 0), "torchscript", 17, dynamic_batch=False)
    module = import_model(data)
    inputs = NETS[name].inputs(3, 1)
    module.settle(inputs)
    torch.testing.assert_close(module(*inputs), small(name)(*inputs), rtol=CLOSE, atol=CLOSE)
    ours, theirs = gradient(module, inputs), gradient(small(name), inputs)
    assert float((ours - theirs).norm()) <= CLOSE_GRADIENT * float(theirs.norm())


def test_a_file_whose_opset_does_not_know_its_operators_is_refused() -> None:
    # What torch 2.13 writes when it is asked for an opset that it cannot convert attention to.
    data = export(small("transformer"), NETS["transformer"].inputs(3, 0), "dynamo", 26)
    with pytest.raises(Refused, match="Attention"):
        import_model(data)


@pytest.mark.parametrize(("plain", "output"), [(True, "probabilities"), (False, "out_activations_result")])
def test_probabilities_of_a_scikit_learn_pipeline_are_its_own(plain: bool, output: str) -> None:
    # Where they are put into a map of names at last, the tensor before it is asked for.
    pipeline, data = sklearn_mlp(plain=plain)
    module = import_model(data, output=output)
    rows = np.random.default_rng(1).normal(3, 2, (5, 8)).astype(np.float32)
    for n in BATCHES:
        found = module(torch.from_numpy(rows[:n]))
        np.testing.assert_allclose(found.numpy(), pipeline.predict_proba(rows[:n]), atol=1e-5)


def test_the_gradient_of_a_scikit_learn_pipeline_is_that_of_central_differences() -> None:
    _, data = sklearn_mlp(plain=True)
    module = import_model(data, output="probabilities").double()
    x = torch.from_numpy(np.random.default_rng(1).normal(3, 2, (4, 8))).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda each: module(each), (x,))
