"""The two commands that the README gives: someone's own ONNX file, served."""

import subprocess
import sys

import httpx
import numpy as np
import onnx
import pytest
from e2e.live import ROOT, explained
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.e2e

COMMANDS = ["    .venv/bin/attributor models new my.onnx ", "    .venv/bin/attributor serve\n"]


def write_graph(path):
    """Three numbers, two logits: tanh of a linear map."""
    weight = np.array([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]], dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["hidden"]), helper.make_node("Tanh", ["hidden"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return weight.astype(np.float64)


def test_a_newcomers_graph_is_served_with_two_commands(tmp_path, launch):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(command in readme for command in COMMANDS)
    weight = write_graph(tmp_path / "my.onnx")
    command = [sys.executable, "-m", "attributor", "models", "new", "my.onnx"]
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    service = launch(models=tmp_path / "models")
    x = np.array([0.3, -0.2, 0.5])
    with httpx.Client(base_url=service.url, timeout=40) as client:
        tensor = {"shape": [3], "datatype": "FP32", "data": x.tolist()}
        job = explained(client, {"model": "my", "inputs": [{"x": tensor}], "target": {"class": 0, "scale": "logit"}})
    assert job["state"] == "succeeded", job["error"]
    (result,) = job["results"]
    # On a straight line from zero, the gradient of tanh(w . x) is a multiple of w.
    share = weight[:, 0] * x / (weight[:, 0] @ x)
    found = np.array(result["attributions"]["x"]["data"])
    np.testing.assert_allclose(found, np.tanh(x @ weight[:, 0]) * share, rtol=1e-2)
