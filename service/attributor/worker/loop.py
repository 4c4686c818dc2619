"""The worker: claim jobs, admit them, step the engine, store what ends. Knows ports and the engine, no torch, no Redis.

Four tasks run side by side: `_claim` fills the inbox, `_step` drives the engine in a thread, `_beat` renews leases and
hears of cancellations, and one delivery per ended job. The engine is touched by `_step` only.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from attributor.engine.engine import Engine, Finished
from attributor.errors import InternalError, StoreUnavailable
from attributor.jobs.job import ClaimedJob, Failure, Lease, Progress
from attributor.jobs.result import JobResult
from attributor.ports import Clock, Fleet, JobQueue

log = logging.getLogger(__name__)

#: Pause before the store is tried again, seconds. Ours: a restart of the embedded one takes half a second.
STORE_RETRY_S = 0.5
#: Longest wait for the store's bell, seconds: so late at most does a worker notice that it should stop.
BELL_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """How a worker behaves; units and reasons stand in `settings.WorkerSettings`."""

    max_active_jobs: int
    beat_s: float
    step_timeout_s: float
    drain_s: float


class WorkerLoop:
    """One worker's life. `on_hang` is called when a pass outlasts its time; it should end the process."""

    def __init__(
        self,
        worker_id: str,
        ports: tuple[JobQueue, Fleet],
        engine: Engine,
        policy: WorkerPolicy,
        clock: Clock,
        on_hang: Callable[[], None],
    ) -> None:
        self._worker_id = worker_id
        self._queue, self._fleet = ports
        self._engine = engine
        self._policy = policy
        self._clock = clock
        self._on_hang = on_hang
        self._held: dict[str, Lease] = {}
        self._inbox: list[ClaimedJob] = []
        self._stopping: set[Lease] = set()
        self._progress: Mapping[str, Progress] = {}
        self._step_began_s: float | None = None
        self._work = asyncio.Event()
        self._freed = asyncio.Event()
        self._deliveries: dict[Lease, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then claim no more, and finish what is held within the drain time.

        What is not finished by then is claimed by another worker once its lease has run out.
        """
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(task) for task in (self._claim(stop), self._step(), self._beat())]
            await stop.wait()
            log.info("stopping: %d jobs held", len(self._held))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._policy.drain_s):
                    while self._held:
                        self._freed.clear()
                        await self._freed.wait()
            for task in background:
                task.cancel()
        log.info("stopped: %d jobs left to others", len(self._held))

    async def _claim(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            room = self._policy.max_active_jobs - len(self._held)
            if room <= 0:
                self._freed.clear()
                await self._freed.wait()
                continue
            try:
                claimed = await self._queue.claim(room)
                if not claimed:
                    await self._queue.wait_for_work(BELL_S)
            except StoreUnavailable as error:
                log.warning("cannot claim: %s", error)
                await asyncio.sleep(STORE_RETRY_S)
                continue
            for job in claimed:
                self._held[job.lease.job_id] = job.lease
            self._inbox.extend(claimed)
            self._work.set()

    async def _step(self) -> None:
        while True:
            self._take_in()
            if self._engine.idle:
                self._work.clear()
                await self._work.wait()
                continue
            self._step_began_s = self._clock()
            finished = await asyncio.to_thread(self._engine.step)
            self._step_began_s = None
            self._progress = self._engine.progress()
            for ended in finished:
                self._deliver(ended)

    def _take_in(self) -> None:
        """Between two passes: drop the jobs that were cancelled, admit those that were claimed."""
        stopping, self._stopping = self._stopping, set()
        inbox, self._inbox = self._inbox, []
        for job in inbox:
            self._engine.admit(job.lease.job_id, job.spec)
        for lease in stopping:
            # Not if it was claimed again meanwhile: the word was about the lease before.
            if self._held.get(lease.job_id) == lease:
                self._engine.cancel(lease.job_id)
                self._deliver(Finished(lease.job_id, None))

    def _deliver(self, ended: Finished) -> None:
        lease = self._held.get(ended.job_id)
        if lease is not None and lease not in self._deliveries:
            self._deliveries[lease] = asyncio.create_task(self._store(lease, ended.outcome))

    async def _store(self, lease: Lease, outcome: JobResult | Failure | None) -> None:
        """Record an outcome, however long the store is away: the lease decides whether it still counts."""
        while True:
            try:
                if not await self._queue.finish(lease, outcome):
                    log.warning("job %s went to another worker; this answer is dropped", lease.job_id)
                break
            except StoreUnavailable as error:
                log.warning("cannot store the answer of job %s: %s", lease.job_id, error)
                await asyncio.sleep(STORE_RETRY_S)
            except (TypeError, ValueError):  # an answer that has no stored form must not leave its job running for ever
                log.exception("the answer of job %s cannot be stored", lease.job_id)
                outcome = Failure(InternalError.code, "the answer cannot be stored; the worker's log has the details")
        if self._held.get(lease.job_id) == lease:  # else it was lost, and the job claimed again
            del self._held[lease.job_id]
        del self._deliveries[lease]
        self._freed.set()

    async def _beat(self) -> None:
        while True:
            began = self._step_began_s
            if began is not None and self._clock() - began > self._policy.step_timeout_s:
                log.critical("a pass has taken more than %.0f s: it hangs", self._policy.step_timeout_s)
                self._on_hang()
            try:
                await self._fleet.beat_worker(self._worker_id)
                held = {lease: self._progress.get(job_id) for job_id, lease in self._held.items()}
                if held:
                    stop = await self._queue.beat(held)
                    self._stopping |= {lease for lease in held if lease.job_id in stop}
                    self._work.set()
                await self._queue.reap()
            except StoreUnavailable as error:
                log.warning("cannot beat: %s", error)
            await asyncio.sleep(self._policy.beat_s)
