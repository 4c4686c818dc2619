"""The worker: claim jobs, admit them, step the engine, store what ends. Knows ports and the engine, no torch, no Redis.

Tasks run side by side: `_claim` hands jobs to the admission, which fills the inbox once their models are in memory,
`_step` drives the engine in a thread, `_beat` renews leases and hears of cancellations, one per comparator's job, and
one delivery per ended job. The engine is touched by `_step` only.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from attributor.engine.engine import Engine, Finished
from attributor.errors import InternalError, StoreUnavailable
from attributor.jobs.job import ClaimedJob, Failure, Lease, Progress
from attributor.jobs.result import JobResult
from attributor.ports import Clock, Comparator, Fleet, JobQueue
from attributor.worker.admission import Admission, Outlets
from attributor.worker.comparisons import Comparisons
from attributor.worker.model_keeper import ModelKeeper

log = logging.getLogger(__name__)

#: Pause before the store is tried again, seconds. Ours: a restart of the embedded one takes half a second.
STORE_RETRY_S = 0.5
#: Longest wait for the store's bell, seconds: so late at most does a worker notice that it should stop.
BELL_S = 1.0
UNSTORABLE = Failure(InternalError.code, "the answer cannot be stored; the worker's log has the details")


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """How a worker behaves; units and reasons stand in `settings.WorkerSettings`."""

    max_active_jobs: int
    max_comparators: int
    beat_s: float
    step_timeout_s: float
    drain_s: float
    rescan_s: float


class WorkerLoop:
    """One worker's life. `on_hang` is called when a pass outlasts its time; it should end the process."""

    def __init__(
        self,
        worker_id: str,
        ports: tuple[JobQueue, Fleet, Comparator, ModelKeeper],
        engine: Engine,
        policy: WorkerPolicy,
        clock: Clock,
        on_hang: Callable[[], None],
    ) -> None:
        self._worker_id = worker_id
        self._queue, self._fleet, comparator, keeper = ports
        self._comparisons = Comparisons(comparator, self._deliver)
        outlets = Outlets(self._admit, self._deliver)
        self._admission = Admission(keeper, self._fleet, outlets, clock, policy.rescan_s)
        self._engine = engine
        self._policy = policy
        self._clock = clock
        self._on_hang = on_hang
        self._held: dict[str, Lease] = {}
        self._inbox: list[ClaimedJob] = []
        self._stopping: set[Lease] = set()
        self._progress: Mapping[str, Progress] = {}
        self._step_began_s: float | None = None
        self._looked_at_s = -math.inf
        self._over = asyncio.Event()
        self._work = asyncio.Event()
        self._freed = asyncio.Event()
        self._deliveries: dict[Lease, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then claim no more, and finish what is held within the drain time.

        What is not finished by then is given back, for others to claim. Loops that speak to the store are told to end,
        not cancelled: a cancellation inside such a call can get lost (redis-py on Python 3.11).
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._claim(stop))
            tasks.create_task(self._beat())
            tasks.create_task(self._admission.run(self._over))
            stepping = tasks.create_task(self._step())
            try:
                await stop.wait()
                await self._drain()
            finally:
                self._over.set()
                self._freed.set()
                stepping.cancel()
                await self._comparisons.close()
        await self._give_back()

    async def _drain(self) -> None:
        log.info("stopping: %d jobs held", len(self._held))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._policy.drain_s):
                while self._held:
                    self._freed.clear()
                    await self._freed.wait()

    async def _give_back(self) -> None:
        try:
            await self._queue.release(list(self._held.values()))
        except StoreUnavailable as error:
            log.warning("cannot give jobs back, their leases will run out: %s", error)
        log.info("stopped: %d jobs given back", len(self._held))

    async def _claim(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._freed.clear()  # before looking, so that a place freed meanwhile is not waited for
            engine, comparators = self._places()
            try:
                claimed = await self._queue.claim(engine, comparisons=comparators) if engine or comparators else []
                if not claimed:
                    await self._wait_to_claim(engine)
            except StoreUnavailable as error:
                log.warning("cannot claim: %s", error)
                await asyncio.sleep(STORE_RETRY_S)
                continue
            for job in claimed:
                self._held[job.lease.job_id] = job.lease
                self._admission.take(job)

    def _admit(self, job: ClaimedJob) -> None:
        """Its model is in memory (of a comparator's job: proven)."""
        if job.spec.is_comparison:
            self._comparisons.start(job)
        else:
            self._inbox.append(job)
            self._work.set()

    def _places(self) -> tuple[int, int]:
        """How many more jobs the engine can take, and how many more comparators can be started.

        Counted apart, and only so many claimed: whoever waits for either waits in the queue, where it reads "queued"
        and another worker can take it.
        """
        waiting = self._admission.comparisons
        computed = sum(lease not in self._comparisons for lease in self._held.values()) - waiting
        engine = self._policy.max_active_jobs - computed
        return max(engine, 0), max(self._policy.max_comparators - len(self._comparisons) - waiting, 0)

    async def _wait_to_claim(self, engine: int) -> None:
        """Until there may be something to claim. A full engine waits for its own jobs to end, not for the bell, which
        would wake this worker for jobs that it cannot take."""
        if engine:
            await self._queue.wait_for_work(BELL_S)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(BELL_S):
                await self._freed.wait()

    async def _step(self) -> None:
        while True:
            inbox, self._inbox = self._inbox, []
            stopping, self._stopping = self._stopping, set()
            # Not if it was claimed again meanwhile: the word was about the lease before.
            stopping = {lease for lease in stopping if self._held.get(lease.job_id) == lease}
            if not inbox and not stopping and self._engine.idle:
                self._work.clear()
                await self._work.wait()
                continue
            self._step_began_s = self._clock()
            finished = await asyncio.to_thread(self._turn, inbox, stopping)
            self._step_began_s = None
            self._look_at_progress()
            for ended in finished:
                self._deliver(self._held.get(ended.job_id), ended.outcome)
            for lease in stopping:
                self._deliver(lease, None)

    def _turn(self, inbox: Iterable[ClaimedJob], stopping: Iterable[Lease]) -> list[Finished]:
        """In the engine's thread: admit what was claimed, drop what was cancelled, one pass."""
        for job in inbox:
            self._engine.admit(job.lease.job_id, job.spec)
        for lease in stopping:
            self._engine.cancel(lease.job_id)
        return self._engine.step()

    def _look_at_progress(self) -> None:
        """Between passes, for the next beat; not after each of a thousand passes a second."""
        now_s = self._clock()
        if now_s - self._looked_at_s >= self._policy.beat_s / 2:
            self._looked_at_s = now_s
            self._progress = self._engine.progress()

    def _deliver(self, lease: Lease | None, outcome: JobResult | Failure | None) -> None:
        """Once per lease; nothing for one that is no longer held."""
        if lease is not None and self._held.get(lease.job_id) == lease and lease not in self._deliveries:
            self._deliveries[lease] = asyncio.create_task(self._store(lease, outcome))

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
            except Exception:  # no answer, whatever is wrong with it, may leave its job running for ever
                log.exception("the answer of job %s cannot be stored", lease.job_id)
                if outcome == UNSTORABLE:
                    break  # its lease will run out, and another worker will try
                outcome = UNSTORABLE
        if self._held.get(lease.job_id) == lease:  # else it was lost, and the job claimed again
            del self._held[lease.job_id]
            self._admission.ended(lease.job_id)
        del self._deliveries[lease]
        self._freed.set()

    def _stop(self, told: Iterable[Lease]) -> None:
        """Jobs that were cancelled or lost, wherever they are."""
        for lease in told:
            if self._admission.stop(lease):
                self._deliver(lease, None)
            elif not self._comparisons.stop(lease):
                self._stopping.add(lease)
                self._work.set()

    async def _beat(self) -> None:
        while not self._over.is_set():
            began = self._step_began_s
            if began is not None and self._clock() - began > self._policy.step_timeout_s:
                log.critical("a pass has taken more than %.0f s: it hangs", self._policy.step_timeout_s)
                self._on_hang()
            try:
                await self._fleet.beat_worker(self._worker_id)
                held = {lease: self._progress.get(job_id) for job_id, lease in self._held.items()}
                if held:
                    stop = await self._queue.beat(held)
                    told = {lease for lease in held if lease.job_id in stop}
                    self._stop(told)
                await self._queue.reap()
            except StoreUnavailable as error:
                log.warning("cannot beat: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._policy.beat_s):
                    await self._over.wait()
