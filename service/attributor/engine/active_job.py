"""A job while it is computed: one task per input, each a procedure that waits for points. No tensors of gradients.

Points that wait stand in the job's *lines*, one per lane and kind (with a gradient or without), in portions that a
pass takes whole or in part. What a portion gave goes back to its task, which goes on once it knows all it asked for.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attributor.engine.alike import Alike
from attributor.engine.sharing import share_out
from attributor.engine.steps import Steps
from attributor.engine.task import Lane, Pick, Portion, Task, Wish
from attributor.engine.work import Memory, Question, Work
from attributor.jobs.job import JobSpec, Progress
from attributor.jobs.model import ModelInfo, Tensors
from attributor.jobs.result import Estimate, ResultColumns
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


class AlikeLine:
    """Inputs of a job, by number, that wait for a first round among others that are alike."""

    __slots__ = ("_alike", "_numbers")

    def __init__(self, alike: Alike, numbers: Iterable[int]) -> None:
        self._alike = alike
        self._numbers = deque(numbers)

    @property
    def waiting(self) -> int:
        """Points of all that wait."""
        return self._alike.n_points * len(self._numbers)

    def take(self, most: int) -> list[int]:
        """Up to so many inputs, from the front."""
        return [self._numbers.popleft() for _ in range(min(most, len(self._numbers)))]


@dataclass(slots=True, eq=False)
class ActiveJob:
    """One admitted job. Its inputs are begun one after the other, as many at a time as `window` allows.

    `tasks`: of the inputs that procedures compute. Where inputs are alike, these are the ones that need more than a
    first round. `admitted_s` is on the engine's clock.
    """

    id: str
    spec: JobSpec
    model: GradientModel
    info: ModelInfo
    admitted_s: float
    window: int
    _task: Callable[[int], Task]
    tasks: list[Task] = field(default_factory=list)
    lines: dict[Lane, Line] = field(default_factory=dict)
    alike_lines: dict[Lane, AlikeLine] = field(default_factory=dict)
    #: How much it is to do, as the engine counts it.
    load: int = 0
    n_started: int = 0
    #: By the numbers of the inputs that are done.
    answers: dict[int, Any] = field(default_factory=dict)
    #: Of those: evaluations, the largest completeness error, and the answers not yet handed out.
    _evaluations: int = 0
    _worst: float | None = None
    _fresh: list[Any] = field(default_factory=list)
    _running: dict[int, Task] = field(default_factory=dict)
    _memory: Memory = field(default_factory=Memory)

    @classmethod
    def of(
        cls,
        job_id: str,
        spec: JobSpec,
        on: tuple[GradientModel, ModelInfo, Tensors],
        procedure: Procedure,
        now_s: float,
        alike: Alike | None = None,
    ) -> "ActiveJob":
        """A job, not started. `alike`: what its inputs have in common with others, if they are computed in stacks.
        Raises ValueError if there is no input."""
        if not spec.inputs:
            raise ValueError("a job needs at least one input")
        model, info, reference = on

        def task(number: int) -> Task:
            work = Work(f"{job_id}/{number}", Question(number, spec, info), model, reference, now_s)
            return Task(work, procedure(work))

        numbers = range(len(spec.inputs))
        job = cls(job_id, spec, model, info, now_s, len(numbers), task)
        if alike is None:
            job.tasks = [task(number) for number in numbers]
        else:
            job.alike_lines[alike, True] = AlikeLine(alike, numbers)
        return job

    def share_out(self, vector_bytes: int) -> None:
        """Let the job's inputs have so much memory for vectors together: as many are under way at a time as fit."""
        self._memory = share_out(vector_bytes, self.id, self.spec, self.info, self.model)
        self.window = self._memory.inputs
        for task in self.tasks:
            task.work.memory = self._memory

    @property
    def waits(self) -> bool:
        """Whether any points wait."""
        return bool(self.lines or self.alike_lines)

    def waiting(self, lane: Lane) -> int:
        """How many points of a lane wait."""
        line = self.lines.get(lane) or self.alike_lines.get(lane)
        return line.waiting if line else 0

    @property
    def waiting_points(self) -> int:
        """Of all lanes."""
        waiting = 0
        for alike in self.alike_lines.values():
            waiting += alike.waiting
        for line in self.lines.values():
            waiting += line.waiting
        return waiting

    def take_alike(self, lane: Lane, most: int) -> list[int]:
        """Up to so many inputs that wait for a first round among others that are alike."""
        line = self.alike_lines[lane]
        numbers = line.take(most)
        if not line.waiting:
            del self.alike_lines[lane]
        return numbers

    def hand_over(self, number: int, rounds: int) -> Task | None:
        """Let a procedure compute an input that needs more than so many first rounds. None: there is no room for it
        now, and it begins afresh when there is."""
        task = self._task(number)
        task.work.memory = self._memory
        self.tasks.append(task)
        if (begun := self.next_task()) is not None:
            begun.work.rounds_made = rounds
        return begun

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
        lane = next(iter(self.lines), None)
        if self.alike_lines and (lane is None or self.lines[lane].waiting < self.model.pass_points(lane[0])):
            return next(iter(self.alike_lines))  # until those who need more fill a pass
        return lane

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
        work = task.work
        self.answered(work.question.number, task.answer, work.costs.evaluations, work.error())

    def answered(self, number: int, answer: Any, evaluations: int, error: float | None) -> None:
        """Note an answer, what it took, and its relative completeness error."""
        self.answers[number] = answer
        self._fresh.append(answer)
        self._evaluations += evaluations
        self._worst = _worst(self._worst, error)

    def answered_together(self, columns: ResultColumns) -> None:
        """Note the answers of several inputs, each of which met its tolerance."""
        self.answers |= dict.fromkeys(columns.inputs.tolist(), columns)
        self._fresh.append(columns)
        self._evaluations += len(columns) * columns.like.evaluations
        # Not a number where there is nothing to relate an error to.
        self._worst = _worst(self._worst, float(np.fmax.reduce(columns.relative_errors, initial=0.0)))

    @property
    def n_done(self) -> int:
        """How many inputs are."""
        return len(self.answers)

    @property
    def in_order(self) -> list[Any]:
        """The answers of all inputs, in their order."""
        return [self.answers[number] for number in range(len(self.answers))]

    def close(self) -> None:
        """Free all vectors."""
        self.lines.clear()
        self.alike_lines.clear()
        for task in self.tasks:
            task.close()

    @property
    def done(self) -> bool:
        """Whether every input is."""
        return self.n_done == len(self.spec.inputs)

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
