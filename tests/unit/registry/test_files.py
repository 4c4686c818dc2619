import os
import pickle
import zipfile

import pytest
from attributor.errors import BundleError
from attributor.registry.files import (
    FileRecord,
    list_files,
    read_manifest,
    read_verified,
    record_of,
    record_of_file,
    verify,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "manifest.toml").write_text("")
    (tmp_path / "model.py").write_bytes(b"code")
    return tmp_path


def test_the_manifest_and_bytecode_are_not_listed(folder):
    (folder / "__pycache__").mkdir()
    assert list_files(folder) == ["model.py"]


def test_a_file_that_is_as_recorded_is_read(folder):
    assert read_verified(folder, "model.py", record_of(b"code")) == b"code"
    verify(folder, {"model.py": record_of(b"code")})


@pytest.mark.parametrize(
    ("record", "field"),
    [(record_of(b"Code"), "files.model.py.sha256"), (record_of(b"more code"), "files.model.py.size_bytes")],
)
def test_another_hash_or_size_is_refused(folder, record, field):
    with pytest.raises(BundleError) as caught:
        verify(folder, {"model.py": record})
    assert caught.value.field == field


def test_a_missing_file_is_refused(folder):
    with pytest.raises(BundleError, match=r"weights\.safetensors is missing"):
        verify(folder, {"model.py": record_of(b"code"), "weights.safetensors": FileRecord("0" * 64, 1)})


def test_an_undeclared_file_is_refused(folder):
    (folder / "torch.py").write_bytes(b"print('not sealed')")
    with pytest.raises(BundleError, match=r"torch\.py is not declared"):
        verify(folder, {"model.py": record_of(b"code")})


def test_a_link_is_refused_even_to_the_right_bytes(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "model.py"
    elsewhere.write_bytes(b"code")
    (folder / "model.py").unlink()
    (folder / "model.py").symlink_to(elsewhere)
    with pytest.raises(BundleError, match=r"model\.py is a link"):
        verify(folder, {"model.py": record_of(b"code")})
    with pytest.raises(BundleError, match=r"model\.py is a link"):
        read_verified(folder, "model.py", record_of(b"code"))


def test_a_folder_and_a_pipe_are_no_files(folder):
    (folder / "more").mkdir()
    with pytest.raises(BundleError, match="more is not a plain file"):
        list_files(folder)
    (folder / "more").rmdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(BundleError, match="pipe is not a plain file"):
        list_files(folder)


def test_a_hidden_file_is_refused(folder):
    (folder / ".model.py").write_bytes(b"")
    with pytest.raises(BundleError, match=r"'\.model\.py' is not plain"):
        list_files(folder)


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "model.PKL", "a.joblib", "last.ckpt"])
def test_a_pickle_is_refused_with_what_to_do_instead(folder, name):
    (folder / name).write_bytes(b"anything")
    with pytest.raises(BundleError, match="Save weights as safetensors"):
        verify(folder, {"model.py": record_of(b"code"), name: record_of(b"anything")})


def test_torchscript_and_a_pickle_are_known_by_what_they_hold(folder):
    for names, words in (
        (["m/data.pkl", "m/constants.pkl", "m/code/a.py"], "is TorchScript"),
        (["m/data.pkl"], "a pickle of torch.save"),
    ):
        with zipfile.ZipFile(folder / "model.onnx", "w") as archive:
            for name in names:
                archive.writestr(name, b"")
        with pytest.raises(BundleError, match=words):
            list_files(folder)
    (folder / "model.onnx").write_bytes(pickle.dumps([1]))
    with pytest.raises(BundleError, match=r"model\.onnx is a pickle, and loading one runs"):
        list_files(folder)
    with zipfile.ZipFile(folder / "model.onnx", "w") as archive:
        archive.writestr("m/archive_format", b"pt2")
    assert list_files(folder) == ["model.onnx", "model.py"]


def test_more_than_anyone_needs_is_refused_before_it_is_read(folder):
    with (folder / "weights.safetensors").open("wb") as file:
        file.truncate(20 * 10**9)
    with pytest.raises(BundleError, match="at most 20000000000 are read"):
        verify(folder, {"model.py": record_of(b"code"), "weights.safetensors": FileRecord("0" * 64, 20 * 10**9)})
    (folder / "manifest.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(BundleError, match=r"manifest\.toml has 1000001 bytes"):
        read_manifest(folder)


def test_a_file_is_hashed_as_its_bytes_are(folder):
    data = bytes(range(256)) * 5000
    (folder / "big.npy").write_bytes(data)
    assert record_of_file(folder / "big.npy") == record_of(data)
