"""Branches and loops. Their bodies are programs of their own."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.onnx_importer.node import Function, Node, Value, operator
from attributor.onnx_importer.running import size_of_values, turn


@operator("If", versions=(1, 11, 13, 16, 19, 21, 23, 24, 25), attributes="then_branch else_branch", host=(0,))
def if_(node: Node) -> Function:
    """One of two bodies."""
    then, otherwise = node.subgraphs["then_branch"], node.subgraphs["else_branch"]

    def run(condition: NDArray[np.bool_]) -> tuple[Value, ...]:
        if condition.size != 1:
            raise ValueError(f"If takes one truth value, not {list(condition.shape)}")
        return then() if bool(condition.reshape(())) else otherwise()

    return run


@operator("Loop", versions=(1, 11, 13, 16, 19, 21, 23, 24, 25), attributes="body", host=(0, 1))
def loop(node: Node) -> Function:
    """A body, as long as its condition holds and its trips last; last values and, stacked, those of every trip."""
    body = node.subgraphs["body"]
    n_carried = body.n_inputs - 2

    def run(trips: Any, condition: Any, *carried: Value) -> tuple[Value, ...]:
        most = None if trips is None else int(trips.reshape(()))
        goes_on = True if condition is None else bool(condition.reshape(()))
        collected: list[list[Value]] = [[] for _ in range(body.n_outputs - 1 - n_carried)]
        done = 0
        values = carried
        while goes_on and (most is None or done < most):
            turn()
            again, *rest = body(np.array(done, np.int64), np.array(goes_on), *values)
            values = tuple(rest[:n_carried])
            for scans, value in zip(collected, rest[n_carried:], strict=True):
                scans.append(value)
            goes_on = _truth(again)
            done += 1
        return (*values, *(_stacked(scans, 0) for scans in collected))

    return run


@operator(
    "Scan",
    versions=(9, 11, 16, 19, 21, 23, 24, 25),
    attributes="body num_scan_inputs scan_input_axes scan_input_directions scan_output_axes scan_output_directions",
)
def scan(node: Node) -> Function:
    """A body for every slice of its inputs, in step."""
    body, n_scanned = node.subgraphs["body"], node.integer("num_scan_inputs")
    n_states = body.n_inputs - n_scanned
    n_out = body.n_outputs - n_states
    in_axes = node.integers("scan_input_axes") or (0,) * n_scanned
    backwards = node.integers("scan_input_directions") or (0,) * n_scanned
    out_axes = node.integers("scan_output_axes") or (0,) * n_out
    reverse = node.integers("scan_output_directions") or (0,) * n_out

    def run(*values: Value) -> tuple[Value, ...]:
        states, scanned = values[:n_states], [_tensor(value) for value in values[n_states:]]
        sizes = {x.shape[axis] for x, axis in zip(scanned, in_axes, strict=True)}
        if len(sizes) != 1:
            raise ValueError(f"Scan over inputs of lengths {sorted(sizes)}")
        (count,) = sizes
        collected: list[list[Value]] = [[] for _ in range(n_out)]
        for i in range(count):
            turn()
            slices = [
                x.select(axis, count - 1 - i if back else i)
                for x, axis, back in zip(scanned, in_axes, backwards, strict=True)
            ]
            found = body(*states, *slices)
            states = found[:n_states]
            for outputs, value in zip(collected, found[n_states:], strict=True):
                outputs.append(value)
        stacks = [
            _stacked(outputs[::-1] if back else outputs, axis)
            for outputs, axis, back in zip(collected, out_axes, reverse, strict=True)
        ]
        return (*states, *stacks)

    return run


def _truth(value: Value) -> bool:
    if isinstance(value, Tensor):
        size_of_values()
    return bool(value.detach().cpu().reshape(())) if isinstance(value, Tensor) else bool(np.asarray(value).reshape(()))


def _tensor(value: Value) -> Tensor:
    if value is None:
        raise ValueError("Scan lacks an input")
    return value if isinstance(value, Tensor) else torch.from_numpy(value)


def _stacked(values: list[Value], axis: int) -> Value:
    if not values:
        raise ValueError("collects over no turn at all, so that the shape of what it collects is unknown")
    if all(isinstance(value, np.ndarray) for value in values):
        return np.stack([value for value in values if isinstance(value, np.ndarray)], axis)
    tensors = [_tensor(value) for value in values]
    device = next(t.device for t, v in zip(tensors, values, strict=True) if isinstance(v, Tensor))
    return torch.stack([tensor.to(device) for tensor in tensors], axis)
