"""The procedure of one input while it waits for points: its wishes, and the portions of them that passes take.

What a portion gave goes back to its task, which goes on once it knows all it asked for. Knows no job and no pass.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attributor.core.asks import Asks, Indices
from attributor.engine.steps import Integrating, Steps, Told, Wanted
from attributor.engine.work import Work
from attributor.model_port import Evaluations, Points

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

    def resume(self, known: Callable[[str, Asks], Evaluations]) -> Wish:
        """Take all that its one wish wants from what is `known` of the route already, in place of a pass."""
        (wish,) = self._wishes
        wish.told = known(wish.route, wish.asks)
        for kind in wish.asks.kinds:
            self.work.costs.count(len(kind), wish.told.scores.shape[1], gradient=kind[0].gradient)
        wish.missing = 0
        return wish

    @property
    def first_asks(self) -> Asks | None:
        """What its one wish wants now; None where there are several."""
        return self._wishes[0].asks if len(self._wishes) == 1 else None

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
