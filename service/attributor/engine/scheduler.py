"""Which points go into the next pass: those of many jobs of one model and lane, in one order. No tensors."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

from attributor.engine.active_job import ActiveJob, Task
from attributor.ports import GradientModel, Point


@dataclass(frozen=True, slots=True)
class Pick:
    """A point taken into a pass, whose it is, and its place in that task's wish."""

    job: ActiveJob
    task: Task
    place: int
    point: Point


@dataclass(frozen=True, slots=True)
class Batch:
    """One pass of one model, in the order in which the points go into it."""

    model: GradientModel
    picks: tuple[Pick, ...]

    @property
    def points(self) -> list[Point]:
        """The points as the model takes them."""
        return [pick.point for pick in self.picks]

    @property
    def jobs(self) -> list[ActiveJob]:
        """The jobs that take part, each once."""
        return list(dict.fromkeys(pick.job for pick in self.picks))

    def of_job(self, job: ActiveJob) -> "Batch":
        """The part of the pass that belongs to one job."""
        return Batch(self.model, tuple(pick for pick in self.picks if pick.job is job))


def plan(jobs: Iterable[ActiveJob]) -> Batch | None:
    """The next pass, or None if no job waits for one.

    Model and lane are those of the first waiting job. Its jobs take turns, one point each, until the pass is full: a
    job with 500 nodes, or with 500 inputs, shares it with one of 5.
    """
    waiting = [(job, task) for job in jobs if (task := _first_waiting(job))]
    if not waiting:
        return None
    model, lane = waiting[0][0].model, _lane(waiting[0][1])
    turns = deque(_draws(job, lane) for job, _ in waiting if job.model is model)
    picks: list[Pick] = []
    while turns and len(picks) < model.max_points:
        turn = turns.popleft()
        if pick := next(turn, None):
            picks.append(pick)
            turns.append(turn)
    return Batch(model, tuple(picks))


def _first_waiting(job: ActiveJob) -> Task | None:
    return next((task for task in job.tasks if task.waiting), None)


def _lane(task: Task) -> Hashable:
    """The lane of the task's next point."""
    return task.work.routes[task.waiting[0][1].route].lane


def _draws(job: ActiveJob, lane: Hashable) -> Iterator[Pick]:
    """Take a job's waiting points of a lane, one at each turn: task by task, in their order (the example first)."""
    for task in job.tasks:
        while task.waiting and _lane(task) == lane:
            yield Pick(job, task, *task.waiting.popleft())
