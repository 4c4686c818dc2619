"""`attributor models ...`, as a person types it: a process of its own, real files."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from bundles import LINEAR, write_bundle
from onnx import TensorProto, helper, numpy_helper

#: The settings of whoever runs the tests must not show in them.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("ATTRIBUTOR_")}


def models(*given, cwd):
    command = [sys.executable, "-m", "attributor", "models", *map(str, given)]
    environment = {**ENVIRONMENT, "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.fixture
def graph(tmp_path):
    weight = numpy_helper.from_array(np.array([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]], dtype=np.float32), "w")
    proto = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["hidden"]), helper.make_node("Tanh", ["hidden"], ["logits"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 2])],
        [weight],
    )
    path = tmp_path / "My net.onnx"
    onnx.save(helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_one_command_makes_a_proven_bundle_of_a_graph(tmp_path, graph):
    made = models("new", graph.name, "--columns", "age, height,weight", cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert "my-net@1" in made.stdout
    assert "gradients            passed" in made.stdout
    assert "serve it: attributor serve --models models" in made.stdout
    shown = models("show", "my-net", cwd=tmp_path)
    assert [line.split()[0] for line in shown.stdout.splitlines() if "a number" in line] == ["age", "height", "weight"]
    again = models("new", graph.name, "--version", "1", cwd=tmp_path)
    assert again.returncode == 1
    assert "my-net@1 exists already" in again.stderr


def test_names_of_columns_come_from_a_table(tmp_path, graph):
    (tmp_path / "rows.csv").write_text('age,"height, cm",weight\n1,2,3\n', encoding="utf-8-sig")
    made = models("new", graph.name, "--name", "net", "--columns-from-csv", "rows.csv", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "height, cm" in models("show", "net@1", cwd=tmp_path).stdout


def test_a_bundle_that_fails_its_proof_stays_and_the_command_says_what_to_edit(tmp_path):
    careless = LINEAR.replace("return nn.functional", "x = x - x.mean(0)\n        return nn.functional")
    (tmp_path / "net.py").write_text(careless)
    made = models("new", "net.py:build", "--shape", "x=2", cwd=tmp_path)
    assert made.returncode == 1
    assert "net@1" in made.stdout
    assert "failed" in made.stdout
    assert "is not served yet. Edit models/net/1/manifest.toml, then: attributor models seal" in made.stderr
    assert (tmp_path / "models" / "net" / "1" / "manifest.toml").is_file()
    assert models("check", "net", cwd=tmp_path).returncode == 1


def test_a_finished_bundle_is_added_once_it_is_proven(tmp_path):
    theirs = write_bundle(tmp_path / "theirs", "pear")
    added = models("add", theirs, "--models", "ours", cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    assert "added pear@1 at ours/pear/1" in added.stdout
    listed = models("list", "--models", "ours", cwd=tmp_path)
    assert listed.stdout.split()[:3] == ["pear@1", "*", "torch"]
    careless = LINEAR.replace("return nn.functional", "x = x - x.mean(0)\n        return nn.functional")
    worse = write_bundle(tmp_path / "theirs", "pear", "2", code=careless)
    refused = models("add", worse, "--models", "ours", cwd=tmp_path)
    assert refused.returncode == 1
    assert "pear@2 was not added" in refused.stderr
    assert [path.name for path in (tmp_path / "ours" / "pear").iterdir()] == ["1"]


def test_the_list_shows_aliases_and_the_version_of_a_bare_name(tmp_path):
    for version in ("1", "2"):
        write_bundle(tmp_path / "models", "pear", version)
    (tmp_path / "models" / "pear" / "versions.toml").write_text('default = "1"\n[aliases]\nbeta = "2"\n')
    lines = models("list", cwd=tmp_path).stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["pear@1", "*"], ["pear@2", "torch"]]
    assert lines[1].endswith("(@beta)")
    checked = models("check", "pear@beta", cwd=tmp_path)
    assert checked.returncode == 0
    assert "pear@2" in checked.stdout
    assert "pear@1" not in checked.stdout


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("new", "net.pt"), "export the model to ONNX"),
        (("new", "net.py"), "name the function that builds the module"),
        (("new", "net.onnx"), "there is no file net.onnx"),
        (("new", "net.xml"), "an .onnx file, a Hugging Face folder"),
        (("new", "net.onnx", "--shape", "x"), "--shape takes name=value"),
        (("new", "net.onnx", "--shape", "x=0"), "whole numbers from 1"),
        (("new", "net.onnx", "--columns", "a", "--columns-from-csv", "a.csv"), "say the same twice"),
        (("list",), "there is no model folder at models"),
    ],
)
def test_what_cannot_be_is_a_sentence(tmp_path, given, words):
    refused = models(*given, cwd=tmp_path)
    assert refused.returncode != 0
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(tmp_path.iterdir()) == []
