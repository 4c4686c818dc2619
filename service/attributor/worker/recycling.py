"""A worker that has grown, or has done its number of jobs, ends in good order, for another to take its place.

Nothing is lost by it: it claims no more, finishes what it holds, however long that takes, and only then ends. What a
job itself needs is no reason to give the job up: whoever took it over would grow in the same way, and so for ever.
Knows no store, no torch and no supervisor.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)

#: How often a worker looks at itself, seconds. Ours: to read the figure takes some microseconds.
LOOK_S = 1.0
#: One that has ended no job for so many looks gives free memory back to the system, if it has grown by so much since it
#: held least. Ours: passes of a large model, one job after another, must not ask for theirs anew (a sixth of an
#: encoder's time), nor small jobs that come now and then.
RESTING_LOOKS, GIVEN_BACK_BYTES = 5, 10_000_000


@dataclass(frozen=True, slots=True)
class RecyclingPolicy:
    """When a worker has had its time. `growth_bytes`: above what it held once its models were loaded; `jobs`: that it
    has ended. None: however many."""

    growth_bytes: int | None
    jobs: int | None


class Retiring(Protocol):
    """The worker's loop, as this module sees it."""

    @property
    def jobs_ended(self) -> int:
        """Since it began."""

    @property
    def idle(self) -> bool:
        """Whether it holds no job."""

    def retire(self) -> None:
        """Claim no more."""


class Lifespan:
    """Says when a worker has had its time."""

    def __init__(self, policy: RecyclingPolicy) -> None:
        self._policy = policy
        self._first_bytes: int | None = None

    def over(self, jobs_ended: int, memory_bytes: int | None) -> str | None:
        """Why the worker should be replaced; None while it should not. `memory_bytes`: what it holds beside its models;
        None: not known, or they are not all loaded yet. What it holds the first time is where growth is counted from.
        """
        if self._policy.jobs is not None and jobs_ended >= self._policy.jobs:
            return f"it has ended {jobs_ended} jobs"
        if self._policy.growth_bytes is None or memory_bytes is None:
            return None
        if self._first_bytes is None:
            self._first_bytes = memory_bytes
        grown = memory_bytes - self._first_bytes
        return f"it has grown by {grown / 1e6:,.0f} MB" if grown > self._policy.growth_bytes else None


class Resting:
    """Gives memory back once the worker rests."""

    def __init__(self, give_back: Callable[[], None], memory_bytes: Callable[[], int | None]) -> None:
        self._give_back = give_back
        self._memory_bytes = memory_bytes
        self._least_bytes = 0
        self._looks, self._jobs_ended = 0, 0

    def look(self, *, idle: bool, jobs_ended: int) -> None:
        """To be called at every look."""
        rests = idle and jobs_ended == self._jobs_ended
        self._looks, self._jobs_ended = self._looks + 1 if rests else 0, jobs_ended
        held = self._memory_bytes()
        if held is None:
            return
        self._least_bytes = min(self._least_bytes, held)
        if self._looks >= RESTING_LOOKS and held > self._least_bytes + GIVEN_BACK_BYTES:
            self._give_back()
            self._least_bytes = self._memory_bytes() or held


async def recycle(
    loop: Retiring,
    policy: RecyclingPolicy,
    memory_bytes: Callable[[], int | None],
    give_back: Callable[[], None],
    stop: asyncio.Event,
) -> bool:
    """Look after the worker until `stop` is set, which this sets itself once the worker's time is over and it holds no
    job any more; returns whether it did. `give_back`: hands free memory to the system."""
    lifespan = Lifespan(policy)
    retiring = False
    resting = Resting(give_back, memory_bytes)
    while not stop.is_set():
        resting.look(idle=loop.idle, jobs_ended=loop.jobs_ended)
        if not retiring and (reason := lifespan.over(loop.jobs_ended, memory_bytes())):
            log.info("claiming no more, another is to take over: %s", reason)
            loop.retire()
            retiring = True
        if retiring and loop.idle:
            stop.set()
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await stop.wait()
    return False
