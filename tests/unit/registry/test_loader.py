import py_compile
import sys

import numpy as np
import pytest
import torch
from attributor.errors import BundleError
from attributor.registry.catalog import open_bundle
from attributor.registry.formats.python_code import import_name
from attributor.registry.loader import load_bundle, load_module, unload
from attributor.registry.seal import seal
from attributor.runtimes.torch_runtime import configure_threads
from bundles import LINEAR, path_bundle, write_bundle
from format_bundles import tree_bundle

configure_threads()

WITH_WEIGHTS = """
from torch import nn

def build():
    return nn.Linear(2, 2)
"""

WITH_DATACLASS = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from torch import nn

@dataclass
class Sizes:
    kind: ClassVar[str] = "linear"
    n: int = 2

def build():
    return nn.Linear(Sizes().n, 2)
"""


def test_weights_are_loaded_and_the_module_is_frozen(tmp_path):
    weights = {"weight": np.array([[1, 2], [3, 4]], np.float32), "bias": np.array([5, 6], np.float32)}
    module = load_module(open_bundle(write_bundle(tmp_path, "pear", code=WITH_WEIGHTS, weights=weights)))
    torch.testing.assert_close(module(torch.ones(1, 2)), torch.tensor([[8.0, 13.0]]))
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_two_bundles_with_a_model_py_each_share_nothing(tmp_path):
    code = "from torch import nn\nclass Net(nn.Linear):\n    pass\ndef build():\n    return Net(2, {n})\n"
    bundles = [
        open_bundle(write_bundle(tmp_path, name, code=code.format(n=n))) for name, n in (("pear", 2), ("plum", 3))
    ]
    first, second = map(load_module, bundles)
    assert (first.out_features, second.out_features) == (2, 3)
    assert type(first) is not type(second)
    assert [type(first).__module__, type(second).__module__] == [import_name(bundle.info) for bundle in bundles]
    assert "model" not in sys.modules


def test_no_two_references_share_an_import_name(tmp_path):
    folders = [write_bundle(tmp_path, *ref) for ref in (("a", "1.2"), ("a-1", "2"), ("a", "12"), ("a1", "2"))]
    names = {import_name(open_bundle(folder).info) for folder in folders}
    assert len(names) == len(folders)
    assert not any("." in name for name in names)


def test_a_dataclass_with_postponed_annotations_works(tmp_path):
    assert load_module(open_bundle(write_bundle(tmp_path, "pear", code=WITH_DATACLASS))).in_features == 2


def test_only_the_sealed_source_runs_and_no_bytecode_beside_it(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    planted = tmp_path / "planted.py"
    planted.write_text("raise RuntimeError('planted')")
    # An unchecked hash-based .pyc: the ordinary import would run it without a look at the source.
    cached = folder / "__pycache__" / f"model.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(
        str(planted), str(cached), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    assert load_module(open_bundle(folder)) is not None
    assert list((folder / "__pycache__").iterdir()) == [cached]


def test_a_file_exchanged_after_the_catalog_looked_is_refused(tmp_path):
    bundle = open_bundle(write_bundle(tmp_path, "pear"))
    (bundle.folder / "model.py").write_text(LINEAR.replace("2.0", "3.0"))
    with pytest.raises(BundleError, match=r"model\.py has sha256"):
        load_module(bundle)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_module", "model.py raised ModuleNotFoundError: No module named 'no_such_module'"),
        ("def build(:", "model.py raised SyntaxError"),
        ("x = 1", r"model.py has no function build\(\)"),
        ("def build():\n    return 1", "returned int, not a torch.nn.Module"),
        ("def build():\n    raise ValueError('no\\nluck.')", r"model:build\(\) raised ValueError: no luck\.$"),
    ],
)
def test_code_that_does_not_build_a_module_is_refused(tmp_path, code, words):
    bundle = open_bundle(write_bundle(tmp_path, "pear", code=code))
    with pytest.raises(BundleError, match=words):
        load_module(bundle)


def test_code_that_raised_leaves_no_module_behind(tmp_path):
    bundle = open_bundle(write_bundle(tmp_path, "failing", code="raise ValueError"))
    with pytest.raises(BundleError, match="raised ValueError"):
        load_module(bundle)
    assert import_name(bundle.info) not in sys.modules


@pytest.mark.parametrize(
    "weights",
    [
        {"weight": np.zeros((2, 2), np.float32)},
        {"weight": np.zeros((2, 3), np.float32), "bias": np.zeros(2, np.float32)},
        {"weight": np.zeros((2, 2), np.float32), "bias": np.zeros(2, np.float32), "more": np.zeros(1, np.float32)},
    ],
    ids=["missing", "shape", "unknown"],
)
def test_weights_must_fit_exactly(tmp_path, weights):
    bundle = open_bundle(write_bundle(tmp_path, "pear", code=WITH_WEIGHTS, weights=weights))
    with pytest.raises(BundleError, match="does not fit the model"):
        load_module(bundle)


def test_weights_must_be_safetensors(tmp_path):
    folder = write_bundle(tmp_path, "pear", code=WITH_WEIGHTS, weights={})
    (folder / "weights.safetensors").write_bytes(b"\x80\x04pickle")
    seal(folder)
    with pytest.raises(BundleError, match="does not fit the model"):
        load_module(open_bundle(folder))


def test_a_registered_path_is_loaded_from_its_own_file(tmp_path):
    bundle = open_bundle(path_bundle(tmp_path))
    loaded = load_bundle(bundle)
    assert list(loaded.paths) == ["arc"]
    start, end = torch.zeros(4), torch.arange(4.0)
    points, derivatives = loaded.paths["arc"](start, end)(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(points, torch.stack([start, end]), atol=1e-6, rtol=0)
    assert derivatives.shape == (2, 4)
    assert loaded.paths["arc"].__module__ == f"{import_name(bundle.info)}__arcs"


def test_code_that_holds_model_and_path_runs_once(tmp_path):
    code = LINEAR + "\nruns = []\ndef twin(baseline, example):\n    return runs\nruns.append(1)\n"
    bundle = open_bundle(write_bundle(tmp_path, "pear", code=code, paths={"twin": "model:twin"}))
    loaded = load_bundle(bundle)
    assert sys.modules[import_name(bundle.info)].runs is loaded.paths["twin"](None, None) == [1]


def test_a_bundle_that_is_unloaded_leaves_no_module_and_no_other_loses_its_own(tmp_path):
    bundle, other = open_bundle(path_bundle(tmp_path)), open_bundle(path_bundle(tmp_path, "curved-2"))
    load_bundle(bundle)
    load_bundle(other)
    names = {import_name(each.info) for each in (bundle, other)} | {
        f"{import_name(each.info)}__arcs" for each in (bundle, other)
    }
    assert names <= sys.modules.keys()
    unload(bundle.info)
    assert {name for name in names if name in sys.modules} == {
        import_name(other.info),
        f"{import_name(other.info)}__arcs",
    }
    unload(other.info)


def test_a_changed_bundle_of_the_same_version_does_not_take_the_place_of_the_one_in_use(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    before = open_bundle(folder)
    load_module(before)
    (folder / "model.py").write_text(LINEAR + "\nlater = True\n")
    seal(folder)
    after = open_bundle(folder)
    load_module(after)
    unload(before.info)
    assert sys.modules[import_name(after.info)].later
    unload(after.info)


def test_what_a_framework_needs_and_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    bundle = open_bundle(tree_bundle(tmp_path))
    monkeypatch.delitem(sys.modules, "attributor.registry.formats.onnx_session", raising=False)
    monkeypatch.delattr("attributor.registry.formats.onnx_session", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BundleError, match=r"needs onnxruntime, which is not installed: pip.*\[worker\]") as caught:
        load_module(bundle)
    assert caught.value.field == "framework"


@pytest.mark.parametrize(
    ("arcs", "words"),
    [("x = 1", r"arcs\.py has no function arc\(\)"), ("1 / 0", "arcs.py raised ZeroDivisionError")],
)
def test_a_path_that_cannot_be_loaded_is_refused_at_its_entry(tmp_path, arcs, words):
    folder = path_bundle(tmp_path)
    (folder / "arcs.py").write_text(arcs)
    seal(folder)
    with pytest.raises(BundleError, match=words) as caught:
        load_bundle(open_bundle(folder))
    assert caught.value.field == "paths.arc.entry"
