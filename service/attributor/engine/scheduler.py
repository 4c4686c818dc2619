"""Which points go into the next pass: nodes of many jobs of one model, in one order. No tensors."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from attributor.core.integrator import Node
from attributor.engine.active_job import ActiveJob, ActivePath
from attributor.ports import GradientModel, Point


@dataclass(frozen=True, slots=True)
class Pick:
    """A node taken into a pass, and whose it is."""

    job: ActiveJob
    path: ActivePath
    node: Node


@dataclass(frozen=True, slots=True)
class Batch:
    """One pass of one model, in the order in which the points go into it."""

    model: GradientModel
    picks: tuple[Pick, ...]

    @property
    def points(self) -> list[Point]:
        """The points as the model takes them."""
        return [Point(p.path.id, p.node.index, p.node.alpha, p.node.gradient) for p in self.picks]

    @property
    def jobs(self) -> list[ActiveJob]:
        """The jobs that take part, each once."""
        return list(dict.fromkeys(pick.job for pick in self.picks))

    def of_job(self, job: ActiveJob) -> "Batch":
        """The part of the pass that belongs to one job."""
        return Batch(self.model, tuple(pick for pick in self.picks if pick.job is job))


def plan(jobs: Iterable[ActiveJob]) -> Batch | None:
    """The next pass, or None if no job waits for one.

    The model is that of the first waiting job. Its jobs take turns, one node each, until the pass is full: a job with
    500 nodes, or with 500 inputs, shares it with one of 5.
    """
    waiting = [job for job in jobs if any(path.waiting for path in job.paths)]
    if not waiting:
        return None
    model = waiting[0].model
    turns = deque(_draws(job) for job in waiting if job.model is model)
    picks: list[Pick] = []
    while turns and len(picks) < model.max_points:
        turn = turns.popleft()
        if pick := next(turn, None):
            picks.append(pick)
            turns.append(turn)
    return Batch(model, tuple(picks))


def _draws(job: ActiveJob) -> Iterator[Pick]:
    """Take a job's waiting nodes, one at each turn: a path after the other, a path's in their order (alpha 1 first)."""
    for path in job.paths:
        while path.waiting:
            yield Pick(job, path, path.waiting.popleft())
