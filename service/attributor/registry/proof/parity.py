"""The importer's module held against onnxruntime, and its gradient against finite differences: the proof of a graph.

Runs in the process of a trial. Knows onnx, onnxruntime and torch; knows no requests.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, numpy_helper
from torch import Tensor, nn

from attributor.errors import BundleError
from attributor.jobs.model import ModelInfo
from attributor.onnx_importer.arrays import ArrayReader
from attributor.registry.foreign import describe
from attributor.registry.formats.onnx_graph import Graph
from attributor.registry.proof.places import forward, places_of

#: Batches at which both are run.
BATCHES = (1, 2, 5)
#: Largest difference of two implementations in float32, relative to the largest output: ours, ten times what exports of
#: real nets left (1e-6 to 1e-5). Half precision has eleven bits.
_TOLERANCE, _HALF_TOLERANCE = 1e-4, 2e-2
#: Of the finite difference in float64. A kink within a step spoils it, rounding a shorter one: the best of these
#: counts, and most directions must agree, not all.
_DIRECTIONS, _AGREEING = 5, 3
_STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
_GRADIENT_TOLERANCE = 1e-4
#: Of float64, with what a pass loses on the way (in units of the largest output), over the tolerance.
_ROUNDING = 1e-14 / _GRADIENT_TOLERANCE
_SEED = 0
#: The newest version of the container that onnxruntime 1.31 reads.
_NEWEST_IR = 13

_DTYPES = {
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.FLOAT16: np.float16,
    TensorProto.INT64: np.int64,
    TensorProto.INT32: np.int32,
    TensorProto.INT16: np.int16,
    TensorProto.INT8: np.int8,
    TensorProto.UINT8: np.uint8,
    TensorProto.BOOL: np.bool_,
}


class OnnxRuntimeReference:
    """A graph behind onnxruntime, whatever of its tensors is asked for. Raises BundleError if it cannot be loaded."""

    def __init__(self, graph: Graph, external: Mapping[str, bytes]) -> None:
        self._graph = graph
        self._model = _self_contained(graph.model, external)
        kinds = {value.name: value.type.tensor_type.elem_type for value in graph.model.graph.input}
        self._dtypes = {name: _DTYPES.get(kinds[name], np.float32) for name in graph.inputs}
        self._session = self._load([graph.output])

    def run(self, rows: Sequence[Tensor]) -> NDArray[np.float64]:
        """The output for a batch; row by row where the file takes one only."""
        try:
            (found,) = self._session.run(None, self._feeds(rows))
        except Exception:  # a batch frozen at 1: in the input's shape, or somewhere in the graph
            if len(rows[0]) == 1:
                raise
            singles = [self._session.run(None, self._feeds([row[[i]] for row in rows]))[0] for i in range(len(rows[0]))]
            found = np.concatenate(singles)
        return np.asarray(found, np.float64)

    def tensors(self, rows: Sequence[Tensor], names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Inner tensors for one row."""
        found = self._load(list(names)).run(list(names), self._feeds([row[[0]] for row in rows]))
        return {name: np.asarray(value, np.float64) for name, value in zip(names, found, strict=True)}

    def _feeds(self, rows: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
        return {
            name: row.cpu().numpy().astype(self._dtypes[name], copy=False)
            for name, row in zip(self._graph.inputs, rows, strict=True)
        }

    def _load(self, outputs: Sequence[str]) -> onnxruntime.InferenceSession:
        asked = ModelProto()
        asked.CopyFrom(self._model)
        known = {value.name: value for value in self._model.graph.output}
        del asked.graph.output[:]
        asked.graph.output.extend(known.get(name, ValueInfoProto(name=name)) for name in outputs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # As the file says, not as onnxruntime would have it: fused kernels are not the reference.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common class but this
            raise BundleError(
                f"{self._graph.file} cannot be held against onnxruntime, which does not load it: {describe(error)}.",
                field="file",
            ) from error


def check_values(
    module: nn.Module, reference: OnnxRuntimeReference, graph: Graph, batches: Sequence[Sequence[Tensor]]
) -> str:
    """What was found, in a sentence. Raises BundleError with the worst node where the two differ."""
    half = any(t.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for t in graph.model.graph.initializer)
    allowed = _HALF_TOLERANCE if half else _TOLERANCE
    worst = 0.0
    for rows in batches:
        expected = reference.run(rows)
        with torch.no_grad():
            found = module(*(row.clone() for row in rows)).double().numpy()
        if found.shape != expected.shape:
            raise BundleError(
                f"For a batch of {len(rows[0])} the importer gives shape {list(found.shape)}, onnxruntime "
                f"{list(expected.shape)}.",
                field="file",
            )
        error = _difference(found, expected)
        if not error <= allowed:
            raise BundleError(
                f"For a batch of {len(rows[0])} the importer differs from onnxruntime by {error:.1e} (relative to the "
                f"largest output). {_worst_node(module, reference, graph, rows, allowed)}",
                field="file",
            )
        worst = max(worst, error)
    return f"passed: at most {worst:.0e} from onnxruntime"


def _worst_node(
    module: nn.Module, reference: OnnxRuntimeReference, graph: Graph, rows: Sequence[Tensor], allowed: float
) -> str:
    """The first node of the graph whose own output differs."""
    made = {name: node for node in graph.model.graph.node for name in node.output}
    layers: Mapping[str, nn.Module] = getattr(module, "named_layers", {})
    seen: dict[str, Any] = {}
    hooks = [
        part.register_forward_hook(lambda _part, _given, found, name=name: seen.__setitem__(name, found))
        for name, part in layers.items()
        if name in made
    ]
    try:
        with torch.no_grad():
            module(*(row[[0]].clone() for row in rows))
        wanted = [name for name in made if isinstance(seen.get(name), Tensor)]
        expected = reference.tensors(rows, wanted)
    except Exception as error:  # the difference is known; this only looks for its place
        return f"Its place could not be found ({describe(error)})."
    finally:
        for hook in hooks:
            hook.remove()
    for name in wanted:
        found = seen[name].double().numpy()
        apart = _difference(found.reshape(expected[name].shape), expected[name])
        if not apart <= allowed:
            node = made[name]
            return f"The first node that differs is {node.name or name!r} ({node.op_type}), by {apart:.1e}."
    return "No single node differs: look for what depends on the batch."


def check_gradient(module: nn.Module, info: ModelInfo, rows: Mapping[str, Tensor]) -> str:
    """The gradient in float64 against central differences. Raises BundleError where most directions disagree."""
    wide = copy.deepcopy(module).double()
    given = {name: row[[0]].double() if row.is_floating_point() else row[[0]] for name, row in rows.items()}
    places = {name: place.requires_grad_() for name, place in places_of(wide, info, given).items()}
    generator = torch.Generator().manual_seed(_SEED)
    outputs = forward(wide, info, given, places)
    if not isinstance(outputs, Tensor) or not outputs.requires_grad:
        raise BundleError("The output does not depend on any attributed input by way of gradients.", field="file")
    if not outputs.isfinite().all():
        return "not compared: the outputs are not finite"  # which the proof that follows says in its own words
    mix = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
    gradients = torch.autograd.grad((outputs * mix).sum(), list(places.values()), allow_unused=True)
    if any(gradient is not None and not gradient.isfinite().all() for gradient in gradients):
        return "not compared: the gradient is not finite"  # as above
    errors = []
    for _ in range(_DIRECTIONS):
        along = _direction(places, generator)
        slope = sum(
            float((gradient * along[name]).sum())
            for name, gradient in zip(places, gradients, strict=True)
            if gradient is not None
        )

        def score(step: float, along: Mapping[str, Tensor] = along) -> float:
            moved = {name: place.detach() + step * along[name] for name, place in places.items()}
            with torch.no_grad():
                found = forward(wide, info, given, moved)
            return float((found * mix).sum()) if isinstance(found, Tensor) else float("nan")

        floor = _ROUNDING * float(outputs.detach().abs().max())
        errors.append(min(_disagreement(slope, score, step, floor) for step in _STEPS))
    errors.sort()
    if not errors[_AGREEING - 1] <= _GRADIENT_TOLERANCE:
        raise BundleError(
            f"The gradient differs from finite differences by {errors[_AGREEING - 1]:.1e} (relative, float64) in most "
            "of five directions.",
            field="file",
        )
    return f"passed: within {errors[_AGREEING - 1]:.0e} of finite differences"


def _direction(places: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """At random, of length one over all places together: a step of a given length then crosses as few kinks in a large
    picture as in a row of a table."""
    along = {name: torch.randn(place.shape, generator=generator, dtype=torch.float64) for name, place in places.items()}
    length = sum(float(part.square().sum()) for part in along.values()) ** 0.5
    return {name: part / length for name, part in along.items()}


def _disagreement(slope: float, score: Callable[[float], float], step: float, floor: float) -> float:
    """Of a slope and the central difference over a step, relative to the larger; what rounding can make of the
    difference counts as nothing."""
    measured = (score(step) - score(-step)) / (2 * step)
    size = max(abs(slope), abs(measured), floor / step)
    return abs(slope - measured) / size if size > 0 else abs(slope - measured)


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Relative to the largest; equal infinities and NaN in the same places count as equal."""
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(found - expected))
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    return float(apart.max(initial=0.0)) / max(largest, 1e-6)


def _self_contained(model: ModelProto, external: Mapping[str, bytes]) -> ModelProto:
    whole = ModelProto()
    whole.CopyFrom(model)
    # The version of the container, not of the operators: fresh tools write one that onnxruntime does not know yet.
    whole.ir_version = min(whole.ir_version, _NEWEST_IR)
    reader = ArrayReader(external)
    for tensor in whole.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(reader.read(tensor), tensor.name))
    return whole
