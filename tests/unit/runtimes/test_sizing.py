import random
from itertools import pairwise

import pytest
from attributor.runtimes.climbing import LONGEST_PASS_S
from attributor.runtimes.sizing import (
    MOST_POINTS,
    USUAL,
    Bounds,
    Measured,
    Passes,
    PassKey,
    PassSizes,
    ladder,
    length_class,
    measure,
    nearly_best,
    of_one_size,
)


class Device:
    """Passes that take what `seconds(n)` says, on a clock that only they move."""

    def __init__(self, seconds, fits=MOST_POINTS):
        self._seconds, self._fits = seconds, fits
        self.now = 0.0
        self.sizes = []

    def clock(self):
        return self.now

    def prepare(self, n):
        def both():
            self.sizes.append(n)
            if n > self._fits:
                raise MemoryError
            self.now += self._seconds(n)

        def forward():
            self.now += self._seconds(n) / 3

        return Passes(both, forward)

    def measured(self, most=MOST_POINTS):
        return measure(self.prepare, most, self.clock)


def small_net(n):
    """A millisecond a pass, and a microsecond a point."""
    return 1e-3 + 1e-6 * n


def large_net(n):
    """A tenth of a second a point, however many."""
    return 0.1 * n


def cached_net(n):
    """Best at 16, where its tensors leave the cache."""
    return 1e-3 + 1e-4 * n * max(1, n / 16) ** 0.5


def run(sizes, seconds, passes, key=USUAL):
    """Full passes, as an engine with enough to do makes them; the sizes that they had."""
    seen = []
    for _ in range(passes):
        n = sizes.points(key)
        seen.append(n)
        sizes.note(key, n, seconds(n))
    return seen


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 4, 5]), (8, [1, 2, 4, 8])])
def test_sizes_are_powers_of_two_and_the_bound(most, sizes):
    assert ladder(most) == sizes


def test_a_small_net_gets_the_largest_passes():
    points, per_point, per_forward = Device(small_net).measured()
    assert points == MOST_POINTS
    assert per_point == pytest.approx(small_net(points) / points)
    assert per_forward == pytest.approx(per_point / 3)


def test_no_more_points_are_tried_than_allowed():
    device = Device(small_net)
    assert device.measured(most=24)[0] == 24
    assert max(device.sizes) == 24


def test_of_sizes_that_are_about_as_good_the_smallest_is_taken():
    assert nearly_best({1: 1.0e-3, 2: 0.7e-3, 4: 0.515e-3, 8: 0.5e-3}) == 4
    assert Device(large_net).measured()[0] == 1


def test_sizes_beyond_the_best_are_soon_left_alone():
    device = Device(cached_net)
    assert device.measured()[0] == 16
    assert max(device.sizes) == 128


def test_a_pass_is_no_longer_than_others_may_wait():
    points, per_point, _ = Device(lambda n: 0.05 + 0.04 * n).measured()
    assert points == 8
    assert points * per_point <= LONGEST_PASS_S < 2 * points * per_point


def test_a_point_that_alone_takes_longer_is_a_pass():
    assert Device(lambda n: 3.0 * n).measured()[0] == 1


def test_measuring_a_large_net_takes_seconds_at_most():
    device = Device(large_net)
    device.measured()
    assert device.now < 4


def test_a_size_that_does_not_fit_is_not_taken():
    assert Device(small_net, fits=100).measured()[0] == 64
    with pytest.raises(MemoryError):
        Device(small_net, fits=0).measured()


def test_the_time_that_something_else_took_is_not_counted():
    times = iter([0.05, 0.05])  # one size happens to be tried while the machine is busy
    device = Device(lambda n: next(times, small_net(n)) if n == 256 else small_net(n))
    assert device.measured()[0] == MOST_POINTS


@pytest.mark.parametrize(("nbytes", "most"), [(None, 1024), (10_000, 10), (999, 1), (10**9, 1024)])
def test_memory_bounds_a_pass(nbytes, most):
    assert Bounds(None, nbytes).most(1000) == most
    assert Bounds(None, nbytes).most(None) == MOST_POINTS
    assert Bounds(7, nbytes).most(1000) == min(7, most)


def test_passes_begin_as_measured():
    sizes = PassSizes(Measured(64, 1e-4, 3e-5))
    assert sizes.points() == 64
    assert sizes.seconds_per_point() == 1e-4


def test_a_size_that_is_best_stays():
    sizes = PassSizes(Measured(16, 1.6e-4, 5e-5))
    seen = run(sizes, cached_net, 5000)
    assert sizes.points() == 16
    assert set(seen) == {8, 16, 32}
    assert sum(n != 16 for n in seen) < 0.04 * len(seen)


def test_looking_for_a_better_size_becomes_ever_rarer():
    sizes = PassSizes(Measured(16, 1.6e-4, 5e-5))
    early, late = run(sizes, cached_net, 2000), run(sizes, cached_net, 8000)[-2000:]
    assert sum(n != 16 for n in late) < sum(n != 16 for n in early)


@pytest.mark.parametrize("measured", [1, 4, 32, 256])
def test_a_size_that_was_measured_wrong_is_mended(measured):
    sizes = PassSizes(Measured(measured, cached_net(measured) / measured, 1e-5))
    run(sizes, cached_net, 3000)
    assert sizes.points() == 16
    assert sizes.seconds_per_point() == pytest.approx(cached_net(16) / 16)


def test_a_large_nets_size_is_mended_within_seconds():
    sizes = PassSizes(Measured(1, 0.1, 0.03))
    seconds = 0.0
    while sizes.points() != 4:
        n = sizes.points()
        seconds += 0.03 + 0.05 * n
        sizes.note(USUAL, n, 0.03 + 0.05 * n)
        assert seconds < 30


