"""Drafts of functions that build a torch module."""

import pytest
import torch
from attributor.errors import BundleError
from attributor.jobs.model import InputKind, OutputKind
from attributor.registry.loader import load_module
from attributor.registry.registry import check_bundles
from attributor.registry.scaffold.drafts import Wishes
from drafted import placed
from attributor.registry.scaffold.torch import draft_torch

NET = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))

def wrong():
    return 3

def raising():
    raise RuntimeError("no luck")
"""
READER = """
from torch import nn

class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 4)
        self.tied = nn.Linear(4, 11, bias=False)
        self.tied.weight = self.table.weight

    def forward(self, ids):
        return self.tied(self.table(ids))

def build():
    return Reader()
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "models").mkdir()
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def test_a_function_becomes_code_and_weights(tmp_path, net):
    draft = draft_torch(f"{net}:make", Wishes(shapes={"x": (3,)}, columns=("a", "b", "c"), labels=("no", "yes")))
    bundle = placed(draft, tmp_path / "models", "net", "1", "net.py")
    (spec,) = bundle.info.inputs
    assert (spec.kind, bundle.manifest.entry, bundle.info.output.labels) == (
        InputKind.TABULAR,
        "model:make",
        ("no", "yes"),
    )
    assert set(bundle.manifest.files) == {"model.py", "weights.safetensors"}
    assert bundle.info.metadata["parameters"] == "66"
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None


def test_the_weights_are_those_that_the_function_made(tmp_path, net):
    net.write_text(NET.replace("    torch.manual_seed(0)\n", ""))  # each call makes others
    bundle = placed(
        draft_torch(f"{net}:make", Wishes(shapes={"x": (3,)})), tmp_path / "models", "net", "1", "net.py"
    )
    one, other = (load_module(bundle).state_dict()["0.weight"] for _ in range(2))
    assert torch.equal(one, other)


def test_weights_that_two_layers_share_are_written_for_both(tmp_path, net):
    net.write_text(READER)
    draft = draft_torch(f"{net}:build", Wishes(shapes={"ids": (5,)}, vocabularies={"ids": 11}))
    bundle = placed(draft, tmp_path / "models", "net", "1", "net.py")
    (ids,) = bundle.info.inputs
    assert (ids.kind, ids.embedding, ids.vocabulary) == (InputKind.TOKENS, "table", 11)
    assert (bundle.info.output.kind, bundle.info.output.shape) == (OutputKind.SEQUENCE, (5, 11))
    (report,) = check_bundles(tmp_path / "models")
    assert report.reason is None


def test_a_module_on_the_import_path_is_found(tmp_path, net, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    draft = draft_torch("net:make", Wishes(shapes={"x": (3,)}))
    assert draft.files["model.py"] == net


@pytest.mark.parametrize(
    ("function", "shapes", "words"),
    [
        ("make", {}, "--shape name=3,224,224 for each input"),
        ("make", {"x": (4,)}, "raised on inputs of shape [2, 4]"),
        ("wrong", {"x": (3,)}, "returns int, not a torch.nn.Module"),
        ("raising", {"x": (3,)}, "RuntimeError: no luck"),
        ("absent", {"x": (3,)}, "absent"),
        ("", {"x": (3,)}, "the name of a function is needed"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(net, function, shapes, words):
    with pytest.raises(BundleError) as caught:
        draft_torch(f"{net}:{function}", Wishes(shapes=shapes))
    assert words in caught.value.detail


def test_code_that_is_not_there_is_refused():
    with pytest.raises(BundleError, match=r"There is no file nowhere\.py"):
        draft_torch("nowhere.py:build", Wishes(shapes={"x": (3,)}))
    with pytest.raises(BundleError, match=r"no_such_package\.module"):
        draft_torch("no_such_package.module:build", Wishes(shapes={"x": (3,)}))
