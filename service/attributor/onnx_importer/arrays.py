"""Weights as arrays, out of the message or out of the files that the bundle brings. Opens no file itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from attributor.onnx_importer.node import Unsupported

#: numpy's names of the types that a weight may have.
_COMPUTED = frozenset(["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"])


class ArrayReader:
    """Initializers as arrays; `external`: the bytes of the files that they may lie in, by plain name."""

    def __init__(self, external: Mapping[str, bytes]) -> None:
        self._external = external

    def read(self, tensor: onnx.TensorProto) -> NDArray[Any]:
        """Raises Unsupported for a type, a file or a size that is not as it says."""
        if tensor.data_type == onnx.TensorProto.STRING:
            raise Unsupported("holds text")
        try:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                tensor = self._with_data(tensor)
            array = np.array(numpy_helper.to_array(tensor))
        except (Unsupported, MemoryError):
            raise
        except Exception as error:  # numpy's and onnx's words for data that do not fit their shape
            raise Unsupported(f"cannot be read ({type(error).__name__}: {error})") from None
        if array.dtype.name not in _COMPUTED:
            raise Unsupported(f"holds {array.dtype.name}, with which it is not computed")
        return array

    def _with_data(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        said = {entry.key: entry.value for entry in tensor.external_data}
        name = said.get("location", "")
        if name not in self._external:
            raise Unsupported(f"lies in the file {name!r}, which is none of the bundle's files")
        data = self._external[name]
        first = int(said.get("offset", 0))
        length = int(said.get("length", len(data) - first))
        if not 0 <= first <= first + length <= len(data):
            raise Unsupported(f"lies beyond the end of {name!r}")
        whole = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        whole.raw_data = data[first : first + length]
        return whole