def test_passes_that_became_too_long_are_halved_soon():
    sizes = PassSizes(Measured(64, 1e-3, 3e-4))
    run(sizes, lambda n: 0.02 * n, 20)
    assert sizes.points() * 0.02 <= LONGEST_PASS_S


def test_passes_that_are_not_full_teach_nothing():
    sizes = PassSizes(Measured(64, 1e-3, 3e-4))
    for _ in range(10_000):
        sizes.note(USUAL, 8, 0.1)
    assert sizes.points() == 64
    assert sizes.seconds_per_point() == 1e-3


def test_out_of_memory_halves_for_a_while():
    sizes = PassSizes(Measured(64, 2e-5, 6e-6))
    sizes.halve(USUAL, 64)
    assert sizes.points() == 32
    assert max(run(sizes, small_net, 4000)) == 32
    assert max(run(sizes, small_net, 200)) == 64


@pytest.mark.parametrize("adapting", [True, False])
def test_a_moment_without_memory_is_forgotten(adapting):
    sizes = PassSizes(Measured(64, cached_net(64) / 64, 6e-6), Bounds(64), adapting=adapting)
    for n in (64, 32, 16, 8, 4, 2):
        sizes.halve(USUAL, n)
    assert sizes.points() == 1
    seen = run(sizes, lambda n: 1e-3 * n, 30_000)
    assert sizes.most(USUAL) == 64
    assert max(seen) == 64
    assert adapting or sizes.points() == 64


def test_long_passes_count_for_several_until_there_is_more_room():
    sizes = PassSizes(Measured(4, 0.1, 3e-2))
    sizes.halve(USUAL, 4)
    seconds = 0.0
    while sizes.most(USUAL) == 2:
        sizes.note(USUAL, 1, 0.3)
        seconds += 0.3
    assert seconds == pytest.approx(0.03 * 4096, rel=0.01)


def test_where_there_is_never_more_memory_it_is_tried_ever_more_rarely():
    sizes = of_one_size(64)
    tried = []
    for n_pass in range(200_000):
        n = sizes.points()
        if n > 32:
            tried.append(n_pass)
            sizes.halve(USUAL, n)
        else:
            sizes.note(USUAL, n, 1e-3)
    assert [later - earlier for earlier, later in pairwise(tried)] == [4097, 8193, 16385, 32769, 65537, 65537]


def test_one_point_that_never_fits_makes_no_other_pass_smaller():
    sizes = of_one_size(64)
    sizes.halve(USUAL, 64)
    most = sizes.most(USUAL)
    for n in (32, 16, 8, 4, 2, 1):
        sizes.halve(USUAL, n)
    sizes.restore(USUAL, most)
    assert sizes.points() == 32


def test_kinds_of_passes_have_sizes_of_their_own():
    sizes, of_a_layer = of_one_size(64), PassKey((), "of a layer")
    sizes.halve(of_a_layer, 64)
    assert [sizes.points(), sizes.points(of_a_layer)] == [64, 32]
    assert sizes.largest == 64


def test_passes_of_other_numbers_of_targets_are_no_part_of_a_comparison():
    sizes = PassSizes(Measured(16, 1.6e-4, 5e-5))
    numbers = random.Random(0)
    seen = []
    for _ in range(20_000):
        n, n_targets = sizes.points(), numbers.choice((1, 1, 1, 10))
        seen.append(n)
        sizes.note(USUAL, n, cached_net(n) * n_targets, n_targets)
    assert sizes.points() == 16
    assert set(seen) == {8, 16, 32}
    for _ in range(20):
        sizes.note(USUAL, sizes.points(), 10 * cached_net(sizes.points()), 10)
    assert sizes.seconds_per_point() == pytest.approx(10 * cached_net(16) / 16)


def test_out_of_memory_in_a_pass_that_was_not_full_counts_too():
    sizes = PassSizes(Measured(64, 2e-5, 6e-6))
    sizes.halve(USUAL, 5)
    assert sizes.points() == 2
    sizes.halve(USUAL, 1)
    assert sizes.points() == 1


def test_the_operators_bound_holds_while_adapting():
    sizes = PassSizes(Measured(16, 1e-4, 3e-5), Bounds(points=24))
    assert max(run(sizes, small_net, 3000)) == 24


@pytest.mark.parametrize(("lengths", "expected"), [((), ()), ((1,), (1,)), ((5,), (8,)), ((64, 9), (64, 16))])
def test_lengths_go_up_to_a_power_of_two(lengths, expected):
    assert length_class(lengths) == expected


def test_other_lengths_get_as_many_positions_as_were_best():
    sizes = PassSizes(Measured(32, 1e-3, 3e-4, lengths=(64,)))
    assert [sizes.points(PassKey((length,))) for length in (60, 64, 16, 250, 4096)] == [32, 32, 128, 8, 1]
    assert sizes.seconds_per_point(PassKey((128,))) == pytest.approx(2e-3)


def test_longer_ones_take_more_memory():
    sizes = PassSizes(Measured(32, 1e-6, 3e-7, bytes_per_point=1000, lengths=(64,)), Bounds(nbytes=40_000))
    assert sizes.points(PassKey((64,))) == 32
    assert sizes.points(PassKey((16,))) == 128
    assert sizes.points(PassKey((512,))) == 4


def test_what_one_length_costs_says_nothing_of_another():
    sizes = PassSizes(Measured(32, 1e-3, 3e-4, lengths=(64,)))
    sizes.halve(PassKey((64,)), 32)
    assert [sizes.points(PassKey((length,))) for length in (64, 32)] == [16, 64]
    assert sizes.largest == 64
