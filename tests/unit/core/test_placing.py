import numpy as np
import pytest
from attributor.core.placing import LARGEST_SHARE, PLACINGS, Placing, Scan, first_scan, look_together

S = np.linspace(0, 1, 101)


def look(scan, scores, alphas):
    """A round of scores at some alphas."""
    at = np.array(alphas)
    scan.add(np.arange(len(at)), at, np.array([[score(alpha) for score in scores] for alpha in at]))
    look_together([scan])


def scan_of(*scores):
    scan = Scan()
    look(scan, scores, first_scan(1))
    while scan.wanted:
        look(scan, scores, scan.wanted)
    return scan


def peak(centre, width):
    return lambda alpha: np.tanh((alpha - centre) / width)


@pytest.mark.parametrize("placing", PLACINGS[::7], ids=str)
def test_a_placing_rises_from_one_end_to_the_other_at_the_stated_speed(placing):
    alpha = placing.alpha(S)
    assert alpha[[0, -1]] == pytest.approx([0, 1], abs=1e-12)
    assert (np.diff(alpha) > 0).all()
    assert np.gradient(alpha, S)[1:-1] == pytest.approx(placing.speed(S)[1:-1], rel=0.02)


def test_a_score_that_rises_evenly_or_not_at_all_gets_even_nodes():
    assert scan_of(lambda alpha: 3 * alpha).placing == scan_of(lambda alpha: 7.0).placing == Placing()


@pytest.mark.parametrize("centre", [0.2, 0.5, 0.83])
def test_nodes_gather_where_the_score_changes(centre):
    alpha = scan_of(peak(centre, 0.03)).placing.alpha(S)
    assert np.mean(np.abs(alpha - centre) < 0.1) > 0.5


def test_stretches_with_too_large_a_share_are_looked_at_more_closely_once():
    def jump(alpha):
        return float(alpha > 0.3)

    scan = Scan()
    look(scan, [jump], first_scan(1))
    assert LARGEST_SHARE < 1
    assert scan.wanted == [0.3125, 0.375, 0.4375]
    look(scan, [jump], scan.wanted)
    assert scan.wanted == []
    assert scan.alpha.tolist() == sorted([*first_scan(1), 0.3125, 0.375, 0.4375])


def test_an_even_score_wants_no_more():
    scan = Scan()
    look(scan, [lambda alpha: alpha], first_scan(1))
    assert scan.wanted == []


def test_curves_that_are_looked_at_together_are_placed_as_each_alone():
    scores = [peak(0.2, 0.03), peak(0.8, 0.1), lambda alpha: 3 * alpha, lambda alpha: 0.0]
    scans = [Scan() for _ in range(6)]
    firsts = [first_scan(1)] * 4 + [first_scan(5)] * 2  # the last two at fewer alphas, of two targets
    targets = [[score] for score in scores] + [scores[:2], scores[1:3]]
    wanted = [list(first) for first in firsts]
    while any(wanted):
        for scan, alphas, of_scan in zip(scans, wanted, targets, strict=True):
            if alphas:
                scan.add(
                    np.arange(len(alphas)),
                    np.array(alphas),
                    np.array([[score(alpha) for score in of_scan] for alpha in alphas]),
                )
        look_together([scan for scan, alphas in zip(scans, wanted, strict=True) if alphas])
        wanted = [scan.wanted if alphas else [] for scan, alphas in zip(scans, wanted, strict=True)]
    for scan, first, of_scan in zip(scans, firsts, targets, strict=True):
        alone = Scan()
        look(alone, of_scan, first)
        while alone.wanted:
            look(alone, of_scan, alone.wanted)
        assert scan.alpha.tolist() == alone.alpha.tolist()
        assert scan.placing == alone.placing


def test_a_target_of_any_size_has_the_same_say():
    small = scan_of(lambda alpha: 1e-6 * peak(0.2, 0.03)(alpha), peak(0.8, 0.03)).placing
    assert small == scan_of(peak(0.2, 0.03), peak(0.8, 0.03)).placing


def test_of_mirrored_placings_rounding_does_not_choose():
    both = scan_of(lambda alpha: peak(0.25, 0.02)(alpha) + peak(0.75, 0.02)(alpha)).placing
    again = scan_of(lambda alpha: (peak(0.25, 0.02)(alpha) + peak(0.75, 0.02)(alpha)) * (1 + 1e-12 * alpha)).placing
    assert both == again


def test_more_curves_get_fewer_first_scores_each():
    assert [len(first_scan(n)) for n in (1, 2, 4, 5)] == [5, 5, 5, 3]
