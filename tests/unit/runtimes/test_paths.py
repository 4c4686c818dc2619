import numpy as np
import pytest
import torch
from attributor.jobs.job import Target
from attributor.runtimes.paths import OpenPath, PathEnds

CPU = torch.device("cpu")


def random_rows(n: int, size: int = 5) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=(n, size)) * 10.0 ** np.arange(size)).astype(np.float32)


def test_the_ends_are_met_exactly():
    ends, rows = PathEnds((5,), CPU), random_rows(400)
    slots = [ends.add(baseline, example) for baseline, example in zip(rows[::2], rows[1::2], strict=True)]
    at_baseline, _ = ends.points(slots, [0.0] * len(slots))
    at_example, _ = ends.points(slots, [1.0] * len(slots))
    np.testing.assert_array_equal(at_baseline, rows[::2])
    np.testing.assert_array_equal(at_example, rows[1::2])


def test_a_point_does_not_depend_on_its_place_in_the_batch():
    ends, rows = PathEnds((5,), CPU), random_rows(80)
    slots = [ends.add(rows[2 * i], rows[2 * i + 1]) for i in range(40)]
    alphas = np.linspace(0, 1, 40).tolist()
    together, _ = ends.points(slots, alphas)
    for row, (slot, alpha) in enumerate(zip(slots, alphas, strict=True)):
        alone, _ = ends.points([slot], [alpha])
        assert torch.equal(alone[0], together[row])


def test_a_freed_slot_is_used_again_and_growth_moves_nothing():
    ends = PathEnds((1,), CPU)
    slots = [ends.add(np.zeros(1, np.float32), np.full(1, i, np.float32)) for i in range(200)]
    assert len(set(slots)) == 200
    points, delta = ends.points(slots, [0.5] * 200)
    np.testing.assert_array_equal(points[:, 0], np.arange(200) / 2)
    np.testing.assert_array_equal(delta[:, 0], np.arange(200))
    ends.remove(slots[7])
    assert ends.add(np.zeros(1, np.float32), np.ones(1, np.float32)) == slots[7]


def test_ends_of_another_shape_are_a_bug():
    with pytest.raises(ValueError, match="This is a bug"):
        PathEnds((2,), CPU).add(np.zeros(1, np.float32), np.zeros(2, np.float32))


def test_a_node_of_weight_zero_is_left_out_even_if_it_is_not_finite():
    path = OpenPath("p", 0, Target(0))
    path.keep([3, 5], torch.tensor([[1.0, 2.0], [float("nan"), float("inf")]]))
    total = path.weighted_sum({3: 0.5, 5: 0.0, 9: 0.0})
    assert total.dtype == np.float64
    np.testing.assert_array_equal(total, [0.5, 1.0])


@pytest.mark.parametrize("weights", [{3: 1.0}, {}, {4: 0.0}])
def test_a_sum_over_nodes_without_vectors_is_a_bug(weights):
    with pytest.raises(RuntimeError, match="This is a bug"):
        OpenPath("p", 0, Target(0)).weighted_sum(weights)


def test_the_predicted_class_stays_that_of_the_first_pass_over_the_example():
    path = OpenPath("p", 0, Target())
    path.record_outputs(np.array([0.0, 1e-7], np.float32))
    path.record_outputs(np.array([1e-7, 0.0], np.float32))
    assert path.class_target[0] == path.predicted_class == 1
