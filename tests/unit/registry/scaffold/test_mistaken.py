"""What files are that are called .onnx and are none."""

import io
import pickle
import zipfile

import onnx
import pytest
import torch
from attributor.registry.scaffold.mistaken import what_it_is
from onnx import TensorProto, helper


def zipped():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("net.onnx", b"x")
    return data.getvalue()


def saved():
    data = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, data)
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (pickle.dumps({"a": 1}), "a pickle, whose loading runs what its author wrote"),
        (saved(), "a pickle of torch.save"),
        (zipped(), "a zip archive: unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "text ('<!DOCTYPE html>"),
        (b"\x89HDF\r\n\x1a\n\x00", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
    ],
)
def test_a_file_is_called_what_it_is(tmp_path, content, words):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    assert words in what_it_is(path)


def test_a_graph_is_not_mistaken(tmp_path):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    onnx.save(helper.make_model(graph), tmp_path / "x.onnx")
    assert what_it_is(tmp_path / "x.onnx") is None
    assert what_it_is(tmp_path / "absent.onnx") is None
