"""What a file is that is called .onnx and is none, in a sentence. Reads its beginning; runs nothing of it."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

from attributor.registry.files import pickle_in

#: Read of a file's beginning. Ours: long enough to tell text from a graph.
_LOOKED_AT_BYTES = 512
#: How files begin that people confuse with graphs (git-lfs, HDF5, gzip, TensorFlow Lite at byte 4).
_BEGINNINGS: Mapping[bytes, str] = {
    b"version https://git-lfs": "the pointer that git-lfs leaves in place of a file: fetch it with git lfs pull.",
    b"\x89HDF\r\n\x1a\n": "HDF5, as Keras saves: export the model with tf2onnx.",
    b"\x1f\x8b": "compressed with gzip: unpack it first.",
}
_TFLITE = b"TFL3"
_EXPORT = "export the model again, with torch.onnx.export or skl2onnx."


def what_it_is(path: Path) -> str | None:
    """The end of the sentence "it is ...", with what to do; None for what may well be a graph, or is not there."""
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT_BYTES)
    except OSError:
        return None
    if not start:
        return f"empty: {_EXPORT}"
    if held := pickle_in(path):
        return f"{held}, whose loading runs what its author wrote. Where you trust it, load it and {_EXPORT}"
    if zipfile.is_zipfile(path):
        return "a zip archive: unpack it, and give the .onnx file in it."
    if start[4:8] == _TFLITE:
        return "TensorFlow Lite: export the model with tf2onnx."
    known = next((what for beginning, what in _BEGINNINGS.items() if start.startswith(beginning)), None)
    return known or (f"text ({start[:20].decode()!r}...): {_EXPORT}" if _is_text(start) else None)


def _is_text(start: bytes) -> bool:
    """A graph begins with the number of a field, which is a control character."""
    return start.isascii() and all(byte >= ord(" ") or byte in b"\t\n\r" for byte in start)
