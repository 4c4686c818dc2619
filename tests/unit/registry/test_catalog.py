import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from attributor.errors import BundleError, UnknownModel, UnknownVersion
from attributor.registry import catalog as catalogs
from attributor.registry import files, signatures
from attributor.registry.catalog import Changes, FolderCatalog, natural_key
from attributor.registry.seal import seal
from bundles import LINEAR, write_bundle


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


def files_of(folder):
    """Its files, out of the way, and the empty folder."""
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in kept:
        (folder / name).unlink()
    return kept


@pytest.fixture
def verified(monkeypatch):
    """The folders whose files have been read."""
    seen = []
    plain = files.verify
    monkeypatch.setattr(files, "verify", lambda folder, records: (seen.append(folder.name), plain(folder, records)))
    return seen


def test_a_look_where_nothing_changed_reads_nothing(tmp_path, verified):
    write_bundle(tmp_path, "pear", "1")
    write_bundle(tmp_path, "pear", "2")
    catalog = FolderCatalog(tmp_path)
    assert verified == ["1", "2"]
    assert catalog.refresh() == Changes()
    assert verified == ["1", "2"]


def test_new_changed_and_removed_versions_are_found_and_only_they_are_verified(tmp_path, verified):
    for version in ("1", "2", "3"):
        write_bundle(tmp_path, "pear", version)
    catalog = FolderCatalog(tmp_path)
    before = catalog.get("pear@2").digest
    verified.clear()
    write_bundle(tmp_path, "pear", "4")
    shutil.rmtree(tmp_path / "pear" / "1")
    (tmp_path / "pear" / "2" / "model.py").write_text(LINEAR + "\n")
    seal(tmp_path / "pear" / "2")
    assert catalog.refresh() == Changes(("pear@4",), ("pear@2",), ("pear@1",))
    assert verified == ["2", "4"]
    assert [info.version for info in catalog.all()] == ["2", "3", "4"]
    assert catalog.get("pear@2").digest != before


