import numpy as np
import pytest
from attributor.engine.guided import guided_vertices
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Gamma, GammaKind
from function_model import FunctionModel, drive, x


def walk(model, baseline, example, steps=10, fraction=0.25):
    gamma = Gamma(GammaKind.GUIDED, steps=steps, fraction=fraction)
    return drive(model, guided_vertices(model.route(example), baseline, example, gamma))


def linear(*weights):
    """Gradients are the weights, everywhere."""
    slopes = np.array(weights)
    return FunctionModel(lambda inputs: np.array([slopes @ inputs["x"]]), lambda inputs: {"x": slopes})


def bumpy(n):
    """sum of sin(k x_k): gradients that change along the way."""
    k = np.arange(1, n + 1)
    return FunctionModel(
        lambda inputs: np.array([np.sin(k * inputs["x"]).sum()]), lambda inputs: {"x": k * np.cos(k * inputs["x"])}
    )


def test_the_smallest_gradients_move_first():
    path = walk(linear(3, -1, 2), x(0, 0, 0), x(1, 1, 1), steps=6, fraction=0.3)
    np.testing.assert_allclose(
        [each["x"] for each in path], [[0, 0.5, 0], [0, 1, 0], [0, 1, 0.5], [0, 1, 1], [0.5, 1, 1]]
    )


def test_a_step_longer_than_its_features_goes_on_with_the_next_ones():
    path = walk(linear(3, -1, 2), x(0, 0, 0), x(1, 1, 1), steps=2, fraction=0.3)
    np.testing.assert_allclose([each["x"] for each in path], [[0, 1, 0.5]])


def test_equal_gradients_move_together():
    path = walk(linear(2, 2, 2, 5), x(0, 0, 0, 0), x(1, 2, 3, 4), steps=5, fraction=0.1)
    np.testing.assert_allclose(path[0]["x"], [1 / 3, 2 / 3, 1, 0], rtol=1e-6)


@pytest.mark.parametrize("fraction", [0.05, 0.25, 1.0])
def test_distances_shrink_evenly_and_no_feature_turns_back(fraction):
    rng = np.random.default_rng(0)
    start, end = x(*rng.normal(size=40)), x(*rng.normal(size=40))
    path = [start, *walk(bumpy(40), start, end, 20, fraction), end]
    assert len(path) == 21
    distances = [float(np.abs(end["x"].astype(float) - each["x"]).sum()) for each in path]
    np.testing.assert_allclose(distances, np.linspace(distances[0], 0, 21), atol=1e-4)
    moves = np.diff([each["x"] for each in path], axis=0) * np.sign(end["x"] - start["x"])
    assert (moves >= 0).all()


def test_moving_all_features_at_once_is_the_straight_path():
    path = walk(bumpy(3), x(0, 0, 1), x(1, 2, -3), steps=4, fraction=1.0)
    np.testing.assert_allclose([each["x"] for each in path], [[k / 4, k / 2, 1 - k] for k in (1, 2, 3)], atol=1e-6)


def test_all_inputs_walk_together_and_the_others_stay():
    example = {"a": np.ones((1, 2), np.float32), "b": np.ones(1, np.float32), "mask": np.array([1, 0])}
    baseline = {"a": np.zeros((1, 2), np.float32), "b": np.zeros(1, np.float32), "mask": example["mask"]}
    gradient = {"a": np.array([[3.0, 1.0]]), "b": np.array([2.0])}
    model = FunctionModel(lambda inputs: np.array([0.0]), lambda inputs: gradient)
    path = walk(model, baseline, example, steps=3, fraction=0.1)
    assert [(each["a"].tolist(), each["b"].tolist()) for each in path] == [([[0, 1]], [0]), ([[0, 1]], [1])]
    assert all(each["mask"] is example["mask"] for each in path)


def test_a_gradient_that_is_not_finite_comes_last():
    path = walk(linear(np.nan, 1, np.inf), x(0, 0, 0), x(1, 1, 1), steps=3)
    np.testing.assert_allclose([each["x"] for each in path], [[0, 1, 0], [0.5, 1, 0.5]])


def test_a_gradient_is_asked_for_at_every_step_but_the_last():
    model = linear(1, 2)
    walk(model, x(0, 0), x(1, 1), steps=7)
    assert model.gradients == 6


def test_steps_below_rounding_give_no_vertex():
    start = x(1.0)
    end = {"x": np.nextafter(start["x"], np.float32(2))}
    assert walk(linear(1), start, end, steps=20) == []


@pytest.mark.parametrize(("end", "steps"), [(x(0, 0), 10), (x(1, 1), 1)])
def test_a_walk_of_one_step_or_none_asks_nothing(end, steps):
    model = linear(1, 2)
    assert walk(model, x(0, 0), end, steps=steps) == []
    assert model.visited == []


def test_tokens_that_change_are_refused():
    model = linear(1, 2)
    with pytest.raises(UnsupportedByModel, match="tokens") as refusal:
        walk(model, {"x": np.array([0, 0])}, {"x": np.array([5, 0])})
    assert refusal.value.field == "path"
