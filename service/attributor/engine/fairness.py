"""Who gets into the next pass. A policy on ids, counts and costs: no tensors, no models, and time is a parameter.

Whose turn it is, from the outside in:

1. priorities: 0 before 1 before 2; a sixteenth is kept for all lower ones together, so that none starves;
2. models: equal parts of the device's time, or by weight (a pass of 1 ms and one of 400 ms are not alike);
3. tenants of a priority: equal parts of its time, or by weight, however many jobs each has;
4. jobs of a tenant: the first points of any job, so that a short one does not notice the long one beside it; then those
   with a deadline, the earliest first; then all others in equal parts. Again a sixteenth is kept for those behind.

Ties are broken by the order of entry.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from attributor.engine.virtual_time import Clocks, Flow, Ladder

#: Priorities of jobs: 0, 1 and 2.
N_PRIORITIES = 3
#: The points of a job that count as its first. Ours: at 5 % nearly all answers take 9 to 45 (ARCHITECTURE.md, 13).
HEAD_START = 64
#: First points are taken in stages of so many, so that a job of many small rounds steps back behind fresh ones. Ours:
#: scan and first gradients of the usual job, 5 + 9, are one stage.
STAGE = 16
#: How many tenants (and models) without jobs are remembered: who comes back at once is not taken for new. Ours, because
#: they take 1 kB each.
REMEMBERED = 1000

#: What a point costs at least, and until the first pass is charged: a nanosecond. Ours: no device is as fast.
LEAST_PRICE = 1e-9

_FIRST, _DUE, _REST = range(3)
_BY_STAGE = attrgetter("stage", "due_s", "number")
_BY_DEADLINE = attrgetter("due_s", "number")


@dataclass(slots=True, eq=False)
class Claimant:
    """One active job. `deadline_at_s` is on the engine's clock. `weight`: of its tenant beside others.

    `model` is the name of the model it runs on, rather than the model: it is remembered when the job has gone.
    """

    id: str
    tenant: str
    priority: int
    deadline_at_s: float | None
    model: Hashable
    weight: float = 1.0
    #: Kept by Fairness: order of entry, points so far and their stage, deadline or infinity, its part of the rest.
    number: int = field(default=0, init=False)
    points: int = field(default=0, init=False)
    stage: int = field(default=0, init=False)
    due_s: float = field(default=float("inf"), init=False)
    flow: Flow = field(default_factory=Flow, init=False)
    line: "_Line" = field(init=False, repr=False)

    def take(self, points: int) -> None:
        """Count points that it got."""
        self.points += points
        self.stage = self.points // STAGE


class Fairness:
    """Shares passes out among active jobs. `next_model`, `shares` and `charge` make a pass, in this order.

    Weights of models are 1 where none is given. Raises ValueError if one is not positive.
    """

    def __init__(self, *, model_weights: Mapping[Hashable, float] | None = None) -> None:
        self._model_weights = dict(model_weights or {})
        if not all(weight > 0 for weight in self._model_weights.values()):
            raise ValueError("weights must be positive")
        self._priorities = Ladder(N_PRIORITIES)
        self._tenants = tuple(Clocks() for _ in range(N_PRIORITIES))
        self._device = Clocks()
        self._lines: dict[tuple[int, str], _Line] = {}
        self._models: dict[Hashable, Flow] = {}
        self._claimants: dict[str, Claimant] = {}
        self._deadlines: dict[str, float] = {}
        #: Jobs that have left since the last pass, whose part of it is still to be charged.
        self._left: dict[str, Claimant] = {}
        self._granted: Mapping[str, int] = {}
        #: Cost of a point, by model and of the last pass: what turns costs into points.
        self._prices: dict[Hashable, float] = {}
        self._price = LEAST_PRICE
        self._entered = 0
        self._n_waiting = 0
        self._nobody_left = False

    def enter(self, claimant: Claimant, now_s: float) -> None:
        """Count a job in. Another of the same id leaves."""
        self.leave(claimant.id)
        self._entered += 1
        claimant.number = self._entered
        claimant.line = self._line(claimant.priority, claimant.tenant)
        claimant.line.n_jobs += 1
        claimant.line.flow.weight = claimant.weight  # as its tenant was told last
        if claimant.model not in self._models:
            self._forget_models()
            self._models[claimant.model] = Flow(self._model_weights.get(claimant.model, 1.0))
        self._claimants[claimant.id] = claimant
        if claimant.deadline_at_s is not None:
            self._deadlines[claimant.id] = claimant.deadline_at_s
            if claimant.deadline_at_s > now_s:
                claimant.due_s = claimant.deadline_at_s

    def leave(self, id: str) -> None:
        """Count a job out; unknown ids are ignored."""
        if claimant := self._claimants.pop(id, None):
            claimant.line.n_jobs -= 1
            self._left[id] = claimant
            self._deadlines.pop(id, None)

    def first_points(self, id: str) -> int:
        """How many of a job's points are still counted as its first."""
        return max(0, HEAD_START - self._claimants[id].points)

    def expired(self, now_s: float) -> list[str]:
        """The jobs whose deadline has passed, in the order of entry; again and again until they leave."""
        return [id for id, deadline_at_s in self._deadlines.items() if deadline_at_s <= now_s]

    def next_model(self, waiting: Iterable[str], now_s: float) -> str:
        """Of the jobs that have points waiting (one at least), the one whose model and lane the next pass serves."""
        jobs = [self._claimants[id] for id in waiting]
        self._n_waiting = len(jobs)
        if len(lines := {job.line for job in jobs}) > 1:
            priority = self._priorities.first({line.priority for line in lines})
            jobs = [job for job in jobs if job.priority == priority]
        if len(self._models) > 1 and len({job.model for job in jobs}) > 1:
            model = min(jobs, key=lambda job: (self._device.of(self._models[job.model]), job.number)).model
            jobs = [job for job in jobs if job.model == model]
        if len(lines) > 1:
            clocks = self._tenants[jobs[0].priority]
            line = min({job.line for job in jobs}, key=lambda line: (clocks.of(line.flow), line.number))
            jobs = [job for job in jobs if job.line is line]
        return jobs[0].line.first(jobs, now_s).id

    def shares(self, waiting: Mapping[str, int], room: int, now_s: float) -> Mapping[str, int]:
        """How many of their points go into a pass of `room` points, for jobs of one model and lane with so many each.

        Every job is in the answer, if only with 0; together they get min(room, all that wait).
        """
        fits = sum(waiting.values()) <= room
        self._nobody_left = fits and len(waiting) == self._n_waiting
        if fits:
            self._granted = dict(waiting)
        else:
            self._granted = dict.fromkeys(waiting, 0)
            wants = [(self._claimants[id], want) for id, want in waiting.items() if want > 0]
            wants.sort(key=lambda want: want[0].number)
            self._granted.update(self._pour(wants, room, now_s))
        return self._granted

    def took(self, points: Mapping[str, int]) -> None:
        """After `shares`, where jobs took other numbers of points: only these did, and so many."""
        self._granted = points

    def charge(self, spent: Mapping[str, float]) -> None:
        """What the points of the last pass cost each of its jobs: seconds, or whatever models share the device by.

        A pass's duration is to be divided among its jobs by their points. Jobs may have left in the meantime: theirs is
        charged to their tenant. A pass that took all that waited was at no job's expense: only its model's clock moves.
        """
        passed = [
            (job, self._granted.get(id, 0), cost)
            for id, cost in spent.items()
            if (job := self._claimants.get(id) or self._left.get(id)) is not None
        ]
        self._left.clear()
        total, points = sum(cost for _, _, cost in passed), sum(got for _, got, _ in passed)
        if not points:
            return
        model = passed[0][0].model
        if total > 0:
            self._price = self._prices[model] = max(total / points, LEAST_PRICE)
        if flow := self._models.get(model):
            self._device.charge(flow, total)
        if self._nobody_left:
            for job, got, _ in passed:
                job.take(got)
            return
        for job, got, cost in passed:
            job.line.charge(job, got, cost)
        self._settle({job.line for job, _, _ in passed})

    def _settle(self, lines: Iterable["_Line"]) -> None:
        costs = [0.0] * N_PRIORITIES
        for line in lines:
            cost = line.settle()
            self._tenants[line.priority].charge(line.flow, cost)
            costs[line.priority] += cost
        self._priorities.charge(costs)

    def _pour(self, wants: Sequence[tuple[Claimant, int]], room: int, now_s: float) -> Mapping[str, int]:
        price = self._prices.get(wants[0][0].model, self._price)
        by_line: dict[_Line, list[tuple[Claimant, int]]] = {}
        for want in wants:
            by_line.setdefault(want[0].line, []).append(want)
        totals = {line: sum(want for _, want in jobs) for line, jobs in by_line.items()}
        of_priority = [[line for line in by_line if line.priority == p] for p in range(N_PRIORITIES)]
        parts = self._priorities.pour([sum(totals[line] for line in lines) for lines in of_priority], room, price)
        granted: dict[str, int] = {}
        for clocks, lines, part in zip(self._tenants, of_priority, parts, strict=True):
            quotas = clocks.pour([(line.flow, totals[line]) for line in lines], part, price)
            for line, quota in zip(lines, quotas, strict=True):
                granted.update(line.pour(by_line[line], quota, price, now_s))
        return granted

    def _line(self, priority: int, tenant: str) -> "_Line":
        if (priority, tenant) not in self._lines:
            if len(self._lines) > REMEMBERED + len(self._claimants):
                self._lines = {key: line for key, line in self._lines.items() if line.n_jobs}
            self._lines[priority, tenant] = _Line(priority, self._entered, Flow())
        return self._lines[priority, tenant]

    def _forget_models(self) -> None:
        if len(self._models) > REMEMBERED + len(self._claimants):
            active = {job.model for job in self._claimants.values()}
            self._models = {model: flow for model, flow in self._models.items() if model in active}
            self._prices = {model: price for model, price in self._prices.items() if model in active}


