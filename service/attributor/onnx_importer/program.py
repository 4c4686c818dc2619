"""A compiled graph: its steps in order, over numbered places for values that are freed after their last use.

Knows steps. Knows no protobuf.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from attributor.onnx_importer.constants import Constants
from attributor.onnx_importer.node import Value
from attributor.onnx_importer.step import Rows, Step


class Tap(nn.Module):
    """Passes a value on: where hooks see one of several outputs of a node, or an input of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.layer_type = "Tensor"

    def forward(self, value: Any) -> Any:
        """The value."""
        return value


@dataclass(slots=True)
class Line:
    """A step in its place. `takes`: places of its arguments that come in the pass, -1 for one that is left out;
    `gives`: places of its outputs, -1 for one that nobody wants; `frees`: places that nobody needs after it."""

    step: Step
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    taps: tuple[Tap | None, ...]
    frees: tuple[int, ...] = ()


class Program(nn.Module):
    """A graph. `inputs`, `outer`: places of its inputs and of the values of an outer graph that it uses; `outputs`:
    places of its outputs, or, for one that is known at import, the number of a constant, as -1 - number."""

    def __init__(self, constants: Constants, n_places: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        self.taps = nn.ModuleList()
        self.lines: list[Line] = []
        self.inputs: tuple[int, ...] = ()
        self.outer: tuple[int, ...] = ()
        self.outputs: tuple[int, ...] = ()
        self.n_places = n_places
        self._constants = (constants,)

    def append(self, line: Line) -> None:
        """Adds a step."""
        self.steps.append(line.step)
        self.taps.extend(tap for tap in line.taps if tap is not None)
        self.lines.append(line)

    def finish(self) -> None:
        """To be called when all lines are there: finds out when places are free."""
        last: dict[int, int] = {}
        for number, line in enumerate(self.lines):
            for place in (*line.takes, *line.gives):
                last[place] = number
        kept = set(self.outputs)
        for number, line in enumerate(self.lines):
            line.frees = tuple(p for p, at in last.items() if at == number and p >= 0 and p not in kept)

    def forward(self, inputs: Sequence[Any], outer: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The outputs, tensors or host values; of rows, tensors with the rows in front."""
        places: list[Any] = [None] * self.n_places
        for place, value in zip(self.inputs, inputs, strict=True):
            places[place] = value
        for place, value in zip(self.outer, outer, strict=True):
            places[place] = value
        mapped = any(type(value) is Rows for value in inputs)
        for line in self.lines:
            taken = [places[place] if place >= 0 else None for place in line.takes]
            found = line.step(*taken)
            if len(line.gives) == 1:
                value = found[0] if isinstance(found, tuple) else found
                places[line.gives[0]] = Rows(value) if mapped and _of_rows(value, taken) else value
            else:
                self._give(line, found, places, mapped=mapped and any(type(value) is Rows for value in taken))
            for place in line.frees:
                places[place] = None
        (constants,) = self._constants
        return tuple(places[place] if place >= 0 else self._known(constants, -1 - place) for place in self.outputs)

    def _give(self, line: Line, found: Any, places: list[Any], *, mapped: bool) -> None:
        values = found if isinstance(found, tuple) else (found,)
        for place, tap, value in zip(line.gives, line.taps, values, strict=False):
            if place >= 0:
                seen = value if tap is None else tap(value)
                places[place] = Rows(seen) if mapped and isinstance(seen, Tensor) else seen

    @staticmethod
    def _known(constants: Constants, number: int) -> Value:
        kept = constants.arrays[number]
        return constants.tensors[number] if kept is None else kept


def _of_rows(value: Any, taken: Sequence[Any]) -> bool:
    return isinstance(value, Tensor) and any(type(each) is Rows for each in taken)

