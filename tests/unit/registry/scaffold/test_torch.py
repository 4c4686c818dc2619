"""Drafts of functions that build a torch module."""

import sys
from pathlib import Path

import pytest
import torch
from attributor.errors import BundleError
from attributor.jobs.model import InputKind, OutputKind
from attributor.registry.loader import load_module
from attributor.registry.registry import check_bundles
from attributor.registry.scaffold.drafts import Wishes
from attributor.registry.scaffold.torch import draft_torch
from drafted import placed
from safetensors.torch import save_file
from torch import nn

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

def reading():
    return torch.load("net.pt")

def reading_beside():
    from pathlib import Path
    return (Path(__file__).parent / "net.pt").read_bytes()

def neighbour():
    import layers_beside
    return layers_beside.make()
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
    bundle = placed(draft_torch(f"{net}:make", Wishes(shapes={"x": (3,)})), tmp_path / "models", "net", "1", "net.py")
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
        ("reading", {"x": (3,)}, "must not read files"),
        ("reading_beside", {"x": (3,)}, "give the trained weights by --weights FILE.safetensors"),
        ("neighbour", {"x": (3,)}, "layers_beside lies beside the code, and a bundle holds one file"),
        ("", {"x": (3,)}, "the name of a function is needed"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason(net, monkeypatch, function, shapes, words):
    # Where a person stands: all of it is at hand here, and would not be in a worker.
    monkeypatch.chdir(net.parent)
    monkeypatch.syspath_prepend(str(net.parent))
    torch.save({}, "net.pt")
    (net.parent / "layers_beside.py").write_text(NET)
    with pytest.raises(BundleError) as caught:
        draft_torch(f"{net}:{function}", Wishes(shapes=shapes))
    assert words in caught.value.detail


def test_code_that_is_not_there_is_refused():
    with pytest.raises(BundleError, match=r"There is no file nowhere\.py"):
        draft_torch("nowhere.py:build", Wishes(shapes={"x": (3,)}))
    with pytest.raises(BundleError, match=r"no_such_package\.module"):
        draft_torch("no_such_package.module:build", Wishes(shapes={"x": (3,)}))


def test_trained_weights_come_from_a_file(tmp_path, net):
    trained = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))
    save_file(trained.state_dict(), tmp_path / "trained.safetensors")
    draft = draft_torch(f"{net}:make", Wishes(shapes={"x": (3,)}), tmp_path / "trained.safetensors")
    assert not any("--weights" in remark for remark in draft.remarks)
    bundle = placed(draft, tmp_path / "models", "net", "1", "net.py")
    loaded = load_module(bundle).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trained.state_dict().items())
    assert any("--weights" in remark for remark in draft_torch(f"{net}:make", Wishes(shapes={"x": (3,)})).remarks)


def test_shared_weights_may_stand_in_the_file_once(tmp_path, net):
    net.write_text(READER)
    save_file({"table.weight": torch.ones(11, 4)}, tmp_path / "trained.safetensors")
    wishes = Wishes(shapes={"ids": (5,)}, vocabularies={"ids": 11})
    draft = draft_torch(f"{net}:build", wishes, tmp_path / "trained.safetensors")
    loaded = load_module(placed(draft, tmp_path / "models", "net", "1", "net.py")).state_dict()
    assert torch.equal(loaded["tied.weight"], torch.ones(11, 4))


def test_weights_that_do_not_fit_exactly_are_refused(tmp_path, net):
    state = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).state_dict()
    del state["0.bias"]
    save_file({**state, "module.x": torch.zeros(1)}, tmp_path / "trained.safetensors")
    with pytest.raises(BundleError) as caught:
        draft_torch(f"{net}:make", Wishes(shapes={"x": (3,)}), tmp_path / "trained.safetensors")
    for words in ("it lacks 0.bias;", "the module has no module.x;", "3.weight [3, 8], not [2, 8]"):
        assert words in caught.value.detail
    torch.save(state, tmp_path / "trained.pt")
    with pytest.raises(BundleError, match=r"weights_only=True"):
        draft_torch(f"{net}:make", Wishes(shapes={"x": (3,)}), tmp_path / "trained.pt")


def test_the_place_where_one_stood_is_as_before(tmp_path, net, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    with pytest.raises(BundleError):
        draft_torch("net.py:raising", Wishes(shapes={"x": (3,)}))
    assert (Path.cwd(), sys.path) == (tmp_path, before)
