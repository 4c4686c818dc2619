"""The jobs that wait for their models, and the models' lives beside them: proofs, loads, and looks at the folder.

Knows ports, no torch, no Redis. What blocks runs in a thread, one thing at a time; no pass waits for it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from attributor.engine.faults import failure
from attributor.errors import StoreUnavailable
from attributor.jobs.job import ClaimedJob, Failure, Lease
from attributor.jobs.model import ModelReport, Readiness
from attributor.ports import Clock, Fleet
from attributor.worker.collector import settle_memory
from attributor.worker.model_keeper import ModelKeeper

log = logging.getLogger(__name__)

#: Pause before reports that the store did not take are sent again, seconds. As for everything else that it may refuse.
RETRY_S = 0.5

#: How long after a job has ended models are looked after, seconds, where no job waits for one. Ours: to look costs a
#: small model's job a tenth of its time.
AFTER_JOBS_S = 0.05

#: The name of the thread in which models are loaded.
THREAD = "models"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outlets:
    """What becomes of a job that has waited: `admit` when its model is there, `refuse` if it never will be."""

    admit: Callable[[ClaimedJob], None]
    refuse: Callable[[Lease, Failure], None]


class Admission:
    """Claimed jobs on their way to their models. `rescan_s`: seconds between looks at the folder of models."""

    def __init__(self, keeper: ModelKeeper, fleet: Fleet, outlets: Outlets, clock: Clock, rescan_s: float) -> None:
        self._keeper = keeper
        self._fleet = fleet
        self._outlets = outlets
        self._clock = clock
        self._rescan_s = rescan_s
        self._rescan_at_s = clock() + rescan_s
        #: By id, in the order of their claims.
        self._waiting: dict[str, ClaimedJob] = {}
        self._unpublished: dict[str, ModelReport | None] = {}
        self._wake = asyncio.Event()
        self._looking: asyncio.TimerHandle | None = None
        #: Whether models came or went since the collector was told.
        self._unsettled = False

    @property
    def comparisons(self) -> int:
        """Comparators' jobs that wait."""
        return sum(job.spec.is_comparison for job in self._waiting.values())

    def take(self, job: ClaimedJob) -> None:
        """Pass a job on, now or when its model is there. It replaces the same job under an earlier lease."""
        self._waiting.pop(job.lease.job_id, None)
        if not self._settle(job):
            self._waiting[job.lease.job_id] = job
            self._wake.set()

    def stop(self, lease: Lease) -> bool:
        """Let a job go, if it waits here."""
        job = self._waiting.get(lease.job_id)
        if job is None or job.lease != lease:
            return False
        del self._waiting[lease.job_id]
        return True

    def ended(self, job_id: str) -> None:
        """A job is not held any more: whatever it kept in memory may go."""
        self._keeper.release(job_id)
        if self._waiting:
            self._wake.set()
        elif self._looking is None:
            # For models that may be unloaded now: soon enough, and not after each of hundreds of jobs a second.
            self._looking = asyncio.get_running_loop().call_later(AFTER_JOBS_S, self._look)

    def _look(self) -> None:
        self._looking = None
        self._wake.set()

    async def run(self, over: asyncio.Event) -> None:
        """Look after the models until `over` is set; a load that is under way then is left to itself."""
        while not over.is_set():
            self._wake.clear()  # before looking, so that what comes meanwhile is not waited for
            if self._clock() >= self._rescan_at_s:
                self._note(await _unless(over, self._keeper.rescan))
                self._rescan_at_s = self._clock() + self._rescan_s
            due = self._keeper.due([job.spec for job in self._waiting.values()])
            self._settle_all()
            if due is None:
                await self._publish()
                if self._unsettled:
                    self._unsettled = False
                    await _unless(over, settle_memory)
                await self._idle(over)
                continue
            if (starting := self._keeper.starting(due)) is not None:
                self._unpublished[due] = starting
                await self._publish()
            self._note(await _unless(over, partial(self._keeper.attend, due)))
            self._unsettled = True
            await self._publish()

    def _settle_all(self) -> None:
        for job in list(self._waiting.values()):
            if self._settle(job):
                self._waiting.pop(job.lease.job_id, None)

    def _settle(self, job: ClaimedJob) -> bool:
        """Whether the job has to wait no longer."""
        try:
            if not self._keeper.hold(job.lease.job_id, job.spec):
                return False
        except Exception as error:  # the reason why its model never will be there; whatever else would hold it for ever
            self._outlets.refuse(job.lease, failure(error, job_id=job.lease.job_id))
            return True
        self._outlets.admit(job)
        return True

    def _note(self, news: Mapping[str, ModelReport | None] | None) -> None:
        self._unpublished |= news or {}

    async def _publish(self) -> None:
        """Tell the store; what it does not take now is told later."""
        try:
            for ref, report in list(self._unpublished.items()):
                if report is None:
                    await self._fleet.forget_model(ref)
                elif report.readiness is not Readiness.LOADING or not await self._is_ready_elsewhere(report):
                    await self._fleet.report_model(report)
                del self._unpublished[ref]
        except StoreUnavailable as error:
            log.warning("cannot report on models: %s", error)

    async def _is_ready_elsewhere(self, report: ModelReport) -> bool:
        """Whether another worker serves it: that this one has yet to load it is nobody's concern then."""
        known = (await self._fleet.model_reports()).get(report.ref)
        return known is not None and (known.digest, known.readiness) == (report.digest, Readiness.READY)

    async def _idle(self, over: asyncio.Event) -> None:
        """Until there may be something to do."""
        pause_s = max(0.0, self._rescan_at_s - self._clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(min(pause_s, RETRY_S) if self._unpublished else pause_s):
                await _first(self._wake.wait(), over.wait())


async def _unless(over: asyncio.Event, work: Callable[[], T]) -> T | None:
    """What `work` returns, done in a thread; None if `over` is set first, and the thread is left to itself."""
    done = _in_thread(work)
    ends = asyncio.create_task(over.wait())
    try:
        await asyncio.wait((done, ends), return_when=asyncio.FIRST_COMPLETED)
        return done.result() if done.done() else None
    finally:
        done.cancel()
        ends.cancel()


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Not one of asyncio's own threads: those are waited for when the loop is closed, and a load may take minutes."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if future.done() else result())

    def run() -> None:
        try:
            found = work()
        except BaseException as error:  # foreign code may raise any; without an answer the worker would wait for ever
            settle(partial(future.set_exception, _as_exception(error)))
        else:
            settle(partial(future.set_result, found))

    threading.Thread(target=run, name=THREAD, daemon=True).start()
    return future


def _as_exception(error: BaseException) -> Exception:
    """What a future can carry: KeyboardInterrupt and the like would end the event loop, StopIteration it refuses."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError(f"{type(error).__name__} in the thread of models")
    wrapped.__cause__ = error
    return wrapped


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Until the first of them ends; the others are ended."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
