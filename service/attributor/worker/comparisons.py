"""Jobs that a comparator computes beside the engine: a task each. Knows ports, no store, no process."""

import asyncio
import logging
from collections.abc import Callable, Iterator

from attributor.engine.faults import failure
from attributor.errors import DeadlineExceeded
from attributor.jobs.job import ClaimedJob, Failure, Lease
from attributor.jobs.result import AttributionResult
from attributor.ports import Comparator

log = logging.getLogger(__name__)

#: Of a job whose deadline passes outside the engine.
LATE = Failure(DeadlineExceeded.code, "the deadline passed before the answer was there")


class Comparisons:
    """The comparator's jobs under way. `deliver` is called once for each that ends: with None if it was stopped."""

    def __init__(
        self, comparator: Comparator, deliver: Callable[[Lease, AttributionResult | Failure | None], None]
    ) -> None:
        self._comparator = comparator
        self._deliver = deliver
        self._running: dict[Lease, asyncio.Task[None]] = {}
        self._late: set[Lease] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._running)

    def start(self, job: ClaimedJob, left_s: float | None = None) -> None:
        """Begin a job. Whatever still runs for it under an earlier lease is stopped. It fails when `left_s` are
        over, if it has a deadline."""
        for lease in [lease for lease in self._running if lease.job_id == job.lease.job_id]:
            self.stop(lease)
        if left_s is not None and left_s <= 0:
            self._deliver(job.lease, LATE)
            return
        task = self._running[job.lease] = asyncio.create_task(self._run(job))
        if left_s is not None:
            timer = asyncio.get_running_loop().call_later(left_s, self._expire, job.lease)
            task.add_done_callback(lambda _: timer.cancel())

    def stop(self, lease: Lease) -> bool:
        """End a job, if it is one of these. Once: a second word must not disturb its tidying up."""
        task = self._running.get(lease)
        if task is not None and not task.cancelling():
            task.cancel()
        return task is not None

    def _expire(self, lease: Lease) -> None:
        task = self._running.get(lease)
        if task is not None and not task.cancelling():
            self._late.add(lease)
            task.cancel()

    async def close(self) -> None:
        """End all of them, delivering nothing; returns when they have."""
        self._closing = True
        tasks = list(self._running.values())
        for lease in list(self._running):
            self.stop(lease)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: ClaimedJob) -> None:
        outcome: AttributionResult | Failure | None = None
        try:
            outcome = await self._comparator.explain(job.spec)
        except asyncio.CancelledError:
            outcome = LATE if job.lease in self._late else None
            about = {"job_id": job.lease.job_id}
            log.info("%s of job %s was stopped", job.spec.explanation.method, job.lease.job_id, extra=about)
        except Exception as error:  # no defect may leave its job running for ever
            outcome = failure(error, job_id=job.lease.job_id)
        del self._running[job.lease]
        self._late.discard(job.lease)
        if not self._closing:
            self._deliver(job.lease, outcome)
