"""How a new bundle is written: its name, its manifest, and that it appears complete or not at all."""

import pytest
from attributor.errors import BundleError
from attributor.registry.catalog import FolderCatalog
from attributor.registry.scaffold.drafts import Draft, name_from, written
from bundles import LINEAR
from drafted import placed

DRAFT = Draft(
    head={"framework": "torch", "entry": "model:build"},
    inputs=[{"name": "x", "kind": "tensor", "shape": [2]}],
    output={"name": "logits", "labels": ["no", "yes"]},
    baselines={"zero": ("Zero.", {"x": 0.0}), "one": ("One.", {"x": 1.0})},
    files={"model.py": LINEAR.encode()},
    metadata={"parameters": "3"},
)


@pytest.mark.parametrize(
    ("text", "name"),
    [("My Model_v2", "my-model-v2"), ("resnet50", "resnet50"), ("--", "model"), ("a" * 70, "a" * 64)],
)
def test_a_name_is_made_of_a_files(text, name):
    assert name_from(text) == name


def test_a_draft_becomes_a_bundle_that_the_catalog_serves(tmp_path):
    bundle = placed(DRAFT, tmp_path, "square", "1", "square.py")
    assert bundle.folder == tmp_path / "square" / "1"
    info = FolderCatalog(tmp_path).get("square@1")
    assert (info.default_baseline, info.source, info.digest) == ("zero", "square.py", bundle.info.digest)
    assert [path.name for path in tmp_path.iterdir()] == ["square"]


def test_a_written_bundle_without_a_place_leaves_nothing(tmp_path):
    with written(DRAFT, tmp_path, "square", "1", "square.py") as bundle:
        assert bundle.info.ref == "square@1"
        assert FolderCatalog(tmp_path).all() == []
    assert list(tmp_path.iterdir()) == []


def test_a_draft_that_is_wrong_leaves_nothing(tmp_path):
    wrong = Draft(DRAFT.head, DRAFT.inputs, {"name": "y", "labels": []}, DRAFT.baselines, DRAFT.files)
    with pytest.raises(BundleError, match=r"output\.labels"):
        placed(wrong, tmp_path, "square", "1", "square.py")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "version"), [("../up", "1"), ("Up", "1"), ("square", "../1"), ("square", "")])
def test_a_name_leads_nowhere_else(tmp_path, name, version):
    root = tmp_path / "models"
    root.mkdir()
    with pytest.raises(BundleError, match="are taken"):
        placed(DRAFT, root, name, version, "square.py")
    assert [path.name for path in tmp_path.rglob("*")] == ["models"]
