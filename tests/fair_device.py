"""A device on a fake clock that serves simulated jobs as the engine does: pass by pass, by Fairness."""

from collections import deque
from dataclasses import dataclass

from attributor.engine.fairness import Claimant, Fairness


@dataclass(frozen=True)
class Net:
    """How many points a pass takes, and how long it lasts."""

    room: int = 64
    pass_s: float = 0.001
    point_s: float = 0.0001


@dataclass(eq=False)
class SimulatedJob:
    """A job that wants its rounds' points, each round when it has all of the one before."""

    id: str
    rounds: deque[int]
    arrives_s: float = 0.0
    tenant: str = "default"
    priority: int = 1
    model: str = "net"
    lane: str = ""
    deadline_at_s: float | None = None
    points: int = 0
    came_at: int | None = None
    ended_at: int = -1
    ended_s: float = -1.0

    def __post_init__(self):
        self.all_rounds = tuple(self.rounds)

    @property
    def ended(self) -> bool:
        return not self.rounds


class Device:
    def __init__(self, nets: dict[str, Net], tenant_weights: dict[str, float] | None = None, **weights) -> None:
        self.nets, self.fairness, self.tenant_weights = nets, Fairness(**weights), tenant_weights or {}
        self.now_s, self.steps = 0.0, 0
        self.active: dict[str, SimulatedJob] = {}
        self.points: dict[str, int] = {}
        self.busy_s: dict[str, float] = dict.fromkeys(nets, 0.0)
        self.failed: list[SimulatedJob] = []

    def admit(self, job: SimulatedJob) -> SimulatedJob:
        self.active[job.id] = job
        weight = self.tenant_weights.get(job.tenant, 1.0)
        claimant = Claimant(job.id, job.tenant, job.priority, job.deadline_at_s, job.model, weight)
        self.fairness.enter(claimant, now_s=self.now_s)
        if job.came_at is None:
            job.came_at = self.steps
        return job

    def step(self) -> None:
        for id in self.fairness.expired(self.now_s):
            self.failed.append(self.active.pop(id))
            self.fairness.leave(id)
        if not self.active:
            return
        chosen = self.active[self.fairness.next_model(self.active, self.now_s)]
        group = {
            job.id: job.rounds[0]
            for job in self.active.values()
            if (job.model, job.lane) == (chosen.model, chosen.lane)
        }
        net = self.nets[chosen.model]
        shares = {id: n for id, n in self.fairness.shares(group, net.room, self.now_s).items() if n}
        total = sum(shares.values())
        assert total == min(net.room, sum(group.values()))
        lasted_s = net.pass_s + net.point_s * total
        self.now_s += lasted_s
        self.steps += 1
        self.busy_s[chosen.model] += lasted_s
        for id, n in shares.items():
            self._absorb(self.active[id], n)
        self.fairness.charge({id: lasted_s * n / total for id, n in shares.items()})

    def _absorb(self, job: SimulatedJob, n: int) -> None:
        job.points += n
        job.rounds[0] -= n
        assert job.rounds[0] >= 0
        if not job.rounds[0]:
            job.rounds.popleft()
        self.points[job.tenant] = self.points.get(job.tenant, 0) + n
        if job.ended:
            job.ended_at, job.ended_s = self.steps, self.now_s
            del self.active[job.id]
            self.fairness.leave(job.id)

    def delay(self, job: SimulatedJob) -> int:
        """Steps that it took beyond those on an idle device; a pass that runs when it arrives counts."""
        room = self.nets[job.model].room
        return job.ended_at - job.came_at - sum(-(-points // room) for points in job.all_rounds)

    def run(self, arrivals: list[SimulatedJob], until_s: float = float("inf")) -> None:
        """Serve jobs as they arrive, until all have ended."""
        coming = deque(sorted(arrivals, key=lambda job: job.arrives_s))
        while (coming or self.active) and self.now_s < until_s:
            if not self.active:
                self.now_s = max(self.now_s, coming[0].arrives_s)
            while coming and coming[0].arrives_s <= self.now_s:
                self.admit(coming.popleft())
            began = self.steps
            self.step()
            for job in coming:
                if job.arrives_s >= self.now_s:
                    break
                job.came_at = began if job.came_at is None else job.came_at
