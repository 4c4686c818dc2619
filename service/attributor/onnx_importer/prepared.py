"""A program for inputs of one shape: what follows from the shape alone is computed once, the rest runs unasked.

Graphs spend many nodes on sizes. For equal shapes they give equal values, so the first pass of a shape keeps them, with
the arguments of every other node already in place. A graph whose sizes follow from its inputs' values is not prepared.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import gelu

from attributor.onnx_importer.fusing import gelus, operands
from attributor.onnx_importer.lines import Line, Lines, give
from attributor.onnx_importer.running import current
from attributor.onnx_importer.step import Step, run_prepared

#: Shapes kept at a time. Ours: batches of an engine come in some tens of sizes.
_MOST_SHAPES = 64
#: Most elements of a tensor that follows from the shape alone and is kept; larger ones are made anew in every pass.
_MOST_KEPT_ELEMENTS = 2**18


@dataclass(frozen=True, slots=True)
class _Ready:
    """A line whose arguments are in place but for those of `coming`: (place in the arguments, place in the program).

    `slow`: called as the program would: it has bodies. `parts`: the lines that this one stands for, where it is a GELU
    of the value in place `takes`; `frees`: places that nobody needs after it.
    """

    line: Line
    step: Step
    arguments: list[Any]
    coming: tuple[tuple[int, int], ...]
    give: int
    frees: tuple[int, ...]
    slow: bool = False
    parts: tuple["_Ready", ...] = ()
    takes: int = -1


@dataclass(frozen=True, slots=True)
class _Prepared:
    known: list[Any]
    lines: tuple[_Ready, ...]


class PreparedShapes:
    """Prepared programs of one program, by the shapes of its inputs."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], _Prepared | None] = OrderedDict()

    def __deepcopy__(self, memo: dict[int, Any]) -> "PreparedShapes":
        return PreparedShapes()  # a copy of a module may be on its way to another device or dtype

    def clear(self) -> None:
        """After the constants have moved."""
        self._kept.clear()

    def alive(self) -> set[int] | None:
        """Ids of the modules whose output was not settled by the shape last prepared for; None if there is none."""
        prepared = next((each for each in reversed(self._kept.values()) if each is not None), None)
        if prepared is None:
            return None
        lines = [part for line in prepared.lines for part in (line.parts or (line,))]
        return {id(module) for each in lines for module in (each.step, *each.line.taps) if module is not None}

    def run(self, program: Lines, inputs: Sequence[Tensor]) -> list[Any] | None:
        """The program's places after the pass; None where it cannot be prepared, or not yet."""
        key = tuple((value.shape, value.dtype) for value in inputs)
        if key not in self._kept:
            if any(part._forward_hooks for part in program.modules()):
                return None  # whoever listens counts calls
            self._kept[key] = _prepare(program, inputs)
            if len(self._kept) > _MOST_SHAPES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        prepared = self._kept[key]
        return None if prepared is None else _run(prepared, program, inputs)


def _run(prepared: _Prepared, program: Lines, inputs: Sequence[Tensor]) -> list[Any]:
    places = prepared.known.copy()
    for place, value in zip(program.inputs, inputs, strict=True):
        places[place] = value
    for ready in prepared.lines:
        if not ready.parts:
            _run_line(ready, program, places)
        elif any(part.step._forward_hooks for part in ready.parts):
            for part in ready.parts:
                _run_line(part, program, places)
        else:
            places[ready.give] = gelu(places[ready.takes])
        for place in ready.frees:
            places[place] = None
    return places


def _run_line(ready: _Ready, program: Lines, places: list[Any]) -> None:
    step = ready.step
    if ready.slow or step._forward_hooks:
        found = step(*[places[place] if place >= 0 else None for place in ready.line.takes])
    else:
        arguments = ready.arguments.copy()
        for at, place in ready.coming:
            arguments[at] = places[place]
        found = run_prepared(step, arguments)
    if ready.give >= 0:
        places[ready.give] = found[0] if isinstance(found, tuple) else found
    else:
        give(ready.line, found, places)


@torch.inference_mode(mode=False)  # what is kept will meet gradients, whatever mode the first pass is in
@torch.no_grad()
def _prepare(program: Lines, inputs: Sequence[Tensor]) -> _Prepared | None:
    """Runs the program once, slowly, and sees what followed from shapes alone."""
    places: list[Any] = [None] * program.n_places
    settled: set[int] = set()
    for place, value in zip(program.inputs, inputs, strict=True):
        places[place] = value
    rest: list[Line] = []
    current().reads = False
    for line in program.lines:
        taken = [places[place] if place >= 0 else None for place in line.takes]
        found = line.step.without_hooks(taken)
        values = found if isinstance(found, tuple) else (found,)
        for place, value in zip(line.gives, values, strict=False):
            if place >= 0:
                places[place] = value
        follows = all(place < 0 or place in settled for place in line.takes)
        if _is_settled(values, follows=follows):
            settled.update(place for place in line.gives if place >= 0)
        else:
            rest.append(line)
    if current().reads:
        return None
    known = [value if place in settled else None for place, value in enumerate(places)]
    lines = [_ready(line, known, settled) for line in rest]
    return _Prepared(known, tuple(_fused(lines, program.outputs)))


def _is_settled(values: Sequence[Any], *, follows: bool) -> bool:
    """Host values follow from shapes, wherever they come from; small tensors do if all that they are made of does."""
    if all(value is None or isinstance(value, np.ndarray) for value in values):
        return True
    return follows and all(not isinstance(v, Tensor) or v.numel() <= _MOST_KEPT_ELEMENTS for v in values)


def _ready(line: Line, known: Sequence[Any], settled: set[int]) -> _Ready:
    taken = [known[place] if place in settled else None for place in line.takes]
    arguments, spots = line.step.arguments(taken)
    coming = tuple(
        (spot, place) for spot, place in zip(spots, line.takes, strict=True) if place >= 0 and place not in settled
    )
    give = line.gives[0] if len(line.gives) == 1 else -1
    return _Ready(line, line.step, arguments, coming, give, line.frees, slow=len(line.step.bodies) > 0)


def _fused(lines: Sequence[_Ready], outputs: Sequence[int]) -> Iterator[_Ready]:
    """The lines in their order; those of a GELU as one, where its value is taken for the last time: it may be freed."""
    found = gelus([operands(line.step, line.arguments, line.coming, line.give) for line in lines], outputs)
    last = {each.lines[-2]: each for each in found}
    taken = {number for each in found for number in each.lines}
    for number, line in enumerate(lines):
        if number in last:
            parts = tuple(lines[part] for part in last[number].lines)
            frees = tuple(place for part in parts for place in part.frees)
            yield replace(parts[-1], parts=parts, takes=last[number].takes, frees=frees)
        elif number not in taken:
            yield line
