import subprocess
import sys

import pytest
from attributor.errors import BundleError, UnknownModel, UnknownVersion
from attributor.registry.catalog import FolderCatalog, natural_key
from bundles import write_bundle


def test_all_versions_come_by_name_then_version(tmp_path):
    for name, version in (("pear", "10"), ("pear", "9"), ("apple", "1.10"), ("apple", "1.9")):
        write_bundle(tmp_path, name, version)
    (tmp_path / "README.md").write_text("not a bundle")
    (tmp_path / "pear" / "train.py").write_text("not a bundle")
    catalog = FolderCatalog(tmp_path)
    assert [info.ref for info in catalog.all()] == ["apple@1.9", "apple@1.10", "pear@9", "pear@10"]
    assert catalog.problems == {}


def test_a_name_alone_means_its_highest_version(tmp_path):
    for version in ("9", "10", "2"):
        write_bundle(tmp_path, "pear", version)
    catalog = FolderCatalog(tmp_path)
    assert catalog.get("pear").version == "10"
    assert catalog.get("pear@9").version == "9"


def test_versions_sort_as_people_read_them():
    versions = ["1.10", "2", "1.9", "10", "1.9rc1"]
    assert sorted(versions, key=natural_key) == ["1.9", "1.9rc1", "1.10", "2", "10"]


def test_an_unknown_model_gets_a_suggestion(tmp_path):
    write_bundle(tmp_path, "breast-cancer")
    catalog = FolderCatalog(tmp_path)
    with pytest.raises(UnknownModel, match=r"no model 'brest-cancer'. Did you mean 'breast-cancer'\?") as caught:
        catalog.get("brest-cancer")
    assert caught.value.field == "model"
    with pytest.raises(UnknownModel, match="Models: breast-cancer"):
        catalog.get("xyz")


@pytest.mark.parametrize("ref", ["pear@2", "pear@"])
def test_an_unknown_version_names_those_there_are(tmp_path, ref):
    write_bundle(tmp_path, "pear")
    with pytest.raises(UnknownVersion, match="Versions: 1"):
        FolderCatalog(tmp_path).get(ref)


def test_a_broken_bundle_hides_no_other(tmp_path):
    write_bundle(tmp_path, "apple")
    (write_bundle(tmp_path, "pear", "2") / "model.py").write_text("changed")
    write_bundle(tmp_path, "pear", "1")
    (tmp_path / "plum" / "1").mkdir(parents=True)
    (write_bundle(tmp_path, "quince") / "manifest.toml").write_bytes(b"a = ")
    catalog = FolderCatalog(tmp_path)
    assert [info.ref for info in catalog.all()] == ["apple@1", "pear@1"]
    assert catalog.problems.keys() == {"pear@2", "plum@1", "quince@1"}
    assert "model.py has 7 bytes" in catalog.problems["pear@2"]
    assert catalog.problems["plum@1"] == "manifest.toml is missing."
    with pytest.raises(UnknownVersion, match="its bundle is broken"):
        catalog.get("pear@2")
    with pytest.raises(UnknownModel, match="its bundle is broken"):
        catalog.get("plum")


def test_a_bundle_must_be_called_as_its_folder(tmp_path):
    write_bundle(tmp_path, "pear").rename(tmp_path / "pear" / "2")
    assert "says version '1', the folder is called '2'" in FolderCatalog(tmp_path).problems["pear@2"]


def test_a_linked_bundle_is_refused(tmp_path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_bundle(elsewhere, "pear")
    (tmp_path / "pear").symlink_to(elsewhere / "pear")
    assert FolderCatalog(tmp_path).problems == {"pear@1": "pear is a link; a bundle lies in plain folders."}


def test_a_linked_manifest_is_refused(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    (folder / "manifest.toml").rename(tmp_path / "elsewhere.toml")
    (folder / "manifest.toml").symlink_to(tmp_path / "elsewhere.toml")
    assert "manifest.toml is a link" in FolderCatalog(tmp_path).problems["pear@1"]


def test_a_root_that_is_no_folder_is_an_error(tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        FolderCatalog(tmp_path / "nowhere")


def test_listing_models_runs_no_bundle_and_loads_no_torch(tmp_path):
    write_bundle(tmp_path, "loud", code="raise SystemExit('a bundle ran')")
    program = (
        "import sys; from pathlib import Path; from attributor.registry.catalog import FolderCatalog; "
        "print([info.ref for info in FolderCatalog(Path(sys.argv[1])).all()], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['loud@1'] False"
