"""Where a new bundle goes: names, versions, and that it appears complete or not at all."""

import pytest
from attributor.errors import BundleError
from attributor.registry.catalog import FolderCatalog
from attributor.registry.scaffold.drafts import Draft, copied, name_from, next_version, place, write_draft
from bundles import LINEAR, write_bundle

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


def test_the_next_version_is_free_and_none_is_overwritten(tmp_path):
    assert next_version(tmp_path, "square") == "1"
    for version in ("2", "10", "2.5", "beta"):
        placed(DRAFT, tmp_path, "square", version, "square.py")
    assert next_version(tmp_path, "square") == "11"
    before = (tmp_path / "square" / "2" / "manifest.toml").read_bytes()
    with pytest.raises(BundleError, match=r"square@2 exists already"):
        placed(DRAFT, tmp_path, "square", "2", "other.py")
    assert (tmp_path / "square" / "2" / "manifest.toml").read_bytes() == before


def test_a_draft_that_is_wrong_leaves_nothing(tmp_path):
    wrong = Draft(DRAFT.head, DRAFT.inputs, {"name": "y", "labels": []}, DRAFT.baselines, DRAFT.files)
    with pytest.raises(BundleError, match=r"output\.labels"):
        placed(wrong, tmp_path, "square", "1", "square.py")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_is_verified_before_it_has_its_place(tmp_path):
    theirs = write_bundle(tmp_path / "theirs", "pear")
    ours = tmp_path / "ours"
    ours.mkdir()
    with copied(theirs, ours) as bundle:
        assert FolderCatalog(ours).all() == []
        placed = place(bundle, ours)
    assert placed.folder == ours / "pear" / "1"
    assert [path.name for path in ours.iterdir()] == ["pear"]
    assert FolderCatalog(ours).get("pear@1").digest == bundle.info.digest
    with pytest.raises(BundleError, match="exists already"), copied(theirs, ours):
        pass


def test_a_copy_that_is_not_placed_leaves_nothing(tmp_path):
    theirs = write_bundle(tmp_path / "theirs", "pear")
    ours = tmp_path / "ours"
    ours.mkdir()
    with copied(theirs, ours):
        pass
    (theirs / "model.py").write_text("# changed\n")
    with pytest.raises(BundleError, match=r"model\.py has"), copied(theirs, ours):
        pass
    assert list(ours.iterdir()) == []


def test_links_are_not_followed(tmp_path):
    theirs = write_bundle(tmp_path / "theirs", "pear")
    ours = tmp_path / "ours"
    ours.mkdir()
    link = tmp_path / "link"
    link.symlink_to(theirs)
    with pytest.raises(BundleError, match="is not a folder"), copied(link, ours):
        pass
    (tmp_path / "elsewhere.py").write_bytes((theirs / "model.py").read_bytes())
    (theirs / "model.py").unlink()
    (theirs / "model.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(BundleError, match=r"model\.py is a link"), copied(theirs, ours):
        pass
    assert list(ours.iterdir()) == []


@pytest.mark.parametrize(("name", "version"), [("../up", "1"), ("Up", "1"), ("square", "../1"), ("square", "")])
def test_a_name_leads_nowhere_else(tmp_path, name, version):
    root = tmp_path / "models"
    root.mkdir()
    with pytest.raises(BundleError, match="are taken"):
        placed(DRAFT, root, name, version, "square.py")
    assert [path.name for path in tmp_path.rglob("*")] == ["models"]
