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
from safetensors.torch import load_file, save_file

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


def test_a_table_that_is_no_text_is_a_sentence(models, tmp_path, graph):
    (tmp_path / "rows.csv").write_bytes("größe,b,c\n".encode("latin-1"))
    made = models("new", graph.name, "--columns-from-csv", "rows.csv")
    assert made.returncode == 2
    assert "rows.csv is no CSV file in UTF-8" in made.stderr
    assert "Traceback" not in made.stderr


def test_a_bundle_whose_manifest_can_be_mended_stays_as_a_draft(models, tmp_path, graph):
    made = models("new", graph.name, "--output-kind", "probabilities")
    assert made.returncode == 1
    assert "Edit models/_drafts/my-net/1/manifest.toml, then: attributor models seal" in made.stderr
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["_drafts"]
    assert "draft: models/_drafts/my-net/1" in models("list").stdout
    manifest = tmp_path / "models" / "_drafts" / "my-net" / "1" / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('kind = "probabilities"', 'kind = "classes"'))
    for command in made.stderr.split("then: ")[1].splitlines()[0].split(" && "):
        done = models(*command.split()[2:])
        assert done.returncode == 0, done.stderr
    assert models("list").stdout.split()[:2] == ["my-net@1", "*"]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["my-net"]


def test_a_model_that_no_manifest_can_mend_leaves_nothing(models, tmp_path):
    careless = LINEAR.replace("return nn.functional", "x = x - x.mean(0)\n        return nn.functional")
    (tmp_path / "net.py").write_text(careless)
    made = models("new", "net.py:build", "--shape", "x=2")
    assert made.returncode == 1
    assert "net@1 was not made. Change the code" in made.stderr
    assert list((tmp_path / "models").iterdir()) == []
    (tmp_path / "net.py").write_text(LINEAR)
    assert "wrote models/net/1" in models("new", "net.py:build", "--shape", "x=2").stdout


def test_a_graph_that_is_refused_leaves_nothing_and_is_made_without_gradients(models, tmp_path):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 3])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])
    dropout = helper.make_node("Dropout", ["x", "ratio", "training"], ["y"])
    constants = [
        numpy_helper.from_array(np.array(0.0, np.float32), "ratio"),
        numpy_helper.from_array(np.array(True), "training"),
    ]
    proto = helper.make_graph([dropout], "net", [value], [out], constants)
    onnx.save(helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), "net.onnx")
    refused = models("new", "net.onnx")
    assert refused.returncode == 1
    assert "net@1 was not made. Export it again, in eval mode" in refused.stderr
    assert "--no-gradients" in refused.stderr
    assert list((tmp_path / "models").iterdir()) == []
    assert "wrote models/net/1" in models("new", "net.onnx", "--no-gradients").stdout


def test_a_draft_is_proven_and_not_served_and_a_newer_version_says_what_it_replaces(models, tmp_path, graph):
    first = models("new", graph.name, "--name", "net")
    assert "means" not in first.stdout
    draft = models("new", graph.name, "--name", "net", "--draft")
    assert draft.returncode == 0
    assert "wrote the draft models/_drafts/net/2, which no service reads" in draft.stdout
    assert "draft: models/_drafts/net/2" in models("list").stdout
    assert "net@2" not in models("list").stdout.replace("_drafts/net/2", "")
    added = models("add", "models/_drafts/net/2")
    assert "removed the draft models/_drafts/net/2" in added.stdout
    assert "net without a version means 2 from now on, in a running service too (it was 1)" in added.stdout
    assert 'put default = "1" into models/net/versions.toml' in added.stdout
    (tmp_path / "models" / "net" / "versions.toml").write_text('default = "1"\n')
    assert "means" not in models("new", graph.name, "--name", "net").stdout


def test_trained_weights_are_given_by_an_option(models, tmp_path, graph):
    (tmp_path / "net.py").write_text(LINEAR)
    save_file({"weight": torch.ones(2, 2), "bias": torch.zeros(2)}, tmp_path / "net.safetensors")
    made = models("new", "net.py:build", "--shape", "x=2", "--weights", "net.safetensors")
    assert made.returncode == 0, made.stderr
    assert torch.equal(load_file(tmp_path / "models/net/1/weights.safetensors")["weight"], torch.ones(2, 2))
    refused = models("new", graph.name, "--weights", "net.safetensors")
    assert "--weights is for a function" in refused.stderr


def test_check_says_how_to_seal_what_is_not_sealed(models, tmp_path):
    folder = write_bundle(tmp_path / "models", "pear")
    manifest = folder / "manifest.toml"
    sealed = manifest.read_text()
    for unsealed in (sealed.partition("[files]")[0], sealed.replace('"model.py" =', '"other.py" =')):
        manifest.write_text(unsealed)
        checked = models("check", "pear")
        assert checked.returncode == 1
        assert "to seal it: attributor models seal models/pear/1" in checked.stdout
        assert models("seal", "models/pear/1").returncode == 0
        assert models("check", "pear").returncode == 0
    (folder / "model.py").write_text(LINEAR + "# edited")
    assert "to seal it: attributor models seal models/pear/1" in models("check", "pear").stdout


def test_show_names_the_methods(models, tmp_path, graph):
    models("new", graph.name, "--name", "net")
    (own,) = [line for line in models("show", "net").stdout.splitlines() if "explained by" in line]
    assert {each.strip(",") for each in own.split()[2:]} == {
        "integrated_gradients",
        "expected_gradients",
        "saliency",
        "gradient_x_input",
        "shapley",
    }
    (more,) = [line for line in models("show", "net").stdout.splitlines() if "with comparators" in line]
    assert "occlusion, kernel_shap, lime" in more
    assert "deep_lift" not in more  # of an ONNX graph
    models("new", graph.name, "--name", "net", "--no-gradients")
    assert "explained by         shapley\n" in models("show", "net@2").stdout


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
    write_bundle(tmp_path / "models", "a-name-that-is-longer-than-columns-are")
    long, *others = models("list").stdout.splitlines()
    assert {line.index(" torch ") for line in (long, *others)} == {len("a-name-that-is-longer-than-columns-are@1 * ")}
    (tmp_path / "models" / "pear" / "2" / "model.py").unlink()
    assert "pear@2 is broken, and not served: model.py is missing" in models("list").stderr
    (tmp_path / "models" / "pear" / "2" / "model.py").write_text(LINEAR)
    checked = models("check", "pear@beta")
    assert checked.returncode == 0
    assert "pear@2" in checked.stdout
    assert "pear@1" not in checked.stdout


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("new", "net.pt"), "export the model to ONNX"),
        (("new", "net.torchscript"), "export the model to ONNX"),
        (("new", "net.ts"), "export the model to ONNX"),
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
