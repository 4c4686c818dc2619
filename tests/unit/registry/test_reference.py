import numpy as np
import pytest
from attributor.errors import BundleError
from attributor.registry.catalog import FolderCatalog, open_bundle
from attributor.registry.reference import read_references
from attributor.registry.seal import seal
from bundles import npy, token_bundle, two_input_bundle, write_bundle


def references(folder):
    bundle = open_bundle(folder)
    return read_references(bundle.folder, bundle.manifest)


def exchange(folder, file: str, data: bytes):
    (folder / file).write_bytes(data)
    seal(folder)
    return folder


def test_a_reference_set_is_counted_and_read(tmp_path):
    folder = token_bundle(tmp_path)
    assert FolderCatalog(tmp_path).get("words").reference_count == 5
    read = references(folder)
    assert {name: (array.shape, array.dtype) for name, array in read.items()} == {
        "ids": ((5, 6), np.int64),
        "mask": ((5, 6), np.float32),
    }
    np.testing.assert_array_equal(read["mask"], read["ids"] != 0)
    with pytest.raises(ValueError, match="read-only"):
        read["mask"][0] = 0


def test_a_bundle_without_one_counts_none(tmp_path):
    folder = write_bundle(tmp_path, "plain")
    assert open_bundle(folder).info.reference_count == 0
    assert references(folder) == {}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a readable npy file"),
        (b"PK\x03\x04 no npy", "not a readable npy file"),
        (npy(np.zeros((8, 3), np.float32))[:-4], "not a readable npy file"),
        (npy(np.zeros((0, 3), np.float32)), "signal.npy"),
        (npy(np.zeros((8, 3), np.float64)), "holds float64; float32 is needed"),
        (npy(np.zeros((8, 4), np.float32)), r"shape \[8, 4\]; \[count, 3\] is needed"),
        (npy(np.zeros(3, np.float32)), r"\[count, 3\] is needed"),
        (npy(np.array(1.0, np.float32)), "signal.npy"),
    ],
)
def test_a_file_that_is_not_as_declared_breaks_the_bundle(tmp_path, data, words):
    folder = exchange(two_input_bundle(tmp_path), "signal.npy", data)
    with pytest.raises(BundleError, match=words) as caught:
        open_bundle(folder)
    assert caught.value.field == "reference_set.signal"


def test_a_pickled_array_is_never_opened(tmp_path):
    folder = two_input_bundle(tmp_path)
    np.save(folder / "signal.npy", np.array([print] * 8, dtype=object), allow_pickle=True)
    seal(folder)
    with pytest.raises(BundleError, match=r"signal\.npy holds objects, which are pickled; float32 is needed"):
        open_bundle(folder)


def test_the_counts_of_all_inputs_must_agree(tmp_path):
    folder = exchange(two_input_bundle(tmp_path), "signal.npy", npy(np.zeros((7, 3), np.float32)))
    with pytest.raises(BundleError, match="8 of measurements, 7 of signal") as caught:
        open_bundle(folder)
    assert caught.value.field == "reference_set"


@pytest.mark.parametrize(
    ("file", "array", "words"),
    [
        ("ids.npy", np.full((5, 6), 12), "ids outside the vocabulary, 0 to 11"),
        ("ids.npy", np.full((5, 6), -1), "ids outside the vocabulary"),
        ("mask.npy", np.full((5, 6), np.nan, np.float32), "NaN or infinity"),
    ],
)
def test_values_that_an_input_cannot_have_are_refused(tmp_path, file, array, words):
    folder = exchange(token_bundle(tmp_path), file, npy(array))
    with pytest.raises(BundleError, match=words) as caught:
        references(folder)
    assert caught.value.field == f"reference_set.{file.removesuffix('.npy')}"


def test_a_file_exchanged_after_the_catalog_looked_is_refused(tmp_path):
    folder = two_input_bundle(tmp_path)
    bundle = open_bundle(folder)
    (folder / "signal.npy").write_bytes(npy(np.ones((8, 3), np.float32)))
    with pytest.raises(BundleError, match=r"signal\.npy has sha256"):
        read_references(bundle.folder, bundle.manifest)
