"""A job while it is computed: one task per input, each a procedure that waits for points. No tensors of gradients.

Points that wait stand in the job's *lines*, one per lane and kind (with a gradient or without), in portions that a
pass takes whole or in part. What a portion gave goes back to its task, which goes on once it knows all it asked for.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attributor.core.asks import Asks, Indices
from attributor.engine.steps import Integrating, Steps, Told, Wanted
from attributor.engine.work import Question, Work
from attributor.jobs.job import JobSpec, Progress
from attributor.jobs.model import ModelInfo, Tensors
from attributor.jobs.result import Estimate
from attributor.ports import Evaluations, GradientModel, Points

#: Inputs of a job under way at a time, at most. Ours: their first rounds fill the largest passes (1,024 points).
MOST_UNDER_WAY = 256
#: Nodes that an input's vectors are expected to be of. Ours: first nodes at 1 % and a round of splits.
USUAL_NODES = 24
_FLOAT_BYTES = 4

#: Makes the procedure that computes one input.
Procedure = Callable[[Work], Steps[Any]]

#: What points must agree in to share a pass: the model's lane, and whether a gradient is wanted.
Lane = tuple[Hashable, bool]


@dataclass(slots=True, eq=False)
class Portion:
    """Asks of one kind of one wish of a task, waiting. `rows`, `nodes`: where they stand among all asks and nodes of
    the wish; None: they are the wish. `then`: the portion of the other kind, which waits for this one to be taken, as
    the first ask of a wish may be a route's first."""

    task: "Task"
    wish: int
    asks: Asks
    rows: Indices | None = None
    nodes: Indices | None = None
    then: "Portion | None" = None
    taken: int = 0

    @property
    def waiting(self) -> int:
        """Asks that no pass has taken yet."""
        return len(self.asks) - self.taken

    @property
    def lane(self) -> Lane:
        """Of its asks."""
        return self.task.lane(self.wish), self.asks[0].gradient


@dataclass(frozen=True, slots=True)
class Pick:
    """A part of a portion, taken into a pass: its asks from `first` on."""

    portion: Portion
    first: int
    points: Points


@dataclass(slots=True, eq=False)
class Wish:
    """What a procedure wants: evaluations of a route, or an integral, which is found in rounds of evaluations.

    `asks`: of the round; `missing`: how many of them are not told yet. `told`: what the round gave so far. `result`:
    what the procedure is sent.
    """

    wanted: Wanted
    route: str
    asks: Asks = field(default_factory=Asks)
    missing: int = 0
    told: Evaluations | None = None
    result: Told | None = None

    def begin(self, asks: Asks) -> None:
        """A round."""
        self.asks, self.missing, self.told = asks, len(asks), None


