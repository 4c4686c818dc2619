import numpy as np
import pytest
from attributor.engine.polyline import vertices
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Gamma, GammaKind
from function_model import x


def polyline(*points):
    return Gamma(GammaKind.POLYLINE, points=tuple(np.array(point, dtype=np.float64) for point in points))


def test_a_straight_path_has_no_inner_vertices():
    for gamma in ({}, {"x": Gamma()}, {"x": polyline()}):
        assert vertices(gamma, x(0, 0), x(1, 1)) == []


def test_points_come_in_order_in_the_type_of_the_input():
    path = vertices({"x": polyline([1, 0], [0.5, 2])}, x(0, 0), x(1, 1))
    assert [each["x"].tolist() for each in path] == [[1, 0], [0.5, 2]]
    assert all(each["x"].dtype == np.float32 for each in path)


def test_an_input_without_a_polyline_goes_straight_and_evenly():
    baseline, example = {**x(0), "y": np.float32([10])}, {**x(1), "y": np.float32([20])}
    path = vertices({"x": polyline([5], [6], [7]), "y": Gamma()}, baseline, example)
    assert [(each["x"].tolist(), each["y"].tolist()) for each in path] == [([5], [12.5]), ([6], [15]), ([7], [17.5])]


def test_tokens_that_stay_go_along():
    ids = np.array([3, 4])
    path = vertices({"x": polyline([5])}, {**x(0), "ids": ids}, {**x(1), "ids": ids})
    np.testing.assert_array_equal(path[0]["ids"], ids)
    assert path[0]["ids"].dtype == ids.dtype


@pytest.mark.parametrize(
    ("gamma", "words"),
    [
        ({"x": polyline([1], [2]), "y": polyline([1])}, "2 of 'x', 1 of 'y'"),
        ({"x": polyline([1]), "y": Gamma(GammaKind.BLUR, sigma=2.0)}, "'y' is blur"),
        ({"y": polyline([1])}, "tokens"),
    ],
)
def test_paths_that_cannot_go_together_are_refused(gamma, words):
    baseline = {"x": np.array([1]), "y": np.float32([0])}
    example = {"x": np.array([2]), "y": np.float32([1])}
    with pytest.raises(UnsupportedByModel, match=words) as refusal:
        vertices(gamma, baseline, example)
    assert refusal.value.field == "path"
