"""A compiled graph: its steps in order, over numbered places for values that are freed after their last use.

Knows steps. Knows no protobuf.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from attributor.onnx_importer.constants import Constants
from attributor.onnx_importer.lines import Line, give
from attributor.onnx_importer.node import Value
from attributor.onnx_importer.prepared import PreparedShapes
from attributor.onnx_importer.step import Rows, Step


class Program(nn.Module):
    """A graph. `inputs`, `outer`: places of its inputs and of the values of an outer graph that it uses; `outputs`:
    places of its outputs, or, for one that is known at import, the number of a constant, as -1 - number. `is_whole`:
    it is no body of a node, so that all that comes in are the caller's tensors."""

    def __init__(self, constants: Constants, n_places: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        self.taps = nn.ModuleList()
        self.lines: list[Line] = []
        self.inputs: tuple[int, ...] = ()
        self.outer: tuple[int, ...] = ()
        self.outputs: tuple[int, ...] = ()
        self.n_places = n_places
        self.is_whole = False
        self._constants = (constants,)
        self._prepared = PreparedShapes()
        self._moved = -1

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
        (constants,) = self._constants
        if self._moved != constants.moves:
            self._moved = constants.moves
            self._prepared.clear()
        places = self._prepared.run(self, inputs) if self.is_whole and _all_tensors(inputs) else None
        if places is None:
            places = self._places(inputs, outer)
        return tuple(places[place] if place >= 0 else self._known(constants, -1 - place) for place in self.outputs)

    def _places(self, inputs: Sequence[Any], outer: Sequence[Any]) -> list[Any]:
        places: list[Any] = [None] * self.n_places
        for place, value in zip(self.inputs, inputs, strict=True):
            places[place] = value
        for place, value in zip(self.outer, outer, strict=True):
            places[place] = value
        mapped = any(type(value) is Rows for value in inputs)
        for line in self.lines:
            taken = [places[place] if place >= 0 else None for place in line.takes]
            found = line.step(*taken)
            of_rows = mapped and any(type(value) is Rows for value in taken)
            if len(line.gives) == 1:
                value = found[0] if isinstance(found, tuple) else found
                places[line.gives[0]] = self._rows(line.step, value) if of_rows else value
            else:
                give(line, found, places, of_rows=of_rows)
            for place in line.frees:
                places[place] = None
        return places

    def alive(self) -> set[int] | None:
        """See PreparedShapes."""
        return self._prepared.alive()

    @staticmethod
    def _rows(step: Step, value: Any) -> Any:
        before, step.before_shown = step.before_shown, None
        if before is not None:
            return Rows.of(value, before)
        return Rows(value) if isinstance(value, Tensor) else value

    @staticmethod
    def _known(constants: Constants, number: int) -> Value:
        kept = constants.arrays[number]
        return constants.tensors[number] if kept is None else kept


def _all_tensors(values: Sequence[Any]) -> bool:
    return all(isinstance(value, Tensor) for value in values)
