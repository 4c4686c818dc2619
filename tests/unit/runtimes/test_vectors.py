import numpy as np
import pytest
import torch
from attributor.core.integrator import Seal
from attributor.runtimes.vectors import Vectors
from torch import Tensor

KEY = (0, "x")


def kept(*parts: dict[int, list[float]]) -> Vectors:
    """Vectors of nodes, as some passes brought them."""
    vectors = Vectors("p")
    for part in parts:
        vectors.keep(KEY, np.array(list(part)), torch.tensor(list(part.values())))
    return vectors


def test_sums_are_taken_over_all_passes_in_float64():
    vectors = kept({0: [1.0, 2.0], 7: [3.0, 0.5]}, {-1: [10.0, 20.0]})
    total = vectors.sums(0, {7: 2.0, -1: 0.1, 0: 0.25})["x"]
    assert total.dtype == np.float64
    np.testing.assert_allclose(total, [0.25 + 6 + 1, 0.5 + 1 + 2], rtol=1e-15)


def test_a_node_of_weight_zero_is_left_out_even_if_it_is_not_finite():
    vectors = kept({3: [1.0, 2.0], 5: [float("nan"), float("inf")]})
    np.testing.assert_array_equal(vectors.sums(0, {3: 0.5, 5: 0.0, 9: 0.0})["x"], [0.5, 1.0])


@pytest.mark.parametrize(("target", "weights"), [(0, {4: 1.0}), (0, {}), (0, {3: 0.0}), (1, {3: 1.0})])
def test_a_sum_over_nodes_without_vectors_is_a_bug(target, weights):
    with pytest.raises(RuntimeError, match="This is a bug"):
        kept({3: [0.0, 0.0]}).sums(target, weights)


def test_each_name_and_target_has_its_own_sum():
    vectors = kept({0: [1.0, 2.0]})
    vectors.keep((0, "y"), np.array([0]), torch.full((1, 2, 3), 2.0))
    vectors.keep((1, "x"), np.array([0]), torch.tensor([[5.0, 6.0]]))
    found = vectors.sums(0, {0: 0.5})
    assert found["x"].tolist() == [0.5, 1.0]
    assert found["y"].tolist() == [[1.0] * 3] * 2
    assert vectors.sums(1, {0: 1.0})["x"].tolist() == [5.0, 6.0]


def test_what_is_sealed_is_in_the_sums_and_its_vectors_are_gone():
    parts = {0: [1.0, 2.0], 1: [3.0, 4.0], 2: [5.0, 7.0]}, {3: [0.5, 0.25], 4: [8.0, 9.0]}
    whole, vectors = kept(*parts), kept(*parts)
    before = vectors.nbytes
    weights, coarse = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.15, 4: 0.25}, {0: 0.3, 2: 0.4, 4: 0.3}
    # Node 2 is shared by a panel that is sealed and one that is not.
    vectors.seal(Seal(({0: 0.1, 1: 0.2, 2: 0.12},), ({0: 0.3, 2: 0.1},), (0, 1)))
    np.testing.assert_allclose(vectors.sums(0, weights)["x"], whole.sums(0, weights)["x"], rtol=1e-12)
    found = vectors.sums(0, coarse, coarse=True)["x"]
    np.testing.assert_allclose(found, whole.sums(0, coarse)["x"], rtol=1e-12)
    vectors.seal(Seal(({2: 0.18, 3: 0.15, 4: 0.25},), ({2: 0.3, 4: 0.3},), (2, 3, 4)))
    np.testing.assert_allclose(vectors.sums(0, weights)["x"], whole.sums(0, weights)["x"], rtol=1e-12)
    found = vectors.sums(0, coarse, coarse=True)["x"]
    np.testing.assert_allclose(found, whole.sums(0, coarse)["x"], rtol=1e-12)
    assert vectors.nbytes == 2 * 2 * 8  # two sums of two float64
    assert before == 5 * 2 * 4


def test_asking_for_sums_does_not_change_them():
    vectors = kept({0: [1.0, 2.0], 1: [3.0, 4.0]})
    vectors.seal(Seal(({0: 0.5},), (None,), (0,)))
    first = vectors.sums(0, {0: 0.5, 1: 0.5})["x"]
    first += 1.0
    np.testing.assert_array_equal(vectors.sums(0, {0: 0.5, 1: 0.5})["x"], [2.0, 3.0])
    alone = vectors.sums(0, {0: 0.5})["x"]
    alone += 1.0
    np.testing.assert_array_equal(vectors.sums(0, {0: 0.5})["x"], [0.5, 1.0])


def test_more_of_a_node_that_is_gone_is_a_bug():
    vectors = kept({0: [1.0, 2.0], 1: [3.0, 4.0]})
    vectors.seal(Seal(({0: 0.5},), (None,), (0,)))
    with pytest.raises(RuntimeError, match=r"no vectors at nodes \[0\]"):
        vectors.sums(0, {0: 0.75, 1: 0.5})


def test_nodes_of_another_kind_are_added_up_without_what_is_sealed():
    """Interior gradients are asked for on the path's own route, after its panels were sealed."""
    vectors = kept({0: [1.0, 2.0], 1: [3.0, 4.0], -1: [7.0, 9.0]})
    vectors.seal(Seal(({0: 0.5},), ({0: 1.0},), (0,)))
    assert vectors.sums(0, {-1: 1.0})["x"].tolist() == [7.0, 9.0]


def test_long_vectors_are_added_up_a_few_at_a_time(monkeypatch):
    rows = {n: [float(n), 1.0, -n / 3] for n in range(7)}
    weights = {n: 0.1 * n - 0.2 for n in range(6)}
    at_once = kept(rows).sums(0, weights)["x"]
    monkeypatch.setattr("attributor.runtimes.vectors.MOST_WIDE_VALUES", 6)
    np.testing.assert_allclose(kept(rows).sums(0, weights)["x"], at_once, rtol=1e-14)


def test_a_part_of_which_nothing_is_left_is_not_kept_but_for_its_shape():
    vectors = kept({0: [1.0, 2.0]}, {1: [3.0, 4.0]}, {2: [5.0, 6.0]})
    vectors.seal(Seal(({0: 0.5, 1: 0.25, 2: 0.25},), (None,), (0, 1, 2)))
    assert vectors.nbytes == 2 * 8
    assert vectors.sums(0, {0: 0.5, 1: 0.25, 2: 0.25})["x"].tolist() == [2.5, 3.5]


def test_what_could_not_be_sealed_for_want_of_memory_is_not_sealed_in_part(monkeypatch):
    vectors = kept({0: [1.0, 2.0], 1: [3.0, 4.0]}, {2: [5.0, 7.0]})
    vectors.keep((0, "y"), np.array([0, 1, 2]), torch.ones(3, 1))
    seal = Seal(({0: 0.5, 1: 0.25},), ({0: 0.75},), (0,))
    whole = {0: 0.5, 1: 0.25, 2: 0.125}
    expected = vectors.sums(0, whole)
    double, left = Tensor.double, []

    def limited(tensor):
        if not left:
            raise torch.OutOfMemoryError("no room")
        left.pop()
        return double(tensor)

    monkeypatch.setattr("attributor.runtimes.vectors.SMALL_VALUES", 0)
    monkeypatch.setattr(Tensor, "double", limited)
    for n_parts in range(4):  # two names, in the sums of two rules
        left[:] = [None] * n_parts
        with pytest.raises(torch.OutOfMemoryError):
            vectors.seal(seal)
    left[:] = [None] * 10
    vectors.seal(seal)
    for name, values in vectors.sums(0, whole).items():
        np.testing.assert_allclose(values, expected[name])
