"""A queue in memory, which can be away: a JobQueue and a Fleet for the tests of the worker."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from attributor.engine.fairness import HEAD_START
from attributor.errors import StoreUnavailable
from attributor.jobs.job import ClaimedJob, Failure, JobSpec, Lease, Progress
from attributor.jobs.model import ModelReport
from attributor.jobs.result import PartialResult
from attributor.ports import Beat, Claimed
from doubles import job_spec
from problems import named

SPEC = job_spec(named("product"))


@dataclass
class MemoryQueue:
    """A JobQueue and a Fleet. `away`: every call fails. `unstorable`: outcomes of jobs that have no stored form."""

    waiting: list[tuple[str, JobSpec]] = field(default_factory=list)
    leases: dict[str, Lease] = field(default_factory=dict)
    outcomes: dict[str, Any] = field(default_factory=dict)
    stop: set[str] = field(default_factory=set)
    watched: set[str] = field(default_factory=set)
    published: list[tuple[str, PartialResult]] = field(default_factory=list)
    unstorable: set[str] = field(default_factory=set)
    released: list[str] = field(default_factory=list)
    away: bool = False
    beats: int = 0
    renewed: Counter[str] = field(default_factory=Counter)
    progress: dict[str, list[Progress]] = field(default_factory=lambda: defaultdict(list))
    most_held: int = 0
    reports: dict[str, ModelReport] = field(default_factory=dict)
    told: list[ModelReport] = field(default_factory=list)
    claims: int = 0
    waited_s: float = 0.0
    #: What the worker said, in turn: whether it claims keenly, and "left".
    said: list[bool | str] = field(default_factory=list)

    def put(self, *ids: str, spec: JobSpec = SPEC) -> None:
        self.waiting += [(job_id, spec) for job_id in ids]

    def lose(self, job_id: str) -> None:
        """Its lease runs out, and it is queued again."""
        self.put(job_id)
        del self.leases[job_id]

    def _answers(self) -> None:
        if self.away:
            raise StoreUnavailable("away")

    async def leave(self) -> None:
        self._answers()
        self.said.append("left")

    async def claim(
        self,
        evaluations: int,
        *,
        jobs: int | None = None,
        comparisons: int = 0,
        wait_s: float = 0.0,
        keen: bool = False,
        empty: bool = False,
    ) -> Claimed:
        self._answers()
        self.said.append(keen)
        if wait_s:
            await asyncio.sleep(0.005)
        engines = sorted(
            (each for each in self.waiting if not each[1].is_comparison), key=lambda each: each[1].priority
        )
        first = sum(each[1].priority == 0 for each in engines)
        most = evaluations if jobs is None else jobs
        fitting = accumulate((min(spec.cost, HEAD_START) for _, spec in engines), initial=0)
        ours = engines[: min(most, max(first, sum(before < evaluations for before in fitting)))]
        taken = ours + [each for each in self.waiting if each[1].is_comparison][:comparisons]
        self.waiting = [each for each in self.waiting if each not in taken]
        self.claims += len(taken)
        claimed = [
            ClaimedJob(Lease(i, f"token {self.claims} {n}"), spec, 0, self.waited_s)
            for n, (i, spec) in enumerate(taken)
        ]
        self.leases |= {job.lease.job_id: job.lease for job in claimed}
        self.most_held = max(self.most_held, len(self.leases))
        return Claimed(claimed)

    async def beat(self, progress) -> Beat:
        self._answers()
        self.beats += 1
        self.renewed += Counter(lease.job_id for lease in progress)
        for lease, now in progress.items():
            if now is not None:
                self.progress[lease.job_id].append(now)
        asked = {lease.job_id for lease in progress}
        lost = {lease.job_id for lease in progress if lease != self.leases.get(lease.job_id)}
        return Beat(frozenset(lost | (self.stop & asked)), frozenset(self.watched & asked))

    async def publish(self, lease: Lease, partial: PartialResult) -> None:
        self._answers()
        self.published.append((lease.job_id, partial))

    async def finish_all(self, outcomes) -> list[bool]:
        if any(lease.job_id in self.unstorable and not isinstance(each, Failure) for lease, each in outcomes.items()):
            raise ValueError("nan cannot be stored")
        return [await self.finish(lease, outcome) for lease, outcome in outcomes.items()]

    async def finish(self, lease: Lease, outcome) -> bool:
        self._answers()
        if self.leases.get(lease.job_id) != lease:
            return False
        del self.leases[lease.job_id]
        self.outcomes[lease.job_id] = outcome
        return True

    async def release(self, leases) -> None:
        self._answers()
        for lease in leases:
            if self.leases.get(lease.job_id) == lease:
                del self.leases[lease.job_id]
                self.released.append(lease.job_id)

    async def reap(self) -> list[str]:
        self._answers()
        return []

    async def beat_worker(self, worker_id: str) -> None:
        self._answers()

    async def report_model(self, report: ModelReport) -> None:
        self._answers()
        self.told.append(report)
        self.reports[report.ref] = report

    async def forget_model(self, ref: str) -> None:
        self._answers()
        self.reports.pop(ref, None)

    async def model_reports(self) -> Mapping[str, ModelReport]:
        self._answers()
        return dict(self.reports)


class AllThere:
    """A ModelKeeper whose models are all in memory, for tests of what comes after."""

    def hold(self, job_id: str, spec: JobSpec) -> bool:
        return True

    def release(self, job_id: str) -> None:
        pass

    def due(self, wanted: Iterable[JobSpec]) -> str | None:
        return None

    def starting(self, ref: str) -> ModelReport | None:
        raise AssertionError("nothing is due")

    def attend(self, ref: str) -> Mapping[str, ModelReport | None]:
        raise AssertionError("nothing is due")

    def rescan(self) -> Mapping[str, ModelReport | None]:
        return {}


async def until(true) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)
