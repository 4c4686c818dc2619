"""The size of passes of one kind while they run: what they took is followed, and memory that ran out is remembered.

Knows numbers of points, seconds and targets; no torch, no model and no clock of its own.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

#: A pass lasts no longer, seconds, unless it is of one point: a new job waits for the one under way. Ours.
LONGEST_PASS_S = 0.5
#: The smallest size within this of the best rate is taken: it serves small crowds as well. Ours: above the noise.
NEAR_BEST = 1.03

#: Full passes before a neighbouring size is tried, doubled whenever it was no better; one that takes more than so many
#: seconds counts for several. Ours: with five passes a trial, looking costs 4 % at first and nothing in the long run,
#: and a size that was measured on a busy machine is mended within seconds.
_FIRST_TRIAL_AFTER, _RAREST_TRIAL = 128, 1 << 14
_COUNTS_ONCE_S = 0.03
_TRIAL_PASSES = 5

#: After passes did not fit the memory, so many later (long ones count for several) twice as many points may go into one
#: again; each time that this was too early, twice as late. Ours: what another process held for a moment costs seconds
#: to minutes, and a memory that stays too small a pass that is done again per some thousand.
_GROWS_AFTER, _GROWS_LATEST_AFTER = 1 << 12, 1 << 16

#: Passes of so many points at least tell what a point costs: fewer show what a pass costs. Share of the size.
_FULL_SHARE = 0.75

#: After so many passes in a row of another number of targets, it is that number that sizes are compared at. Ours.
_OTHERS_IN_A_ROW = 10


@dataclass(slots=True)
class Climb:
    """The size for passes of one kind and class of lengths. `most`: sizes above it are not tried now."""

    size: int
    most: int
    seconds_per_point: float
    #: Where memory ran out: `most` and the size as they were before, passes since, and after how many `most` grows.
    _before: tuple[int, int] | None = None
    _since_full: float = 0.0
    _grows_after: int = _GROWS_AFTER
    _has_grown: bool = False
    #: The number of targets that passes are compared at, and how many passes of other numbers came in a row.
    _n_targets: int = 1
    _others: int = 0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=_TRIAL_PASSES))
    _tried: list[float] = field(default_factory=list)
    _trial: int | None = None
    _upwards: bool = True
    _since: float = 0.0
    _pause: int = _FIRST_TRIAL_AFTER

    @property
    def wanted(self) -> int:
        """The size of the next pass."""
        return self.size if self._trial is None else self._trial

    def note(self, points: int, seconds: float, n_targets: int) -> None:
        """Learn from a pass, if it was about full and of as many targets as those before it."""
        if not self.wanted * _FULL_SHARE <= points <= self.wanted or self._is_other(n_targets):
            return
        if self._trial is not None:
            self._tried.append(seconds / points)
            if len(self._tried) == _TRIAL_PASSES:
                self._judge(self._trial, median(self._tried))
            return
        self._recent.append(seconds / points)
        if len(self._recent) < _TRIAL_PASSES:
            return
        self.seconds_per_point = median(self._recent)
        self._since += max(1.0, seconds / _COUNTS_ONCE_S)
        if self.size > 1 and self.size * self.seconds_per_point > LONGEST_PASS_S:
            self._move(power_below(self.size - 1))
        elif self._since >= self._pause:
            self._begin_trial()

    def bound(self, most: int) -> None:
        """No size above `most` for a while."""
        if self._has_grown:
            self._has_grown, self._grows_after = False, min(2 * self._grows_after, _GROWS_LATEST_AFTER)
        self._before = self._before or (self.most, self.size)
        self._since_full = 0.0
        self.most = min(self.most, most)
        if self.wanted > self.most:
            self._move(min(self.size, self.most))

    def recover(self, seconds: float) -> None:
        """After a pass that did fit: `most` grows again, once enough of them did."""
        if self._before is None:
            return
        self._since_full += max(1.0, seconds / _COUNTS_ONCE_S)
        if self._since_full >= self._grows_after:
            self._has_grown, self._since_full = True, 0.0
            self.restore(2 * self.most)

    def restore(self, most: int) -> None:
        """Allow up to `most` again, and the size that was taken back for want of memory as far as that goes."""
        if self._before is None:
            return
        whole, size = self._before
        self.most = min(most, whole)
        if self.most == whole:
            self._before = None
        if self.size < (again := min(size, self.most)):
            self._move(again)

    def _is_other(self, n_targets: int) -> bool:
        """Whether a pass cannot be compared with those before it."""
        self._others = 0 if n_targets == self._n_targets else self._others + 1
        if self._others >= _OTHERS_IN_A_ROW:
            self._n_targets, self._others, self._trial = n_targets, 0, None
            self._recent.clear()
        return n_targets != self._n_targets

    def _begin_trial(self) -> None:
        self._since = 0.0
        up, down = min(2 * self.size, self.most), power_below(self.size - 1)
        fits = up > self.size and up * self.seconds_per_point <= LONGEST_PASS_S
        candidate = up if self._upwards and fits else down
        self._upwards = not self._upwards
        if candidate != self.size:
            self._trial, self._tried = candidate, []

    def _judge(self, size: int, seconds_per_point: float) -> None:
        self._trial = None
        if seconds_per_point * NEAR_BEST < self.seconds_per_point:
            self._upwards = size > self.size  # what was better in one direction may be better still
            self._move(size)
            self.seconds_per_point = seconds_per_point
        else:
            self._pause = min(2 * self._pause, _RAREST_TRIAL)

    def _move(self, size: int) -> None:
        self.size, self._trial = size, None
        self._recent.clear()
        self._since, self._pause = 0.0, _FIRST_TRIAL_AFTER


def power_below(number: float) -> int:
    """The largest power of two that is not above it; at least 1."""
    return 1 << max(0, int(number).bit_length() - 1)
