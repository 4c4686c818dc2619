"""What the workers say of their models, read from the store a few times a second at most, however many requests ask."""

import asyncio
import time
from collections.abc import Mapping

from attributor.jobs.figures import Figures
from attributor.jobs.model import ModelReport
from attributor.ports import Clock, FleetView

#: Ours: a model that has just become ready is taken for one that loads, for so long; jobs are queued for both.
FRESH_S = 0.25


class RecentReports:
    """Port FleetView, over another one. Those who ask while the reports are read wait for the same answer."""

    def __init__(self, fleet: FleetView, clock: Clock = time.monotonic) -> None:
        self._fleet = fleet
        self._clock = clock
        self._reading: asyncio.Future[Mapping[str, ModelReport]] | None = None
        self._stale_at = 0.0

    async def model_reports(self) -> Mapping[str, ModelReport]:
        """See the port; at most FRESH_S old."""
        now, reading = self._clock(), self._reading
        if reading is None or now >= self._stale_at:
            reading = self._reading = asyncio.ensure_future(self._fleet.model_reports())
            self._stale_at = now + FRESH_S
        try:
            if reading.done():
                return reading.result()
            return await asyncio.shield(reading)  # who goes away takes it from nobody else
        except Exception:
            if self._reading is reading:
                self._reading = None
            raise

    async def workers_alive(self) -> int:
        """See the port; asked anew each time."""
        return await self._fleet.workers_alive()

    async def figures(self) -> Figures:
        """See the port; asked anew each time."""
        return await self._fleet.figures()
