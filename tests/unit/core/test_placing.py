import numpy as np
import pytest
from attributor.core.placing import LARGEST_SHARE, MOST_HALVINGS, PLACINGS, Placing, Scan, first_scan

S = np.linspace(0, 1, 101)


def scan_of(*scores):
    scan = Scan()
    wanted = list(first_scan(1))
    while wanted:
        for alpha in wanted:
            scan.add(alpha, [score(alpha) for score in scores])
        wanted = scan.wanted()
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
    assert scan_of(lambda alpha: 3 * alpha).placing() == scan_of(lambda alpha: 7.0).placing() == Placing()


@pytest.mark.parametrize("centre", [0.2, 0.5, 0.83])
def test_nodes_gather_where_the_score_changes(centre):
    alpha = scan_of(peak(centre, 0.03)).placing().alpha(S)
    assert np.mean(np.abs(alpha - centre) < 0.1) > 0.5


def test_stretches_with_too_large_a_share_are_halved_so_often():
    scan = Scan()
    for alpha in first_scan(1):
        scan.add(alpha, [float(alpha > 0.3)])
    assert LARGEST_SHARE < 1
    assert [scan.wanted() for _ in range(MOST_HALVINGS)] == [[0.375]] * MOST_HALVINGS
    assert scan.wanted() == []


def test_an_even_score_wants_no_more():
    assert scan_of(lambda alpha: alpha).wanted() == []


def test_a_target_of_any_size_has_the_same_say():
    small = scan_of(lambda alpha: 1e-6 * peak(0.2, 0.03)(alpha), peak(0.8, 0.03)).placing()
    assert small == scan_of(peak(0.2, 0.03), peak(0.8, 0.03)).placing()


def test_of_mirrored_placings_rounding_does_not_choose():
    both = scan_of(lambda alpha: peak(0.25, 0.02)(alpha) + peak(0.75, 0.02)(alpha)).placing()
    again = scan_of(lambda alpha: (peak(0.25, 0.02)(alpha) + peak(0.75, 0.02)(alpha)) * (1 + 1e-12 * alpha)).placing()
    assert both == again


def test_more_curves_get_fewer_first_scores_each():
    assert [len(first_scan(n)) for n in (1, 2, 4, 5)] == [5, 5, 5, 3]