@dataclass(slots=True, eq=False)
class Task:
    """One input's procedure."""

    work: Work
    steps: Steps[Any]
    done: bool = False
    answer: Any = None
    _wishes: list[Wish] = field(default_factory=list)
    _missing: int = 0

    def start(self) -> list[Portion]:
        """Run it up to its first wish; the portions of it that can be taken. Raises whatever it raises."""
        return self._run(lambda: next(self.steps))

    def lane(self, wish: int) -> Hashable:
        """Of a wish's route."""
        return self.work.routes[self._wishes[wish].route].lane

    def take(self, portion: Portion, most: int) -> tuple[Pick, Portion | None]:
        """Up to so many asks of a portion, and the portion that need not wait any longer once this one is gone."""
        first = portion.taken
        portion.taken += min(most, portion.waiting)
        whole = first == 0 and not portion.waiting
        asks = portion.asks if whole else Asks(portion.asks[first : portion.taken])
        pick = Pick(portion, first, Points(self._wishes[portion.wish].route, asks))
        return pick, None if portion.waiting else portion.then

    def tell(self, pick: Pick, told: Evaluations) -> Wish | None:
        """Take what a pass gave; the wish whose round is known in full by that."""
        asks = pick.points.asks
        self.work.costs.count(len(asks), told.scores.shape[1], gradient=asks[0].gradient)
        wish = self._wishes[pick.portion.wish]
        if pick.portion.rows is None and len(asks) == len(wish.asks):
            wish.told = told
        else:
            _fill(wish, pick, told)
        wish.missing -= len(asks)
        return None if wish.missing else wish

    def settle(self, wish: Wish) -> list[Portion]:
        """After a round, of an integral once its integrator knows: the portions of the next, or, after the last wish,
        those of what the procedure wants next. Raises whatever integrator and procedure raise."""
        if isinstance(wish.wanted, Integrating):
            if asks := wish.wanted.asks():
                wish.begin(asks)
                return [self._portion(self._wishes.index(wish))]
            wish.result = wish.wanted.integrator.result()
        else:
            wish.result = wish.told
        self._missing -= 1
        if self._missing:
            return []
        found = [each.result for each in self._wishes if each.result is not None]
        return self._run(lambda: self.steps.send(found))

    def close(self) -> None:
        """Give up what it holds."""
        self.steps.close()
        self.work.close()

    def _run(self, advance: Callable[[], tuple[Wanted, ...]]) -> list[Portion]:
        try:
            wanted = advance()
        except StopIteration as stop:
            self.answer, self.done = stop.value, True
            self.work.close()
            return []
        self._wishes = [_wish(each) for each in wanted]
        self._missing = len(wanted)
        if not wanted or not all(wish.missing for wish in self._wishes):
            raise RuntimeError("a procedure yielded no points. This is a bug.")
        return [self._portion(number) for number in range(len(wanted))]

    def _portion(self, number: int) -> Portion:
        asks = self._wishes[number].asks
        kinds = asks.kinds
        if len(kinds) == 1:
            return Portion(self, number, asks)
        first, then = (Portion(self, number, kind, *places) for kind, places in zip(kinds, asks.places, strict=True))
        first.then = then
        return first


def _wish(wanted: Wanted) -> Wish:
    if isinstance(wanted, Integrating):
        wish = Wish(wanted, wanted.route.id)
        wish.begin(wanted.asks())
    else:
        wish = Wish(wanted, wanted.route)
        wish.begin(wanted.asks)
    return wish


def _fill(wish: Wish, pick: Pick, told: Evaluations) -> None:
    """Put a part of what was wanted where it belongs."""
    asks, portion = wish.asks, pick.portion
    if wish.told is None:
        n_targets = told.scores.shape[1]
        wish.told = Evaluations(
            np.empty((len(asks), n_targets)),
            np.full((len(asks.arrays.index), n_targets), np.nan),
            np.empty(len(asks), np.intp),
        )
    rows = slice(pick.first, pick.first + len(pick.points.asks))
    own = portion.asks.arrays.point
    first_node, last_node = np.searchsorted(own, [rows.start, rows.stop])
    nodes = slice(int(first_node), int(last_node))
    at_rows = rows if portion.rows is None else portion.rows[rows]
    at_nodes = nodes if portion.nodes is None else portion.nodes[nodes]
    wish.told.scores[at_rows] = told.scores
    wish.told.tops[at_rows] = told.tops
    wish.told.slopes[at_nodes] = told.slopes


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
        """Let the job's inputs have so much memory for vectors together: as many are under way at a time as fit with
        the nodes of a usual answer, and each has its part."""
        example = self.tasks[0].work
        size = sum(example.example[spec.name].size for spec in example.info.inputs if spec.attributed)
        one = max(1, size * _FLOAT_BYTES * len(self.spec.explanation.targets))
        self.window = max(1, min(len(self.tasks), MOST_UNDER_WAY, vector_bytes // (USUAL_NODES * one)))
        for task in self.tasks:
            task.work.vector_bytes = vector_bytes // self.window

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
        """What is known of the inputs under way."""
        return tuple(task.work.estimate() for task in self._running.values())


def _worst(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
