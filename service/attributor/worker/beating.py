"""What a worker says to the store at every beat. Knows no jobs and no engine."""

import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import NamedTuple

from attributor.errors import StoreUnavailable
from attributor.ports import Clock

log = logging.getLogger(__name__)

Step = Callable[[], Awaitable[object]]


class Steps(NamedTuple):
    """`live`: say that this worker lives. `renew`: its leases. `reap`: take jobs from workers that are silent."""

    live: Step
    renew: Step
    reap: Step


class Beats:
    """One beat after the other. Steps that raise StoreUnavailable are taken again at the next one.

    After the store was away, every worker seems silent: each is given the time of a lease to come back, before jobs are
    taken from any. Otherwise the first to come back would take those of all the others, who are about to deliver them.
    """

    def __init__(self, steps: Steps, clock: Clock, lease_s: float) -> None:
        self._steps = steps
        self._clock = clock
        self._lease_s = lease_s
        self._reaps_from_s = -inf

    async def beat(self) -> None:
        """Take the steps in their order."""
        began_s = self._clock()
        is_there = await _taken(self._steps.live)
        await _taken(self._steps.renew)
        now_s = self._clock()
        if not is_there or now_s - began_s > self._lease_s / 2:  # it said so, or said nothing for long
            self._reaps_from_s = now_s + self._lease_s
        if now_s >= self._reaps_from_s:
            await _taken(self._steps.reap)


async def _taken(step: Step) -> bool:
    try:
        await step()
    except StoreUnavailable as error:  # what one asks may be refused, and the next taken
        log.warning("cannot beat: %s (%s)", error, error.__cause__)
        return False
    return True