class _Line:
    """The jobs of one tenant at one priority."""

    def __init__(self, priority: int, number: int, flow: Flow) -> None:
        self.priority, self.number, self.flow = priority, number, flow
        self.n_jobs = 0
        self._tiers = Ladder(3)
        self._rest = Clocks()
        self._costs = [0.0, 0.0, 0.0]

    def first(self, jobs: Iterable[Claimant], now_s: float) -> Claimant:
        """Whose turn it is, of these jobs of the line."""
        tiers: tuple[list[Claimant], ...] = ([], [], [])
        for job in jobs:
            tiers[_FIRST if job.points < HEAD_START else _tier(job, now_s)].append(job)
        tier = self._tiers.first([tier for tier, jobs in enumerate(tiers) if jobs])
        if tier == _REST:
            return min(tiers[tier], key=lambda job: (self._rest.of(job.flow), job.number))
        return min(tiers[tier], key=_BY_STAGE if tier == _FIRST else _BY_DEADLINE)

    def pour(
        self, wants: Sequence[tuple[Claimant, int]], room: int, price: float, now_s: float
    ) -> Iterable[tuple[str, int]]:
        """How many of `room` points each of these jobs gets."""
        if sum(want for _, want in wants) <= room:
            return [(job.id, want) for job, want in wants]
        tiers: tuple[list[tuple[Claimant, int]], ...] = ([], [], [])
        later = []
        for job, want in wants:
            first = max(0, HEAD_START - job.points)
            tiers[_FIRST if first else _tier(job, now_s)].append((job, min(want, first) if first else want))
            if 0 < first < want:
                later.append((job, want - first))
        parts = self._tiers.pour([sum(want for _, want in tier) for tier in tiers], room, price)
        granted = {job.id: 0 for job, _ in wants}
        tiers[_FIRST].sort(key=lambda want: _BY_STAGE(want[0]))
        tiers[_DUE].sort(key=lambda want: _BY_DEADLINE(want[0]))
        for tier in (_FIRST, _DUE):
            left = parts[tier]
            for job, want in tiers[tier]:
                granted[job.id] = min(want, left)
                left -= granted[job.id]
        # More than its first points a fresh job gets in the same pass only where nobody else wants them.
        for jobs, part in ((tiers[_REST], parts[_REST]), (later, room - sum(parts))):
            for (job, _), got in zip(
                jobs, self._rest.pour([(job.flow, n) for job, n in jobs], part, price), strict=True
            ):
                granted[job.id] += got
        return granted.items()

    def charge(self, job: Claimant, points: int, cost: float) -> None:
        """Note what a job got; `settle` ends the pass."""
        first = cost * min(1.0, max(0, HEAD_START - job.points) / points) if points else 0.0
        job.take(points)
        self._costs[_FIRST] += first
        if job.due_s < float("inf"):
            self._costs[_DUE] += cost - first
        else:
            self._costs[_REST] += cost - first
            self._rest.charge(job.flow, cost - first)

    def settle(self) -> float:
        """What the pass cost the line."""
        costs, self._costs = self._costs, [0.0, 0.0, 0.0]
        self._tiers.charge(costs)
        return sum(costs)


def _tier(job: Claimant, now_s: float) -> int:
    """Where a job's points beyond the first ones stand: a deadline that has passed is past helping."""
    return _DUE if now_s < job.due_s < float("inf") else _REST
