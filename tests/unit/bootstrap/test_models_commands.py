"""`attributor models ...`, as a person types it, on real files."""

import os
import sys
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
import torch
from attributor.__main__ import main
from bundles import LINEAR, write_bundle
from onnx import TensorProto, helper, numpy_helper

torch.set_num_threads(1)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def models(tmp_path, monkeypatch, capsys):
    """Runs the command line in `tmp_path`, in this process, which has torch already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    for name in [name for name in os.environ if name.startswith("ATTRIBUTOR_")]:
        monkeypatch.delenv(name)  # the settings of whoever runs the tests

    def run(*given):
        monkeypatch.setattr(sys, "argv", ["attributor", "models", *map(str, given)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        status = ended.value.code
        # What is no number, Python writes to stderr at the end of the process.
        return Done(status, *said) if isinstance(status, int) else Done(1, said.out, f"{said.err}{status}")

    return run


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
    onnx.save(helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def test_one_command_makes_a_proven_bundle_of_a_graph(models, tmp_path, graph):
    made = models("new", graph.name, "--columns", "age, height,weight")
    assert (made.returncode, made.stderr) == (0, "")
    assert "my-net@1" in made.stdout
    assert "gradients            passed" in made.stdout
    assert "serve it: attributor serve --models models" in made.stdout
    shown = models("show", "my-net")
    assert [line.split()[0] for line in shown.stdout.splitlines() if "a number" in line] == ["age", "height", "weight"]
    again = models("new", graph.name, "--version", "1")
    assert again.returncode == 1
    assert "my-net@1 exists already" in again.stderr


def test_names_of_columns_come_from_a_table(models, tmp_path, graph):
    (tmp_path / "rows.csv").write_text('age,"height, cm",weight\n1,2,3\n', encoding="utf-8-sig")
    made = models("new", graph.name, "--name", "net", "--columns-from-csv", "rows.csv")
    assert made.returncode == 0, made.stderr
    assert "height, cm" in models("show", "net@1").stdout


def test_a_bundle_that_fails_its_proof_stays_and_the_command_says_what_to_edit(models, tmp_path):
    careless = LINEAR.replace("return nn.functional", "x = x - x.mean(0)\n        return nn.functional")
    (tmp_path / "net.py").write_text(careless)
    made = models("new", "net.py:build", "--shape", "x=2")
    assert made.returncode == 1
    assert "net@1" in made.stdout
    assert "failed" in made.stdout
    assert "is not served yet. Edit models/net/1/manifest.toml, then: attributor models seal" in made.stderr
    assert (tmp_path / "models" / "net" / "1" / "manifest.toml").is_file()
    assert models("check", "net").returncode == 1


def test_a_finished_bundle_is_added_once_it_is_proven(models, tmp_path):
    theirs = write_bundle(tmp_path / "theirs", "pear")
    added = models("add", theirs, "--models", "ours")
    assert added.returncode == 0, added.stderr
    assert "added pear@1 at ours/pear/1" in added.stdout
    listed = models("list", "--models", "ours")
    assert listed.stdout.split()[:3] == ["pear@1", "*", "torch"]
    careless = LINEAR.replace("return nn.functional", "x = x - x.mean(0)\n        return nn.functional")
    worse = write_bundle(tmp_path / "theirs", "pear", "2", code=careless)
    refused = models("add", worse, "--models", "ours")
    assert refused.returncode == 1
    assert "pear@2 was not added" in refused.stderr
    assert [path.name for path in (tmp_path / "ours" / "pear").iterdir()] == ["1"]


def test_the_list_shows_aliases_and_the_version_of_a_bare_name(models, tmp_path):
    for version in ("1", "2"):
        write_bundle(tmp_path / "models", "pear", version)
    (tmp_path / "models" / "pear" / "versions.toml").write_text('default = "1"\n[aliases]\nbeta = "2"\n')
    lines = models("list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["pear@1", "*"], ["pear@2", "torch"]]
    assert lines[1].endswith("(@beta)")
    checked = models("check", "pear@beta")
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
def test_what_cannot_be_is_a_sentence(models, tmp_path, given, words):
    refused = models(*given)
    assert refused.returncode != 0
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(tmp_path.iterdir()) == []
