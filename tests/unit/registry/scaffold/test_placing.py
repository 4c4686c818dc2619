"""Where a new bundle lies: drafts, versions and copies, and which version a bare name means."""

import pytest
from attributor.errors import BundleError
from attributor.registry.catalog import FolderCatalog, open_bundle
from attributor.registry.scaffold.placing import (
    copied,
    displaced,
    drafts,
    drafts_in,
    next_version,
    place,
    remove_if_draft,
)
from bundles import write_bundle


def test_the_next_version_is_free_of_versions_and_drafts(tmp_path):
    assert next_version(tmp_path, "square") == "1"
    for version in ("2", "10", "2.5", "beta"):
        write_bundle(tmp_path, "square", version)
    (tmp_path / "square" / "²").mkdir()
    assert next_version(tmp_path, "square") == "11"
    write_bundle(drafts_in(tmp_path), "square", "11")
    assert next_version(tmp_path, "square") == "12"


def test_no_version_is_overwritten(tmp_path):
    write_bundle(tmp_path / "ours", "square", "2")
    before = (tmp_path / "ours" / "square" / "2" / "manifest.toml").read_bytes()
    theirs = open_bundle(write_bundle(tmp_path / "theirs", "square", "2", labels=["a", "b"]))
    with pytest.raises(BundleError, match=r"square@2 exists already"):
        place(theirs, tmp_path / "ours")
    assert (tmp_path / "ours" / "square" / "2" / "manifest.toml").read_bytes() == before


def test_a_draft_is_not_served_and_goes_when_it_is_published(tmp_path):
    draft = write_bundle(drafts_in(tmp_path), "pear")
    assert FolderCatalog(tmp_path).all() == []
    assert drafts(tmp_path) == [draft]
    with copied(draft, tmp_path) as bundle:
        published = place(bundle, tmp_path)
    assert remove_if_draft(draft, tmp_path)
    assert drafts(tmp_path) == []
    assert not remove_if_draft(published.folder, tmp_path)
    assert FolderCatalog(tmp_path).get("pear@1").digest == published.info.digest


def test_a_newer_version_takes_the_bare_name_unless_it_is_pinned(tmp_path):
    assert displaced(open_bundle(write_bundle(tmp_path, "pear", "9")), tmp_path) is None
    assert displaced(open_bundle(write_bundle(tmp_path, "pear", "10")), tmp_path) == "9"
    assert displaced(open_bundle(write_bundle(tmp_path, "pear", "2")), tmp_path) is None
    (tmp_path / "pear" / "versions.toml").write_text('default = "9"\n')
    assert displaced(open_bundle(write_bundle(tmp_path, "pear", "11")), tmp_path) is None


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
