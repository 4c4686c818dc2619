"""What is known while a pass runs: which step, how large and how long it may become, whether sizes follow from values.

One pass per thread. Knows no graph.

A graph whose sizes or turns follow from the values of its inputs can make one request a million times as costly as
another, so whoever serves others has such graphs refused (`strict`): then all sizes follow from shapes, and what was
proven for a shape holds for every input of it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

#: Most elements of a tensor, for each row of a batch. Ours: half a GiB of float32, sixty times the largest activation
#: of a ResNet-50 at 224 pixels.
MOST_ELEMENTS = 2**27
#: Most turns of all bodies in a pass. Ours: far above any sequence that a model here can take.
MOST_TRIPS = 100_000


class TooLarge(Exception):
    """Raised in a pass: a node would make more elements than MOST_ELEMENTS a row, or bodies run more than MOST_TRIPS.

    `placed`: the text says which node.
    """

    def __init__(self, text: str, *, placed: bool = False) -> None:
        super().__init__(text)
        self.placed = placed


@dataclass(slots=True)
class Pass:
    """One run of a graph. `step`: the one that runs; `outer`: values for its bodies; `on_host`: its operands are host
    values. `reads`: a size was made of a tensor's values. `strict`: that is refused."""

    step: Any = None
    outer: dict[str, list[Any]] = field(default_factory=dict)
    on_host: bool = False
    reads: bool = False
    strict: bool = False
    most_elements: int = MOST_ELEMENTS
    trips: int = 0


class _Local(threading.local):
    """The pass of each thread."""

    def __init__(self) -> None:
        self.now = Pass()


_local = _Local()


def current() -> Pass:
    """The pass that runs in this thread."""
    return _local.now


@contextmanager
def new_pass(*, rows: int, strict: bool) -> Iterator[Pass]:
    """A pass over so many rows; the one before goes on when it is over."""
    before, _local.now = _local.now, Pass(strict=strict, most_elements=MOST_ELEMENTS * max(rows, 1))
    try:
        yield _local.now
    finally:
        _local.now = before


def bounded(*sizes: int) -> None:
    """Raises TooLarge for a shape of more elements than a pass may make, or a negative size: call before making it."""
    total = 1
    for size in sizes:
        total *= int(size)
    if total > _local.now.most_elements or any(size < 0 for size in sizes):
        raise TooLarge(f"would make a tensor of shape {[int(size) for size in sizes]}")


def turn() -> None:
    """Counts a turn of a body. Raises TooLarge beyond MOST_TRIPS in a pass."""
    _local.now.trips += 1
    if _local.now.trips > MOST_TRIPS:
        raise TooLarge(f"would run its body more than {MOST_TRIPS} times, those of other bodies counted")


def size_of_values() -> None:
    """To be called where a size, or whether something is done again, follows from the values of a tensor.

    Raises ValueError in a strict pass.
    """
    _local.now.reads = True
    if _local.now.strict:
        raise ValueError(
            "takes a size, or whether to go on, from the values of the model's inputs; what such a graph costs cannot "
            "be bounded. Export the model so that its sizes follow from the shapes of its inputs"
        )
