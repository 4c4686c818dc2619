"""The worker: claim jobs, admit them, compute them, store what ends. Knows ports and the engine, no torch, no Redis.

Tasks run side by side: `_claim` hands jobs to the admission, which gives them to the engine's thread once their models
are in memory, `_beat` renews leases, says what is known so far and hears of cancellations, one per comparator's job,
and one delivery per round of jobs that ended together.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from attributor.engine.engine import Engine
from attributor.errors import InternalError, StoreUnavailable
from attributor.jobs.job import ClaimedJob, Failure, Lease
from attributor.jobs.result import JobResult
from attributor.ports import Clock, Comparator, Fleet, JobQueue
from attributor.worker.admission import Admission, Outlets
from attributor.worker.comparisons import LATE, Comparisons
from attributor.worker.engine_thread import Ended, EngineThread
from attributor.worker.model_keeper import ModelKeeper
from attributor.worker.observer import Observer
from attributor.worker.places import NO_PLACES, Places, of_engine
from attributor.worker.policy import WorkerPolicy
from attributor.worker.publishing import Publishing

log = logging.getLogger(__name__)

#: Pause before the store is tried again, seconds. Ours: a restart of the embedded one takes half a second.
STORE_RETRY_S = 0.5
#: Longest wait for the store's bell, seconds: so late at most does a worker notice that it should stop.
BELL_S = 1.0
#: A full engine is looked at again after so many seconds, if no job has ended before, and the queue for urgent jobs.
#: Ours: less than a pass of a large net takes, and a hundredth of what the store can do.
FULL_S = 0.02
#: One that has enough to do leaves new jobs to others for so long, seconds: to whoever waits for the bell. Ours: an
#: idle worker takes them within one millisecond.
LADEN_S = 0.003
#: While the engine computes, jobs are claimed at most so often, seconds: ours, less than most passes take, and long
#: enough to claim several at once when many come.
CLAIM_PAUSE_S = 0.002
UNSTORABLE = Failure(InternalError.code, "the answer cannot be stored; the worker's log has the details")


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
        self._engine = EngineThread(engine, clock, policy.beat_s / 2, self._deliver_all)
        self._publishing = Publishing(self._queue)
        self._observer = Observer()
        self._policy = policy
        self._clock = clock
        self._on_hang = on_hang
        self._held: dict[str, Lease] = {}
        #: When each was created, by our clock.
        self._born_at_s: dict[str, float] = {}
        #: When it is too late for those that have a deadline, by our clock.
        self._due_at_s: dict[str, float] = {}
        #: That of a job beside which nothing else is taken: it may be what killed workers.
        self._alone: Lease | None = None
        self._over = asyncio.Event()
        self._freed = asyncio.Event()
        #: What has ended and is not stored yet, and those of it whose delivery has begun.
        self._ended: dict[Lease, JobResult | Failure | None] = {}
        self._delivering: set[Lease] = set()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._retiring = False
        #: Whether the store waits for this worker, rather than to wake another.
        self._comes_back = False
        #: Jobs that this worker held and holds no more, whatever became of them.
        self.jobs_ended = 0

    @property
    def idle(self) -> bool:
        """Whether it holds no job."""
        return not self._held

    def observe(self, observer: Observer) -> None:
        """Tell it from now on what happens here."""
        self._observer = self._engine.observer = observer

    def retire(self) -> None:
        """Claim no more; go on with what is held."""
        self._retiring = True

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then claim no more, and finish what is held within the drain time.

        What is not finished by then is given back, for others to claim. Loops that speak to the store are told to end,
        not cancelled: a cancellation inside such a call can get lost (redis-py on Python 3.11).
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._claim(stop))
            tasks.create_task(self._beat())
            tasks.create_task(self._admission.run(self._over))
            computing = self._engine.start()
            tasks.create_task(self._watch(computing))
            try:
                await stop.wait()
                await self._drain()
            finally:
                self._over.set()
                self._freed.set()
                self._engine.close()
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
        waits = False
        while not stop.is_set():
            self._freed.clear()  # before looking, so that a place freed meanwhile is not waited for
            if self._comes_back and not self._places().keen:
                await self._leave()
            if self._engine.laden:
                await asyncio.sleep(LADEN_S)
                waits = False
            try:
                places = self._places()
                self._comes_back |= places.keen
                claimed = await places.claim(self._queue, BELL_S if waits else 0.0)
            except StoreUnavailable as error:
                log.warning("cannot claim: %s (%s)", error, error.__cause__)
                await asyncio.sleep(STORE_RETRY_S)
                waits = False
                continue
            self._take(claimed)
            if claimed.vacate or (not claimed and not places.engine):
                await self._until_freed(FULL_S)
            # What was not taken, though there is room, was not there: the bell tells of what comes later.
            waits = not claimed.vacate and self._places().engine
            if claimed and self._engine.busy and (not self._comes_back or self._places().keen):
                self._freed.clear()  # what has ended by now is of no interest
                await self._until_freed(CLAIM_PAUSE_S)
        if self._comes_back:
            await self._leave()

    async def _leave(self) -> None:
        self._comes_back = False
        with suppress(StoreUnavailable):  # it is known soon enough that this worker does not come back
            await self._queue.leave()

    def _take(self, claimed: Iterable[ClaimedJob]) -> None:
        for job in claimed:
            job_id = job.lease.job_id
            self._held[job_id] = job.lease
            self._observer.took(job)
            if job.alone:
                self._alone = job.lease
            born_s = self._born_at_s[job_id] = self._clock() - (job.started_at - job.created_at)
            if job.spec.deadline_s is not None:
                self._due_at_s[job_id] = born_s + job.spec.deadline_s
            self._admission.take(job)

    async def _until_freed(self, most_s: float) -> None:
        """Until a job has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._freed.wait()

    async def _watch(self, computing: asyncio.Future[None]) -> None:
        """Until the worker is over; raises what the engine's thread died of."""
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait((computing, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if computing.done():
            computing.result()

    def _admit(self, job: ClaimedJob) -> None:
        """Its model is in memory (of a comparator's job: proven)."""
        if job.spec.is_comparison:
            due_s = self._due_at_s.get(job.lease.job_id)
            self._comparisons.start(job, None if due_s is None else due_s - self._clock())
        else:
            self._engine.admit(job, self._born_at_s.get(job.lease.job_id, self._clock()))

    def _places(self) -> Places:
        """What can be claimed now.

        Engine and comparators are counted apart, and only so many claimed: whoever waits for either waits in the queue,
        where it reads "queued" and another worker can take it.
        """
        if self._retiring or self._alone:
            return NO_PLACES
        waiting = self._admission.comparisons
        compared = sum(self._held.get(lease.job_id) == lease for lease in self._comparisons)
        computed = len(self._held) - compared - waiting
        room, free = of_engine(self._engine.room, self._policy.max_active_jobs, computed)
        comparators = max(self._policy.max_comparators - len(self._comparisons) - waiting, 0)
        keen = self._engine.light and not self._engine.laden and room > 0 and free > 0
        return Places(room, free, comparators, keen=keen, empty=not self._held)

    def _deliver(self, lease: Lease, outcome: JobResult | Failure | None) -> None:
        self._deliver_all({lease: outcome})

    def _deliver_all(self, ended: Ended) -> None:
        """Once per lease; nothing for those that are no longer held. What ends in one turn of the loop goes as one."""
        for lease, outcome in ended.items():
            if self._held.get(lease.job_id) == lease and lease not in self._delivering:
                if not self._ended:
                    asyncio.get_running_loop().call_soon(self._send)
                self._delivering.add(lease)
                self._observer.computed(lease, outcome)
                self._ended[lease] = outcome

    def _send(self) -> None:
        ended, self._ended = self._ended, {}
        task = asyncio.create_task(self._store_all(ended))
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)

    async def _store_all(self, ended: Ended) -> None:
        """Record outcomes, however long the store is away: the leases decide whether they still count."""
        try:
            recorded = await self._recorded(ended)
        except Exception:  # one of the answers has no stored form; the others must not suffer for it
            for lease, outcome in ended.items():
                await self._store(lease, outcome)
            return
        for lease, known in zip(ended, recorded, strict=True):
            self._settle(lease, recorded=known)

    async def _store(self, lease: Lease, outcome: JobResult | Failure | None) -> None:
        for last, tried in ((False, outcome), (True, UNSTORABLE)):
            try:
                [recorded] = await self._recorded({lease: tried})
                break
            except Exception:  # no answer, whatever is wrong with it, may leave its job running for ever
                log.exception("the answer of job %s cannot be stored", lease.job_id, extra={"job_id": lease.job_id})
                recorded = last  # its lease will run out, and another worker will try
        self._settle(lease, recorded=recorded)

    async def _recorded(self, ended: Ended) -> list[bool]:
        while True:
            try:
                return await self._queue.finish_all(ended)
            except StoreUnavailable as error:
                log.warning("cannot store %d answers: %s (%s)", len(ended), error, error.__cause__)
                await asyncio.sleep(STORE_RETRY_S)

    def _settle(self, lease: Lease, *, recorded: bool) -> None:
        """A job is off our hands."""
        if not recorded:
            about = {"job_id": lease.job_id}
            log.warning("job %s went to another worker; this answer is dropped", lease.job_id, extra=about)
        self._observer.settled(lease, recorded=recorded)
        if self._held.get(lease.job_id) == lease:  # else it was lost, and the job claimed again
            del self._held[lease.job_id]
            if self._alone == lease:
                self._alone = None
            self.jobs_ended += 1
            self._born_at_s.pop(lease.job_id)
            self._due_at_s.pop(lease.job_id, None)
            self._admission.ended(lease.job_id)
        self._delivering.discard(lease)
        self._freed.set()

    def _stop(self, told: Iterable[Lease]) -> None:
        """Jobs that were cancelled or lost, wherever they are."""
        for lease in told:
            if self._admission.stop(lease):
                self._deliver(lease, None)
            elif not self._comparisons.stop(lease) and self._held.get(lease.job_id) == lease:
                self._engine.stop(lease)  # if it was not claimed again meanwhile: the word was about the lease before

    def _end_late(self) -> None:
        """End the jobs whose deadlines pass while they wait for their models; the engine ends its own."""
        now_s = self._clock()
        for job_id, due_s in list(self._due_at_s.items()):
            if due_s <= now_s and self._admission.stop(self._held[job_id]):
                self._deliver(self._held[job_id], LATE)

    async def _beat(self) -> None:
        while not self._over.is_set():
            began = self._engine.pass_began_s
            if began is not None and self._clock() - began > self._policy.step_timeout_s:
                log.critical("a pass has taken more than %.0f s: it hangs", self._policy.step_timeout_s)
                self._on_hang()
            self._end_late()
            for step in (partial(self._fleet.beat_worker, self._worker_id), self._report, self._queue.reap):
                try:
                    await step()
                except StoreUnavailable as error:  # what one asks may be refused, and the next taken
                    log.warning("cannot beat: %s (%s)", error, error.__cause__)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._policy.beat_s):
                    await self._over.wait()

    async def _report(self) -> None:
        """Say how far the held jobs are, and hear which are to stop."""
        held = {lease: self._engine.progress.get(job_id) for job_id, lease in self._held.items()}
        if not held:
            return
        heard = await self._queue.beat(held)
        self._stop([lease for lease in held if lease.job_id in heard.stop])
        self._engine.watched = heard.watched
        await self._publishing.tell(self._engine.take_partials(), self._held)
