"""A job while it is computed: one task per input, each a procedure that waits for points. No tensors of gradients.

Points that wait stand in the job's *lines*, one per lane and kind (with a gradient or without), in portions that a
pass takes whole or in part. What a portion gave goes back to its task, which goes on once it knows all it asked for.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from attributor.engine.sharing import share_out
from attributor.engine.steps import Steps
from attributor.engine.task import Lane, Pick, Portion, Task, Wish
from attributor.engine.work import Question, Work
from attributor.jobs.job import JobSpec, Progress
from attributor.jobs.model import ModelInfo, Tensors
from attributor.jobs.result import Estimate
from attributor.model_port import Evaluations, GradientModel

log = logging.getLogger(__name__)

#: Makes the procedure that computes one input.
Procedure = Callable[[Work], Steps[Any]]


class Line:
    """Portions of one lane, in their order, and how many asks of them wait."""

    __slots__ = ("_portions", "waiting")

    def __init__(self) -> None:
        self._portions: deque[Portion] = deque()
        self.waiting = 0

    def add(self, portion: Portion) -> None:
        """At the end."""
        self._portions.append(portion)
        self.waiting += portion.waiting

    def take(self, most: int) -> Iterator[tuple[Pick, Portion | None]]:
        """Up to so many asks, from the front; with each pick the portion that need not wait any longer."""
        while most and self._portions:
            portion = self._portions[0]
            pick, then = portion.task.take(portion, most)
            if not portion.waiting:
                self._portions.popleft()
            most -= len(pick.points.asks)
            self.waiting -= len(pick.points.asks)
            yield pick, then


@dataclass(slots=True, eq=False)
class ActiveJob:
    """One admitted job. Its inputs are begun one after the other, as many at a time as `window` allows."""

    id: str
    spec: JobSpec
    model: GradientModel
    tasks: list[Task]
    window: int
    lines: dict[Lane, Line] = field(default_factory=dict)
    n_started: int = 0
    n_done: int = 0
    #: Of the tasks that are done: evaluations, the largest completeness error, and the answers not yet handed out.
    _evaluations: int = 0
    _worst: float | None = None
    _fresh: list[Any] = field(default_factory=list)
    _running: dict[int, Task] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        job_id: str,
        spec: JobSpec,
        on: tuple[GradientModel, ModelInfo, Tensors],
        procedure: Procedure,
        now_s: float,
    ) -> "ActiveJob":
        """A job with one task per input, not started. Raises ValueError if there is no input."""
        if not spec.inputs:
            raise ValueError("a job needs at least one input")
        model, info, reference = on
        questions = [Question(i, spec, info) for i in range(len(spec.inputs))]
        works = [Work(f"{job_id}/{q.number}", q, model, reference, now_s) for q in questions]
        return cls(job_id, spec, model, [Task(work, procedure(work)) for work in works], window=len(works))

    def share_out(self, vector_bytes: int) -> None:
        """Let the job's inputs have so much memory for vectors together: as many are under way at a time as fit."""
        memory = share_out(vector_bytes, self.id, self.spec, self.tasks[0].work.info, self.model)
        self.window = memory.inputs
        for task in self.tasks:
            task.work.memory = memory

    def next_task(self) -> Task | None:
        """The next input that is to be begun now, if there is room."""
        if self.n_started == len(self.tasks) or len(self._running) >= self.window:
            return None
        task = self.tasks[self.n_started]
        self._running[id(task)] = task
        self.n_started += 1
        return task

    def begin(self, task: Task) -> None:
        """Run an input up to its first wish. Raises whatever the procedure raises."""
        self.add(task.start())
        if task.done:
            self._note_done(task)

    def add(self, portions: list[Portion]) -> None:
        """Let portions wait."""
        for portion in portions:
            self.lines.setdefault(portion.lane, Line()).add(portion)

    def first_lane(self) -> Lane | None:
        """That of the points that have waited for longest, about; None if none wait."""
        return next(iter(self.lines), None)

    def take(self, lane: Lane, most: int) -> list[Pick]:
        """Up to so many waiting asks of a lane."""
        line = self.lines[lane]
        picks = []
        for pick, then in line.take(most):
            picks.append(pick)
            if then is not None:
                self.add([then])
        if not line.waiting:
            del self.lines[lane]
        return picks

    def tell(self, pick: Pick, told: Evaluations) -> tuple[Task, Wish] | None:
        """Take what a pass gave; the task and the wish whose round is known in full by that."""
        task = pick.portion.task
        wish = task.tell(pick, told)
        return None if wish is None else (task, wish)

    def settle(self, task: Task, wish: Wish) -> None:
        """Let what is wanted after a round wait. Raises whatever the integrator or the procedure raises."""
        self.add(task.settle(wish))
        if task.done:
            self._note_done(task)

    def _note_done(self, task: Task) -> None:
        del self._running[id(task)]
        self.n_done += 1
        self._fresh.append(task.answer)
        self._evaluations += task.work.costs.evaluations
        self._worst = _worst(self._worst, task.work.error())

    def close(self) -> None:
        """Free all vectors."""
        self.lines.clear()
        for task in self.tasks:
            task.close()

    @property
    def done(self) -> bool:
        """Whether every task is."""
        return self.n_done == len(self.tasks)

    def progress(self) -> Progress:
        """Evaluations so far, and the largest running completeness error over the inputs, relative."""
        works = [task.work for task in self._running.values()]
        worst = self._worst
        for work in works:
            worst = _worst(worst, work.error())
        return Progress(
            evaluations=self._evaluations + sum(work.costs.evaluations for work in works),
            completeness_error=worst,
            inputs_done=self.n_done,
        )

    def fresh(self) -> list[Any]:
        """The answers of the inputs that ended since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def estimates(self) -> tuple[Estimate, ...]:
        """What is known of the inputs under way; nothing of one whose vectors cannot be added up just now, as where
        memory is short: an estimate is a courtesy, and ends no job."""
        found = []
        for task in self._running.values():
            try:
                found.append(task.work.estimate())
            except Exception:
                log.warning("no estimate of %s", task.work.id, exc_info=True)
        return tuple(found)


def _worst(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
