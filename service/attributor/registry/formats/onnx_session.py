"""Framework onnx without gradients: a graph run by onnxruntime, for models such as trees, which have none.

Only methods that perturb can explain it. Knows onnx, onnxruntime and bundles, no requests.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import ModelProto, TensorProto, ValueInfoProto
from torch import Tensor, nn

from attributor.errors import BundleError
from attributor.registry.catalog import Bundle
from attributor.registry.foreign import describe
from attributor.registry.formats.onnx_bounds import require_bounded
from attributor.registry.formats.onnx_graph import Graph, read_graph

#: numpy's word for what a session calls the type of an input or an output.
_DTYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
_FLOATS = frozenset({"tensor(float)", "tensor(double)", "tensor(float16)"})

#: Rows of one run, which a trial takes all: a size may follow from the number of rows in any way, so no other is run.
#: Ours: more would gain little, and a trial has to have room for them.
ROWS_OF_A_RUN = (64, 32, 16, 8, 4, 2, 1)

#: onnxruntime's log: errors, which it raises too, and nothing below.
_ERRORS_ONLY = 3


class OnnxSession(nn.Module):
    """A session as a module: tensors in the order of `inputs`, one float32 tensor out. It has no gradient, no layers,
    and runs on the CPU, wherever its inputs are."""

    def __init__(self, session: onnxruntime.InferenceSession, inputs: Mapping[str, type[np.generic]]) -> None:
        super().__init__()
        self._session = session
        self._inputs = inputs

    def forward(self, *tensors: Tensor) -> Tensor:
        """Shape (rows, *output shape)."""
        given = {
            name: tensor.detach().cpu().numpy().astype(dtype, copy=False)
            for (name, dtype), tensor in zip(self._inputs.items(), tensors, strict=True)
        }
        found, start = [], 0
        for n_rows in _runs(len(tensors[0])):
            part = {name: array[start : start + n_rows] for name, array in given.items()}
            found += self._session.run(None, part)
            start += n_rows
        return torch.from_numpy(np.concatenate(found).astype(np.float32, copy=False)).to(tensors[0].device)


def _runs(n_rows: int) -> Iterator[int]:
    """The fewest numbers of ROWS_OF_A_RUN that add up to so many."""
    for most in ROWS_OF_A_RUN:
        runs, n_rows = divmod(n_rows, most)
        yield from [most] * runs


def load(bundle: Bundle) -> nn.Module:
    """The graph behind a session.

    Raises BundleError for a file that changed, tensors in other files, sizes that follow from what the inputs hold, a
    tensor that is not there or is no number, a fixed batch size, and what onnxruntime refuses.
    """
    graph = read_graph(bundle)
    _require_whole(graph)
    require_bounded(graph.model)
    _set_output(graph.model, graph.output)
    try:
        session = onnxruntime.InferenceSession(
            graph.model.SerializeToString(), _options(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions have no common class but this
        raise BundleError(f"onnxruntime cannot load {graph.file}: {describe(error)}.", field="file") from error
    (output,) = session.get_outputs()
    if output.type not in _FLOATS:
        raise BundleError(
            f"The graph's {output.name!r} is {output.type}, not a float tensor; name another one (of a classifier of "
            "skl2onnx, convert it with options={'zipmap': False} and take its probabilities).",
            field="output.tensor",
        )
    return OnnxSession(session, _dtypes(session, graph))


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait take the core from whoever has work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _dtypes(session: onnxruntime.InferenceSession, graph: Graph) -> dict[str, type[np.generic]]:
    """By input, in the order of the manifest."""
    declared: dict[str, Any] = {each.name: each for each in session.get_inputs()}
    found = {}
    for name in graph.inputs:
        each = declared[name]
        if each.type not in _DTYPES:
            raise BundleError(f"The graph's input {name!r} is {each.type}; numbers are needed.", field="inputs")
        if each.shape and isinstance(each.shape[0], int):
            raise BundleError(
                f"The graph's input {name!r} takes a batch of {each.shape[0]} only: export it with a batch axis of any "
                "size.",
                field="inputs",
            )
        found[name] = _DTYPES[each.type]
    return found


def _set_output(model: ModelProto, tensor: str) -> None:
    """The one output that is computed; onnxruntime drops what does not lead to it."""
    made = {name for node in model.graph.node for name in node.output}
    if tensor not in made:
        raise BundleError(f"The graph has no tensor {tensor!r}.", field="output.tensor")
    named = [each for each in model.graph.output if each.name == tensor] or [ValueInfoProto(name=tensor)]
    kept = ValueInfoProto()
    kept.CopyFrom(named[0])
    del model.graph.output[:]
    model.graph.output.append(kept)


def _require_whole(graph: Graph) -> None:
    """onnxruntime would look for other files wherever the process was started. `read_graph` saw to all but weights."""
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in graph.model.graph.initializer):
        raise BundleError(
            f"{graph.file} keeps tensors in other files, which a model without gradients may not: save it as one file "
            "(onnx.save_model with save_as_external_data=False).",
            field="file",
        )
