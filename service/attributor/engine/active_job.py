"""A job while it is computed: one task per input, each a procedure that waits for points. No tensors of gradients."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from attributor.engine.steps import Steps
from attributor.engine.work import Question, Work
from attributor.jobs.job import JobSpec, Progress
from attributor.jobs.model import ModelInfo, Tensors
from attributor.ports import Evaluation, GradientModel, Point

#: Makes the procedure that computes one input.
Procedure = Callable[[Work], Steps[Any]]


@dataclass(slots=True, eq=False)
class Task:
    """One input's procedure. `waiting`: points that go into a pass, with their places in the procedure's last wish."""

    work: Work
    steps: Steps[Any]
    waiting: deque[tuple[int, Point]] = field(default_factory=deque)
    done: bool = False
    answer: Any = None
    _told: dict[int, Evaluation] = field(default_factory=dict)
    _asked: int = 0

    def start(self) -> None:
        """Run it up to its first wish. Raises whatever it raises."""
        self._run(lambda: next(self.steps))

    def tell(self, place: int, point: Point, evaluation: Evaluation) -> None:
        """Take what a point gave; after the last one of its wish, run on to the next. Raises whatever it raises."""
        self.work.costs.count(len(evaluation.scores), gradient=point.ask.gradient)
        self._told[place] = evaluation
        if len(self._told) == self._asked:
            told = [self._told[i] for i in range(self._asked)]
            self._run(lambda: self.steps.send(told))

    def close(self) -> None:
        """Give up what it holds."""
        self.waiting.clear()
        self.steps.close()
        self.work.close()

    def _run(self, advance: Callable[[], tuple[Point, ...]]) -> None:
        try:
            points = advance()
        except StopIteration as stop:
            self.answer, self.done = stop.value, True
            self.work.close()
            return
        if not points:
            raise RuntimeError("a procedure yielded no points. This is a bug.")
        self._told, self._asked = {}, len(points)
        self.waiting.extend(enumerate(points))


@dataclass(slots=True, eq=False)
class ActiveJob:
    """One admitted job."""

    id: str
    spec: JobSpec
    model: GradientModel
    tasks: list[Task]

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
        return cls(job_id, spec, model, [Task(work, procedure(work)) for work in works])

    def close(self) -> None:
        """Free all vectors."""
        for task in self.tasks:
            task.close()

    @property
    def done(self) -> bool:
        """Whether every task is."""
        return all(task.done for task in self.tasks)

    def progress(self) -> Progress:
        """Evaluations so far, and the largest running completeness error over the inputs, relative."""
        errors = [error for task in self.tasks if (error := task.work.error()) is not None]
        return Progress(
            evaluations=sum(task.work.costs.evaluations for task in self.tasks),
            completeness_error=max(errors, default=None),
            inputs_done=sum(task.done for task in self.tasks),
        )
