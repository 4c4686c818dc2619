import re
import subprocess
import sys

import pytest
from attributor.errors import BundleError
from attributor.registry.catalog import FolderCatalog, open_bundle
from attributor.registry.seal import seal
from bundles import write_bundle


def test_sealing_accepts_a_change_and_gives_a_new_digest(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    before = open_bundle(folder).info.digest
    (folder / "model.py").write_text("# another\n")
    (folder / "golden.json").write_text("{}")
    assert FolderCatalog(tmp_path).problems
    sealed = seal(folder)
    assert set(sealed.files) == {"model.py", "golden.json"}
    assert open_bundle(folder).info.digest == sealed.info.digest != before


def test_sealing_twice_changes_nothing(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    before = (folder / "manifest.toml").read_bytes()
    seal(folder)
    assert (folder / "manifest.toml").read_bytes() == before


def test_the_rest_of_the_manifest_stays_as_it_was(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    path = folder / "manifest.toml"
    kept = path.read_text().partition("[files]")[0].rstrip() + "  # a remark"
    record = 'sha256 = "' + "0" * 64 + '"\nsize_bytes = 1\n'
    tables = f'\n\n[files."old.py"]\n{record}\n[files]\n[metadata]\nkey = "[files]"\n'
    path.write_text(kept + tables)
    seal(folder)
    text = path.read_text()
    assert text.startswith(kept)
    assert '[metadata]\nkey = "[files]"' in text
    assert "old.py" not in text
    assert open_bundle(folder).info.metadata == {"key": "[files]"}


def test_a_manifest_that_is_wrong_is_not_written(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    wrong = (folder / "manifest.toml").read_text().replace('framework = "torch"', 'framework = "abacus"')
    (folder / "manifest.toml").write_text(wrong)
    with pytest.raises(BundleError) as caught:
        seal(folder)
    assert caught.value.field == "framework"
    assert (folder / "manifest.toml").read_text() == wrong


def test_a_folder_without_a_manifest_is_named(tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BundleError, match=re.escape(f"no manifest.toml in {folder}: give the folder")):
            seal(folder)


def test_the_command_says_what_it_sealed_or_which_folder_it_could_not(tmp_path):
    folder = write_bundle(tmp_path, "pear")

    def sealed(path):
        command = [sys.executable, "-m", "attributor", "models", "seal", str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = sealed(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pear@1" in done.stdout
    assert "model.py" in done.stdout
    wrong = sealed(tmp_path / "pear")
    assert wrong.returncode == 1
    assert str(tmp_path / "pear") in wrong.stderr


def test_a_link_is_not_sealed(tmp_path):
    folder = write_bundle(tmp_path, "pear")
    (folder / "weights.safetensors").symlink_to(folder / "model.py")
    with pytest.raises(BundleError, match="is a link"):
        seal(folder)
