import numpy as np
from attributor.jobs.domain import declared_bounds, pixel_values
from attributor.jobs.model import Feature, InputKind, InputSpec

PLAIN = InputSpec("image", InputKind.IMAGE, (1, 2, 2), value_range=(1.0, -1.0))
NORMALISED = InputSpec("image", InputKind.IMAGE, (3, 2, 2), normalise=((0.5, 0.25), (0.0, 1.0), (0.4, 0.2)))


def test_black_and_white_are_those_of_the_declared_range():
    black, white = pixel_values(PLAIN)
    assert (black.tolist(), white.tolist()) == ([[[1.0]]], [[[-1.0]]])
    assert pixel_values(InputSpec("x", InputKind.TENSOR, (3,))) is None


def test_normalised_black_and_white_differ_by_channel():
    black, white = pixel_values(NORMALISED)
    assert black.shape == white.shape == (3, 1, 1)
    np.testing.assert_allclose(black.ravel(), [-2, 0, -2])
    np.testing.assert_allclose(white.ravel(), [2, 1, 3])


def test_bounds_of_an_image_ascend_whichever_way_its_range_runs():
    low, high = declared_bounds(PLAIN, PLAIN.shape)
    assert (low.min(), low.max(), high.min(), high.max()) == (-1, -1, 1, 1)
    low, high = declared_bounds(NORMALISED, NORMALISED.shape)
    assert low[:, 0, 0].tolist() == [-2, 0, -2]
    np.testing.assert_allclose(high[:, 1, 1], [2, 1, 3])


def test_bounds_of_a_table_stand_element_by_element():
    features = (Feature("age", minimum=0), Feature("colour", categories=("red", "green"), one_hot=True))
    low, high = declared_bounds(InputSpec("table", InputKind.TABULAR, (3,), features), (3,))
    assert (low.tolist(), high.tolist()) == ([0, 0, 0], [np.inf, 1, 1])


def test_nothing_declared_is_no_bound():
    low, high = declared_bounds(InputSpec("x", InputKind.TOKENS, (9,), vocabulary=5, variable=True), (4,))
    assert np.isneginf(low).all()
    assert np.isposinf(high).all()
    assert low.shape == (4,)
