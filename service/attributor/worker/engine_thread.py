"""The thread that drives the engine: it alone touches it. Knows the engine and jobs; no store, no asyncio but the way
back into the event loop.

A thread of its own, which runs from pass to pass by itself and says a word only when jobs have ended: a hand-over for
each of hundreds of passes a second costs more than a small model's pass.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

from attributor.engine.engine import LIGHT_INPUTS, Engine
from attributor.engine.fairness import HEAD_START
from attributor.jobs.job import ClaimedJob, Failure, Lease, Progress
from attributor.jobs.result import JobResult, PartialResult
from attributor.ports import Clock
from attributor.worker.observer import Observer

#: The thread's name.
THREAD = "engine"

#: With so many jobs at hand, short passes pause before the next one, seconds: more of them share it then, and the
#: others on the machine get the core, who bring and take the jobs. Ours; ARCHITECTURE.md, decision 52.
CROWD, SHORT_PASS_S, GATHER_S = 8, 0.01, 0.003

#: So often at most it is found out how many more jobs there is room for, seconds. Ours: with many jobs at hand that
#: takes a tenth of a millisecond.
ROOM_S = 0.005

#: Jobs that ended together, by the leases that they were admitted under; None: stopped.
Ended = Mapping[Lease, JobResult | Failure | None]

#: A job, when it was created and its load, a job to drop, or the end.
_Item = tuple[ClaimedJob, float, int] | Lease | None


class EngineThread:
    """The engine in its thread. Its methods are for the event loop that `start` was called in.

    `deliver` is called in that loop with jobs that have ended. Every `look_s`, between passes, it notes how the jobs
    stand.
    """

    def __init__(self, engine: Engine, clock: Clock, look_s: float, deliver: Callable[[Ended], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._look_s = look_s
        self._deliver = deliver
        self._inbox: SimpleQueue[_Item] = SimpleQueue()
        self._leases: dict[str, Lease] = {}
        self._admitted_at_s: dict[str, float] = {}
        self._looked_at_s = clock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Future[None] | None = None
        self._partials: dict[Lease, PartialResult] = {}
        #: Ids of jobs whose estimates are wanted.
        self.watched: Collection[str] = ()
        #: How the active jobs stood at the last look.
        self.progress: Mapping[str, Progress] = {}
        #: Is told of each pass, in this thread.
        self.observer = Observer()
        self._pass_s = 0.0
        #: When the pass under way began, by the clock; None between passes.
        self.pass_began_s: float | None = None
        #: Whether it has anything to do.
        self.busy = False
        self._room, self._room_at_s = engine.room(), clock()
        #: Of all jobs put into the inbox, and of those that were known when the room was looked for last.
        self._load, self._load_seen, self._load_taken = 0, 0, 0
        #: First points of all jobs put into the inbox, and of those that were known when the room was looked for last.
        self._points, self._points_seen, self._points_taken = 0, 0, 0
        #: Whether the last job was more than light: the next ones are likely to be so, too.
        self._heavy = False

    @property
    def room(self) -> int:
        """How many more evaluations it should be given now."""
        return max(0, self._room.evaluations - (self._points - self._points_seen))

    @property
    def laden(self) -> bool:
        """Whether it has enough to do without more."""
        return self._room.laden

    @property
    def light(self) -> bool:
        """Whether it rests, or will soon, also with some more jobs like the last one."""
        few = self._room.light and self._load - self._load_seen <= LIGHT_INPUTS
        return not self._heavy and (few or not self.busy)

    def start(self) -> asyncio.Future[None]:
        """Begin. The future ends when the thread does; it raises what the engine should not have raised."""
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        Thread(target=self._run, name=THREAD, daemon=True).start()
        return self._over

    def admit(self, job: ClaimedJob, born_at_s: float) -> None:
        """Compute a job, created at that time of the clock."""
        self.busy = True  # though it may not have begun
        load = self._engine.load_of(job.spec)
        self._load, self._heavy = self._load + load, load > LIGHT_INPUTS
        self._points += first_points(job)
        self._inbox.put((job, born_at_s, load))

    def stop(self, lease: Lease) -> None:
        """Drop a job before the next pass; it is then delivered, as None, unless it had ended."""
        self._inbox.put(lease)

    def take_partials(self) -> Mapping[Lease, PartialResult]:
        """What was found since the last call of jobs that have run for a while: results of inputs that are done, and
        estimates of the others in watched ones."""
        partials, self._partials = self._partials, {}
        return partials

    def close(self) -> None:
        """End it after the pass under way."""
        self._inbox.put(None)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:  # a defect; unseen, the worker would compute nothing for ever
            self._call(self._settle, error)
        else:
            self._call(self._settle, None)

    def _settle(self, error: BaseException | None) -> None:
        if self._over is None or self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    def _call(self, what: Callable[..., None], *arguments: object) -> None:
        """In the event loop."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed: nobody waits any more
                self._loop.call_soon_threadsafe(what, *arguments)

    def _turn(self) -> bool:
        """Take in what has come, and make a pass. False: it was told to end."""
        if len(self._leases) >= CROWD and self._pass_s < SHORT_PASS_S:
            time.sleep(GATHER_S)
        items = self._arrived()
        began_s = self.pass_began_s = self._clock()
        stopped: list[Lease] = []
        for item in items:
            if item is None:
                return False
            if isinstance(item, Lease):
                self._drop(item)
                stopped.append(item)
            else:
                self._take(*item)
        self._look_for_room(must=bool(items))
        self._look()
        finished = self._engine.step()
        self.pass_began_s = None
        self._pass_s = self._clock() - began_s
        if (done := self._engine.last_pass) is not None:
            self.observer.passed(done)
        self._look_for_room()
        ended: dict[Lease, JobResult | Failure | None] = dict.fromkeys(stopped)
        for each in finished:
            ended[self._leases.pop(each.job_id)] = each.outcome
            del self._admitted_at_s[each.job_id]
        if ended:
            self._call(self._deliver, ended)
        return True

    def _look_for_room(self, *, must: bool = False) -> None:
        """How many jobs more; not after each of a thousand short passes, but after some came, and before a rest."""
        now_s = self._clock()
        if must or self._engine.idle or self._pass_s >= SHORT_PASS_S or now_s - self._room_at_s >= ROOM_S:
            self._room, self._room_at_s = self._engine.room(), now_s
            self._load_seen, self._points_seen = self._load_taken, self._points_taken

    def _arrived(self) -> list[_Item]:
        """What has come since the last pass; waits for it where there is nothing else to do."""
        items: list[_Item] = []
        if self._engine.idle and self._inbox.empty():
            self.progress = {}
            self.busy = False
            items.append(self._inbox.get())
            self.busy = True
        while not self._inbox.empty():  # nobody else takes anything out
            items.append(self._inbox.get())
        return items

    def _take(self, job: ClaimedJob, born_at_s: float, load: int) -> None:
        now_s = self._clock()
        self._leases[job.lease.job_id] = job.lease
        self._admitted_at_s[job.lease.job_id] = now_s
        self._load_taken += load
        self._points_taken += first_points(job)
        self._engine.admit(job.lease.job_id, job.spec, now_s - born_at_s, job.weight)

    def _drop(self, lease: Lease) -> None:
        """Unless it has ended, or been admitted again."""
        if self._leases.get(lease.job_id) == lease:
            self._engine.cancel(lease.job_id)
            del self._leases[lease.job_id]
            del self._admitted_at_s[lease.job_id]

    def _look(self) -> None:
        """How the jobs stand; not at each of a thousand passes a second. What a job has so far is gathered only of
        those that have been here for a look already, so that short ones pay nothing."""
        now_s = self._clock()
        if now_s - self._looked_at_s < self._look_s:
            return
        self._looked_at_s = now_s
        self.progress = self._engine.progress()
        long_here = [job_id for job_id, at_s in self._admitted_at_s.items() if now_s - at_s >= self._look_s]
        partials = {self._leases[job_id]: self._partial(job_id) for job_id in long_here}
        if found := {lease: part for lease, part in partials.items() if part.results or part.estimates}:
            self._call(self._add_partials, found)

    def _partial(self, job_id: str) -> PartialResult:
        return self._engine.partial(job_id, estimates=job_id in self.watched)

    def _add_partials(self, found: Mapping[Lease, PartialResult]) -> None:
        for lease, part in found.items():
            earlier = self._partials.get(lease, PartialResult(()))
            self._partials[lease] = PartialResult(earlier.results + part.results, part.estimates)


def first_points(job: ClaimedJob) -> int:
    """Evaluations by which a job takes room away from others: the rest of a long one waits for theirs."""
    return min(job.spec.cost, HEAD_START)