def test_a_change_that_keeps_size_and_time_is_found(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    catalog = FolderCatalog(tmp_path)
    code = folder / "model.py"
    stamps = code.stat()
    code.write_text(LINEAR.replace("2.0", "3.0"))
    os.utime(code, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    assert catalog.refresh().removed == ("pear@1",)
    assert "sha256" in catalog.problems["pear@1"]


def test_a_bundle_is_a_problem_while_it_is_copied_and_is_served_once_it_is_whole(tmp_path):
    write_bundle(tmp_path, "pear", "1")
    kept = files_of(folder := write_bundle(tmp_path, "pear", "2"))
    catalog = FolderCatalog(tmp_path)
    for name, data in sorted(kept.items()):  # the manifest first
        assert catalog.get("pear").version == "1"
        (folder / name).write_bytes(data[: len(data) // 2])
        catalog.refresh()
        assert catalog.problems.keys() == {"pear@2"}
        (folder / name).write_bytes(data)
        changes = catalog.refresh()
    assert (changes.added, changes.broken) == (("pear@2",), {})
    assert catalog.problems == {}
    assert catalog.get("pear").version == "2"


def test_a_broken_bundle_is_not_read_again_and_again(tmp_path, verified, monkeypatch):
    (write_bundle(tmp_path, "pear") / "model.py").write_text("changed")
    catalog = FolderCatalog(tmp_path)
    catalog.refresh()  # a write in the tick of the look before could have left no trace
    assert verified == ["1", "1"]
    monkeypatch.setattr(signatures, "TICK_NS", 0)
    for _ in range(3):
        assert catalog.refresh() == Changes()
    assert verified == ["1", "1", "1"]


def test_a_root_that_goes_away_leaves_what_was_known(tmp_path):
    root = tmp_path / "models"
    write_bundle(root, "pear")
    catalog = FolderCatalog(root)
    root.rename(tmp_path / "away")
    with pytest.raises(BundleError, match="does not exist"):
        catalog.refresh()
    assert catalog.get("pear").version == "1"
    (tmp_path / "away").rename(root)
    assert catalog.refresh() == Changes()


@pytest.fixture
def pears(tmp_path):
    for version in ("1", "2", "3"):
        write_bundle(tmp_path, "pear", version)
    return tmp_path / "pear" / "versions.toml"


def test_a_bare_name_means_the_highest_version_that_is_ready(pears):
    catalog = FolderCatalog(pears.parent.parent)
    digests = {info.version: info.digest for info in catalog.all()}
    assert catalog.get("pear", {digests["1"], digests["2"]}).version == "2"
    assert catalog.get("pear", {digests["1"]}).version == "1"
    assert catalog.get("pear", set()).version == "3"
    assert catalog.get("pear@3", {digests["1"]}).version == "3"
    assert (catalog.default("pear"), catalog.default("pear", {digests["2"]})) == ("3", "2")


def test_a_declared_default_is_obeyed_ready_or_not(pears):
    pears.write_text('default = "2"')
    catalog = FolderCatalog(pears.parent.parent)
    assert catalog.get("pear").version == "2"
    assert catalog.get("pear", {catalog.get("pear@1").digest}).version == "2"
    pears.unlink()
    catalog.refresh()
    assert catalog.get("pear").version == "3"


def test_an_alias_stands_for_a_version_and_follows_its_file(pears):
    pears.write_text('[aliases]\nstable = "1"\nnext = "3"\n')
    catalog = FolderCatalog(pears.parent.parent)
    assert catalog.get("pear@stable").version == "1"
    assert catalog.aliases("pear") == {"stable": "1", "next": "3"}
    assert catalog.aliases("plum") == {}
    with pytest.raises(UnknownVersion, match=r"no version 'best'. Versions: 1, 2, 3. Aliases: stable, next."):
        catalog.get("pear@best")
    pears.write_text('[aliases]\nstable = "2"\n')
    catalog.refresh()
    assert catalog.get("pear@stable").version == "2"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("default = 2", "default: Input should be a valid string"),
        ("defualt = '2'", "defualt: Extra inputs"),
        ("default = ", "not TOML"),
        ("x = " + "[" * 5000, "not TOML"),
        ("[aliases]\n'@x' = '1'", "aliases"),
        ("#" * 70_000, "larger than"),
        ("default = " + "1" * 5000, "an integer has more than 64 bits"),
    ],
)
def test_a_wrong_file_of_versions_is_a_problem_and_hides_no_version(pears, text, problem):
    pears.write_text(text)
    catalog = FolderCatalog(pears.parent.parent)
    assert catalog.problems.keys() == {"pear@versions.toml"}
    assert problem in catalog.problems["pear@versions.toml"]
    assert [info.version for info in catalog.all()] == ["1", "2", "3"]
    assert catalog.get("pear").version == "3"


def test_while_the_file_of_versions_is_wrong_what_it_said_before_stands(pears):
    pears.write_text('default = "1"')
    catalog = FolderCatalog(pears.parent.parent)
    pears.write_text('default = "1')
    assert catalog.refresh().broken.keys() == {"pear@versions.toml"}
    assert catalog.get("pear").version == "1"


def test_what_is_declared_of_versions_that_are_not_there_is_a_problem_and_a_sentence(pears):
    pears.write_text('default = "4"\n[aliases]\nold = "0"\n2 = "1"\n'.replace("2 =", "two ="))
    (pears.parent / "two").mkdir()
    catalog = FolderCatalog(pears.parent.parent)
    problem = catalog.problems["pear@versions.toml"]
    assert "default is version '4', which is not served" in problem
    assert "alias 'old' stands for version '0', which is not served" in problem
    with pytest.raises(UnknownVersion, match=r"The default of 'pear', by versions.toml, is version '4', which is not"):
        catalog.get("pear")
    with pytest.raises(UnknownVersion, match=r"Alias 'old' of 'pear', by versions.toml, is version '0'"):
        catalog.get("pear@old")
    assert (catalog.default("pear"), catalog.default("pear", set())) == (None, None)
    assert catalog.aliases("pear") == {"two": "1"}
    assert catalog.get("pear@3").version == "3"


def test_an_alias_cannot_take_the_name_of_a_version(tmp_path):
    write_bundle(tmp_path, "pear", "1")
    write_bundle(tmp_path, "pear", "next")
    (tmp_path / "pear" / "versions.toml").write_text('[aliases]\nnext = "1"\n')
    catalog = FolderCatalog(tmp_path)
    assert catalog.get("pear@next").version == "next"
    assert catalog.aliases("pear") == {}
    assert "alias 'next' is the name of a version" in catalog.problems["pear@versions.toml"]


def test_a_linked_file_of_versions_is_refused(pears, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "versions.toml"
    elsewhere.write_text('default = "1"')
    pears.symlink_to(elsewhere)
    catalog = FolderCatalog(pears.parent.parent)
    assert "is a link" in catalog.problems["pear@versions.toml"]
    assert catalog.get("pear").version == "3"


def test_many_may_ask_while_it_is_refreshed(pears):
    catalog = FolderCatalog(pears.parent.parent)
    spare = pears.parent.parent / "_spare"
    over, wrong = threading.Event(), []

    def ask():
        while not over.is_set():
            try:
                if catalog.get("pear").version not in ("2", "3"):
                    wrong.append("another version")
                catalog.all()
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        (pears.parent / "3").rename(spare)
        catalog.refresh()
        spare.rename(pears.parent / "3")
        catalog.refresh()
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_folder_in_place_of_the_file_of_versions_is_called_by_its_name(pears):
    pears.mkdir()
    catalog = FolderCatalog(pears.parent.parent)
    assert catalog.problems == {"pear@versions.toml": "versions.toml is not a plain file."}
    assert catalog.get("pear").version == "3"


def test_names_that_are_no_unicode_are_told_with_escapes(tmp_path):
    write_bundle(tmp_path, "apple")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")) / "1").mkdir(parents=True)
    catalog = FolderCatalog(tmp_path)
    assert catalog.problems == {r"\udcff@1": "manifest.toml is missing."}
    assert [info.ref for info in catalog.all()] == ["apple@1"]


def test_whatever_reading_a_file_raises_is_a_problem_of_that_file(pears, monkeypatch):
    def raises(*_: object) -> None:
        raise AssertionError("x" * 100_000)

    monkeypatch.setattr(catalogs, "read_declared", raises)
    catalog = FolderCatalog(pears.parent.parent)
    assert catalog.problems["pear@versions.toml"].startswith("versions.toml cannot be read: AssertionError: xxx")
    assert len(catalog.problems["pear@versions.toml"]) < 5000
    assert catalog.get("pear").version == "3"


def test_a_link_that_cannot_be_followed_is_a_problem_of_its_own(tmp_path):
    write_bundle(tmp_path, "apple")
    (tmp_path / "pear").symlink_to("x" * 300)
    (tmp_path / "apple" / "2").symlink_to("x" * 300)
    catalog = FolderCatalog(tmp_path)
    assert [info.ref for info in catalog.all()] == ["apple@1"]
    assert catalog.problems.keys() == {"pear", "apple@2"}
