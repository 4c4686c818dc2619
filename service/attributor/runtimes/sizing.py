"""How many points go into a pass of a model, by the shapes of its inputs: measured at load, adapted while it runs.

The size decides how fast passes are and who shares one, never what is computed: answers differ by float rounding at
most (design.md, section 5). Knows no torch, no model and no clock of its own.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from attributor.runtimes.climbing import LONGEST_PASS_S, NEAR_BEST, Climb, power_below

#: The variable lengths of an example, see `network.Lengths`; empty where all shapes are fixed.
ShapeKey = tuple[int, ...]

#: Sizes are powers of two up to this one. Ours: above 1,024 points the smallest nets gain nothing more (best: 800).
MOST_POINTS = 1024
#: All sizes are measured so often in turn, as long as no more than so many seconds have gone, and each time until it
#: took so many seconds or passes. The best time counts, as noise only adds. Ours: a large CNN takes all the seconds.
_SWEEPS, _MEASURING_S = 3, 2.0
_LEAST_PASSES, _MOST_PASSES, _ENOUGH_S = 1, 10, 0.01
#: Where so many sizes in a row are worse than the best one by this, larger ones are not tried. Ours.
_WORSE, _WORSE_IN_A_ROW = 1.15, 2


@dataclass(frozen=True, slots=True)
class PassKey:
    """What passes must agree in to cost alike. `lengths`: of the examples; `kind`: whatever else tells them apart (what
    is attributed to a layer, the precision), the default for those that are measured."""

    lengths: ShapeKey = ()
    kind: Hashable = None


#: Of what is measured at load.
USUAL = PassKey()


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model's passes cost on a device. `points`: the best size; `seconds_per_point`: forward and backward (of a
    model without gradients, forward) at that size; `seconds_per_forward`: forward alone; `bytes_per_point`: what a
    point adds to a pass's peak, None where that is not known; `lengths`: of what shape."""

    points: int
    seconds_per_point: float
    seconds_per_forward: float
    bytes_per_point: int | None = None
    lengths: ShapeKey = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a pass may take. `points`: set by the operator, None: as measured; `nbytes`: of memory, None: no bound."""

    points: int | None = None
    nbytes: int | None = None

    def most(self, bytes_per_point: int | None) -> int:
        """The most points that a pass may have, where one takes so much memory (None: not known)."""
        most = MOST_POINTS if self.points is None else self.points
        if self.nbytes is not None and bytes_per_point:
            most = min(most, max(1, self.nbytes // bytes_per_point))
        return most


@dataclass(frozen=True, slots=True)
class Passes:
    """Passes over the same points, forward with backward and forward alone, that return when they are done."""

    both: Callable[[], None]
    forward: Callable[[], None]


def measure(prepare: Callable[[int], Passes], most: int, clock: Callable[[], float]) -> tuple[int, float, float]:
    """Finds the best size up to `most` points; returns it, seconds per point there, and seconds per forward there.

    `prepare(n)` makes ready what passes over n points need. Takes half a second for small nets, about two seconds for
    large ones. Raises what the passes raise; a size that one raises MemoryError at is not taken, unless it is 1.
    """
    began = clock()
    rates = _climbed(prepare, most, clock)
    # Again, at other times: whatever else the machine was busy with then, it was not for all of them.
    for _ in range(_SWEEPS - 1):
        for n in [*rates]:
            if clock() - began < _MEASURING_S:
                rates[n] = min(rates[n], _best_of(prepare(n).both, clock) / n)
    points = nearly_best(rates)
    forward = _best_of(prepare(points).forward, clock) / points
    return points, rates[points], min(forward, rates[points])


def _climbed(prepare: Callable[[int], Passes], most: int, clock: Callable[[], float]) -> dict[int, float]:
    """Seconds per point by size, up to where larger ones are of no use."""
    rates: dict[int, float] = {}
    n_worse = 0
    for n in ladder(most):
        try:
            rates[n] = _best_of(prepare(n).both, clock) / n
        except MemoryError:
            if not rates:
                raise
            break
        n_worse = n_worse + 1 if rates[n] > _WORSE * min(rates.values()) else 0
        if n_worse >= _WORSE_IN_A_ROW or 2 * n * rates[n] > LONGEST_PASS_S:
            break
    return rates


def nearly_best(rates: dict[int, float]) -> int:
    """Of seconds per point by size: the smallest size that is nearly as good as the best, and short enough a pass."""
    short = {n: rate for n, rate in rates.items() if n * rate <= LONGEST_PASS_S} or {1: rates[1]}
    best = min(short.values())
    return min(n for n, rate in short.items() if rate <= NEAR_BEST * best)


def ladder(most: int) -> list[int]:
    """The sizes that are tried: powers of two below `most`, and `most`."""
    return [*(1 << i for i in range((most - 1).bit_length())), most] if most > 1 else [1]


def length_class(lengths: ShapeKey) -> ShapeKey:
    """Lengths rounded up to powers of two: shapes so near to each other are sized alike."""
    return tuple(1 << (length - 1).bit_length() for length in lengths)


class PassSizes:
    """The points of a pass, by its kind and the class of its lengths.

    Begins with what was measured; lengths that were not are taken to cost as many times more as there are more
    positions. Then follows what passes took: every so often a neighbouring size is tried for a few passes, and kept if
    it is better by more than noise. Passes that do not fit the memory make those of their kind smaller, for a while.
    One thread at a time.
    """

    def __init__(self, measured: Measured, bounds: Bounds = Bounds(), *, adapting: bool = True) -> None:
        self._measured = measured
        self._adapting = adapting
        self._bounds = bounds
        self._classes: dict[PassKey, Climb] = {}

    @property
    def measured(self) -> Measured:
        """What it began with."""
        return self._measured

    @property
    def largest(self) -> int:
        """The most points of any shape seen so far, or of the measured one."""
        return max([self.points(PassKey(self._measured.lengths)), *(climb.size for climb in self._classes.values())])

    def points(self, key: PassKey = USUAL) -> int:
        """How many points the next pass takes at most."""
        return self._climb(key).wanted

    def seconds_per_point(self, key: PassKey = USUAL) -> float:
        """What a point takes in a full pass, as it was measured last."""
        return self._climb(key).seconds_per_point

    def note(self, key: PassKey, points: int, seconds: float, n_targets: int = 1) -> None:
        """A pass over so many points, differentiated for so many targets, took so long."""
        climb = self._climb(key)
        climb.recover(seconds)
        if self._adapting:
            climb.note(points, seconds, n_targets)

    def halve(self, key: PassKey, points: int) -> None:
        """A pass over so many points did not fit the memory: none of this class is that large for a while."""
        self._climb(key).bound(max(1, points // 2))

    def most(self, key: PassKey) -> int:
        """The most points that a pass may have now."""
        return self._climb(key).most

    def restore(self, key: PassKey, most: int) -> None:
        """As `most` was before: it was one point that does not fit, alone or with others."""
        self._climb(key).restore(most)

    def _climb(self, key: PassKey) -> Climb:
        of_class = PassKey(length_class(key.lengths), key.kind)
        if of_class not in self._classes:
            self._classes[of_class] = self._first(of_class.lengths)
        return self._classes[of_class]

    def _first(self, key: ShapeKey) -> Climb:
        measured = self._measured
        here, there = math.prod(key), math.prod(length_class(measured.lengths))
        share = there / here if key and measured.lengths else 1.0
        per_point_s = measured.seconds_per_point / share
        nbytes = None if measured.bytes_per_point is None else math.ceil(measured.bytes_per_point / share)
        most = self._bounds.most(nbytes)
        # As many positions in a pass as were best: it is they that fill a device.
        wished = power_below(min(measured.points * share, LONGEST_PASS_S / per_point_s)) if share != 1.0 else 0
        return Climb(min(wished or measured.points, most), most, per_point_s)


def of_one_size(points: int) -> PassSizes:
    """Passes of so many points at most, not adapted: for models that were not measured."""
    return PassSizes(Measured(points, 0.0, 0.0), Bounds(points), adapting=False)


def _best_of(run: Callable[[], None], clock: Callable[[], float]) -> float:
    """The least seconds of a few runs. The first, which warms up, counts only where it took as long as a pass may."""
    began = clock()
    run()
    if (first_s := clock() - began) > LONGEST_PASS_S:
        return first_s
    times: list[float] = []
    while len(times) < _LEAST_PASSES or (len(times) < _MOST_PASSES and sum(times) < _ENOUGH_S):
        began = clock()
        run()
        times.append(clock() - began)
    return min(times)
