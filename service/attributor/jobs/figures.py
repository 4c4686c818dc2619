"""The service in numbers, as its operator is shown them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """What waits for a worker under one priority, for the engine or for comparators. `cost`: evaluations expected."""

    priority: int
    comparison: bool
    jobs: int
    cost: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The service in numbers, at one moment. `followers`: queued jobs that wait for the answer to an equal one;
    `suspects`: those that are to be computed alone. `redelivered`, `quarantined`: ever. `counted`: all that processes
    have counted, by the names of `telemetry.metrics`."""

    lines: tuple[Line, ...]
    followers: int
    suspects: int
    running: int
    redelivered: int
    quarantined: int
    in_quarantine: int
    workers: int
    counted: Mapping[str, float]
