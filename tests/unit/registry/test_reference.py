from dataclasses import replace

import numpy as np
import pytest
from attributor.errors import BundleError
from attributor.registry import reference
from attributor.registry.catalog import FolderCatalog, open_bundle
from attributor.registry.files import record_of
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


def test_a_file_that_is_too_large_is_never_read(tmp_path, monkeypatch):
    folder = two_input_bundle(tmp_path)
    bundle = open_bundle(folder)
    monkeypatch.setattr(reference, "MAX_REFERENCE_BYTES", 100)
    monkeypatch.setattr(reference, "read_verified", None)
    for read in (lambda: open_bundle(folder), lambda: read_references(folder, bundle.manifest)):
        with pytest.raises(BundleError, match=r"measurements\.npy has 192 bytes; at most 100 are read") as caught:
            read()
        assert caught.value.field == "reference_set.measurements"


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header("(4611686018427387904, 3)"), "needs 55340232221128654848 bytes of numbers and has 0"),
        (header("(8, 3)") + bytes(97), "needs 96 bytes of numbers and has 97"),
        (header("(-1, 3)"), "count at least 1"),
        (header("(8, 3)").replace(b"\x01\x00", b"\x03\x00", 1), "not a readable npy file"),
    ],
)
def test_a_header_that_does_not_fit_its_file_costs_no_memory(tmp_path, data, words):
    folder = two_input_bundle(tmp_path)
    manifest = open_bundle(folder).manifest
    forged = replace(manifest, files={**manifest.files, "signal.npy": record_of(data)})
    (folder / "signal.npy").write_bytes(data)
    with pytest.raises(BundleError, match=words):
        read_references(folder, forged)


def test_numbers_by_columns_are_read_by_columns(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(8, 3)
    folder = exchange(two_input_bundle(tmp_path), "signal.npy", npy(np.asfortranarray(values)))
    np.testing.assert_array_equal(references(folder)["signal"], values)


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
