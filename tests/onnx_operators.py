"""Node cases by operator, with their weights in the file or not, and central differences to hold gradients against."""

import copy
import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from attributor.onnx_importer.reading import OLDEST_OPSET
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx_cases import node_cases, outcome
from torch import Tensor

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
_OURS = {
    *_FLOATS,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.INT16,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.BOOL,
}
#: Central differences of this step in float64 are that close; ours, a hundred times what was seen.
_CLOSE = 1e-6
#: Step of the central differences: the cube root of float64's spacing, for numbers about 1.
_STEP = 6e-6


@cache
def _by_operator() -> dict[str, list[TestCase]]:
    found: dict[str, list[TestCase]] = {}
    for case in node_cases().values():
        if len(case.model.graph.node) == 1:
            found.setdefault(case.model.graph.node[0].op_type, []).append(case)
    return found


def cases_of(op_type: str) -> list[TestCase]:
    """The cases that are one node of this operator."""
    return _by_operator()[op_type]


def with_weights(case: TestCase) -> TestCase:
    """The case with all inputs but the first stored in the file, as weights are."""
    model = copy.deepcopy(case.model)
    inputs, outputs = case.data_sets[0]
    for value, array in zip(list(model.graph.input)[1:], inputs[1:], strict=True):
        model.graph.initializer.append(numpy_helper.from_array(_array(array), value.name))
        model.graph.input.remove(value)
    return dataclasses.replace(case, model=model, data_sets=[(inputs[:1], outputs)])


def gradient_difference(case: TestCase) -> float | None:
    """How far autograd and a central difference lie apart, relative to the larger; in float64, in a random direction.

    None for a case that is refused or has no floats in or out, or an input of no numbers. Inputs are finite, and moved
    a little first, off kinks.
    """
    floats = [value.type.tensor_type.elem_type in _FLOATS for value in case.model.graph.input]
    output = case.model.graph.output[0]
    arrays = [_array(value) for value in case.data_sets[0][0]]
    known = not any(floats) or output.type.tensor_type.elem_type not in _FLOATS
    if known or not all(array.size for array in arrays):
        return None
    try:
        program = import_model(case.model.SerializeToString(), output=output.name).double().program
    except Refused:
        return None
    random = torch.Generator().manual_seed(0)
    given = [_moved(array, random) if is_float else torch.from_numpy(array)
             for array, is_float in zip(arrays, floats, strict=True)]  # fmt: skip
    leaves = [value.requires_grad_() for value, is_float in zip(given, floats, strict=True) if is_float]
    (found,) = program(given)
    weights = torch.rand(found.shape, generator=random, dtype=torch.float64) + 0.5
    gradients = torch.autograd.grad((found * weights).sum(), leaves, allow_unused=True, materialize_grads=True)
    directions = [torch.randn(leaf.shape, generator=random, dtype=torch.float64) for leaf in leaves]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))

    def moved(step: float) -> float:
        with torch.no_grad():
            steps = iter(directions)
            there = [v + step * next(steps) if is_float else v for v, is_float in zip(given, floats, strict=True)]
            return float((program(there)[0] * weights).sum())

    difference = (moved(_STEP) - moved(-_STEP)) / (2 * _STEP)
    return abs(slope - difference) / max(abs(slope), abs(difference), 1.0)


def _array(value: Any) -> np.ndarray:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.array(value, copy=True)


def _moved(array: np.ndarray, random: torch.Generator) -> Tensor:
    wide = np.asarray(array, dtype=np.float64)
    value = torch.from_numpy(np.where(np.isfinite(wide), wide, 0.5))
    return value + 0.003 * (0.5 + torch.rand(value.shape, generator=random, dtype=torch.float64))


def misjudged(op_type: str, refused: str = "^$") -> list[str]:
    """The cases of an operator that are not computed as ONNX says, as they are or with their weights in the file.

    Those that have types we do not compute with, and those whose name matches `refused`, must be refused instead.
    """
    found = []
    for case in cases_of(op_type):
        wanted = "passed" if _has_our_types(case) and not re.search(refused, case.name) else "refused"
        outcomes = [outcome(case)]
        if wanted == "passed" and len(case.model.graph.input) > 1:
            outcomes.append(outcome(with_weights(case)))
        found += [f"{case.name}: {each}" for each in outcomes if not each.startswith(wanted)]
    return found


def _has_our_types(case: TestCase) -> bool:
    values = [*case.model.graph.input, *case.model.graph.output]
    types = {value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else 0 for value in values}
    return types <= _OURS and case.model.opset_import[0].version >= OLDEST_OPSET


def wrong_gradients(op_type: str, left_out: str = "^$") -> list[str]:
    """The cases whose gradient differs from central differences; `left_out`: names of those that have none."""
    found = []
    for case in cases_of(op_type):
        if re.search(left_out, case.name) or outcome(case) != "passed":
            continue
        for each in (case, with_weights(case)) if len(case.model.graph.input) > 1 else (case,):
            difference = gradient_difference(each)
            if difference is not None and not difference < _CLOSE:
                found.append(f"{case.name}: {difference}")
    return found


def run_both(
    node: onnx.NodeProto, opset: int, x: np.ndarray, weights: Mapping[str, np.ndarray], output: int
) -> tuple[np.ndarray, np.ndarray]:
    """What we and onnxruntime make of one node with the input `x`; the other inputs are stored. Of its last output,
    which has an ONNX type."""
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [onnx.helper.make_tensor_value_info(node.output[-1], output, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    data = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    theirs = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    (ours,) = import_model(data, output=node.output[-1]).program([torch.from_numpy(x)])
    return ours.numpy(), theirs
