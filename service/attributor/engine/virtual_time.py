"""Weighted fair shares of something that is handed out bit by bit. Knows flows and costs; no jobs, no tensors.

Start-time fair queueing (Goyal, Vin and Cheng 1996) in the fluid form: each flow has a virtual clock, which what it got
advances by cost / weight, and whoever is behind goes first. Who asks for less than its share falls behind by what two
passes cost and no further: neither does it save up, nor is the use of what others left lying held against anyone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace

#: A rank of a ladder beside all lower ones together: these have a sixteenth of what is handed out. Ours: little
#: enough for the higher one not to notice.
ABOVE, BELOW = 15.0, 1.0
#: How many passes' worth a flow can fall behind. Ours: with one, the few points of a tenant that comes now and then
#: wait where passes are small; with more, its bursts delay the others.
BURST = 2
#: How much of what all advance by is taken off the slack. Ours: slow enough for any number of flows to catch up, fast
#: enough for the one slow pass of a first call to be forgotten.
FADING = 0.25
#: Points of the lightest flow that the slack always has room for: more than one after it has faded by a pass.
LIGHTEST = 2


@dataclass(slots=True, eq=False)
class Flow:
    """Whoever has a share, by weight. `clock`: costs / weight."""

    weight: float = 1.0
    clock: float = 0.0


@dataclass(slots=True, eq=False)
class Clocks:
    """The clocks of flows that compete. Flows come and go without notice: one that was away begins at the floor."""

    _top: float = 0.0
    _slack: float = 0.0
    _floor: float = 0.0

    def of(self, flow: Flow) -> float:
        """Where the flow's clock stands, at the floor or above."""
        return max(flow.clock, self._floor)

    def charge(self, flow: Flow, cost: float) -> None:
        """Note what a flow got."""
        if cost <= 0:
            return
        step = cost / flow.weight
        flow.clock = max(flow.clock, self._floor) + step
        rise = max(0.0, flow.clock - self._top)
        self._top += rise
        self._slack = max(BURST * step, self._slack - FADING * rise)
        self._floor = max(self._floor, self._top - self._slack)

    def pour(self, wants: Sequence[tuple[Flow, int]], room: int, price: float) -> list[int]:
        """How many of `room` points each flow gets, of so many that it wants, a point costing `price`.

        All that fit; those that are behind first, until all are at one level; ties in the order given.
        """
        if sum(want for _, want in wants) <= room:
            return [want for _, want in wants]
        starts = [self.of(flow) for flow, _ in wants]
        paces = [price / flow.weight for flow, _ in wants]
        # The lightest flow must be able to fall behind by a whole point, or it would never get one.
        self._slack = max(self._slack, LIGHTEST * max(paces))
        level = _level(starts, paces, [want for _, want in wants], room)
        got, left = [], room
        for (_, want), start, pace in zip(wants, starts, paces, strict=True):
            got.append(min(want, left, max(0, int((level - start) / pace))))
            left -= got[-1]
        # What rounding left over goes point by point to whoever it brings least far.
        heap = [(starts[i] + (got[i] + 1) * paces[i], i) for i in range(len(got)) if got[i] < wants[i][1]]
        heapify(heap)
        for _ in range(left):
            _, i = heap[0]
            got[i] += 1
            after = starts[i] + (got[i] + 1) * paces[i]
            heapreplace(heap, (after if got[i] < wants[i][1] else float("inf"), i))
        return got


def _level(starts: Sequence[float], paces: Sequence[float], wants: Sequence[int], room: int) -> float:
    """The clock to which `room` points bring all flows that are behind it and still want."""
    turns = [(start, 1 / pace) for start, pace in zip(starts, paces, strict=True)]
    turns += [(start + want * pace, -1 / pace) for start, pace, want in zip(starts, paces, wants, strict=True)]
    turns.sort()
    filled = rate = 0.0
    level = turns[0][0]
    for clock, change in turns:
        more = rate * (clock - level)
        if filled + more >= room:
            break
        filled, rate, level = filled + more, rate + change, clock
    return level + max(0.0, room - filled) / rate if rate > 0 else level


@dataclass(slots=True, eq=False)
class _Rung:
    clocks: Clocks = field(default_factory=Clocks)
    above: Flow = field(default_factory=lambda: Flow(ABOVE))
    below: Flow = field(default_factory=lambda: Flow(BELOW))


class Ladder:
    """Ranks of which each goes before all lower ones, but for a sixteenth: nobody starves. Rank 0 is the highest."""

    def __init__(self, n_ranks: int) -> None:
        self._rungs = tuple(_Rung() for _ in range(n_ranks - 1))

    def first(self, present: Collection[int]) -> int:
        """Whose turn it is, of ranks that want something (at least one)."""
        lowest = max(present)
        for rank, rung in enumerate(self._rungs[:lowest]):
            if rank in present and rung.clocks.of(rung.above) <= rung.clocks.of(rung.below):
                return rank
        return lowest

    def pour(self, wants: Sequence[int], room: int, price: float) -> list[int]:
        """How many of `room` points each rank gets, of so many that it wants, a point costing `price`."""
        got = []
        for rank, rung in enumerate(self._rungs):
            pair = [(rung.above, wants[rank]), (rung.below, sum(wants[rank + 1 :]))]
            got.append(rung.clocks.pour(pair, room, price)[0])
            room -= got[-1]
        return [*got, min(room, wants[-1])]

    def charge(self, costs: Sequence[float]) -> None:
        """Note what each rank got."""
        for rank, rung in enumerate(self._rungs):
            rung.clocks.charge(rung.above, costs[rank])
            rung.clocks.charge(rung.below, sum(costs[rank + 1 :]))
