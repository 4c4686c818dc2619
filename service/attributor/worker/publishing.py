"""What a worker's jobs have so far, on its way to the store. Knows the port of the queue; must not know the engine."""

import logging
from collections.abc import Mapping

from attributor.jobs.job import Lease
from attributor.jobs.result import PartialResult
from attributor.ports import JobQueue

log = logging.getLogger(__name__)


class Publishing:
    """Results that are done, and estimates, until the store has taken them."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._untold: dict[Lease, PartialResult] = {}

    async def tell(self, found: Mapping[Lease, PartialResult], held: Mapping[str, Lease]) -> None:
        """Publish what was found since the last call, and what that one could not publish; only of jobs that are held,
        by id. Raises StoreUnavailable; what the store has not taken is then told by the next call."""
        for lease, partial in found.items():
            earlier = self._untold.pop(lease, PartialResult(()))
            self._untold[lease] = PartialResult(earlier.results + partial.results, partial.estimates)
        for lease, partial in list(self._untold.items()):
            if held.get(lease.job_id) == lease:
                await self._publish(lease, partial)
            del self._untold[lease]

    async def _publish(self, lease: Lease, partial: PartialResult) -> None:
        try:
            await self._queue.publish(lease, partial)
        except ValueError:  # it will be said again when the job ends, and fail it then
            about = {"job_id": lease.job_id}
            log.exception("what is known of job %s cannot be stored", lease.job_id, extra=about)
