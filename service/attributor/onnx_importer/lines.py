"""A step in its place among others, and where its outputs go. Knows steps and places, no graph."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

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


class Lines(Protocol):
    """What of a program is run: its lines over numbered places."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    lines: list[Line]
    n_places: int

    def modules(self) -> Iterator[nn.Module]:
        """All that somebody may listen to."""


def give(line: Line, found: Any, places: list[Any], *, of_rows: bool = False) -> None:
    """Puts the outputs of a line into their places, past whoever listens to one of them."""
    values = found if isinstance(found, tuple) else (found,)
    for place, tap, value in zip(line.gives, line.taps, values, strict=False):
        if place >= 0:
            if of_rows and isinstance(value, Tensor):
                shown = Rows.shown(value)
                places[place] = Rows.of(shown if tap is None else tap(shown), value)
            else:
                places[place] = value if tap is None else tap(value)
