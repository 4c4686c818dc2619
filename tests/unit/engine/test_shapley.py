import numpy as np
import pytest
from attributor.engine.shapley import shapley_values
from attributor.errors import NonFiniteScore, UnsupportedByModel
from attributor.jobs.explanation import Target, Term
from attributor.jobs.fitting import MOST_SHAPLEY_FEATURES
from function_model import FunctionModel, drive, x

ZERO, ONE_THREE = x(0, 0), x(1, 3)


def sampled(outputs, baseline, example, samples=10, *targets, images=(), max_points=8, seed=0):
    model = FunctionModel(lambda inputs: np.atleast_1d(outputs(inputs)), max_points=max_points)
    route = model.route(example, *targets)
    rng = np.random.default_rng(seed)
    return drive(model, shapley_values(route, baseline, example, samples, rng, images)), model


def total(values):
    return sum(each.sum() for each in values.values())


def minimum(inputs):
    return inputs["x"].min()


def test_of_a_minimum_each_feature_gets_half():
    answer, _ = sampled(minimum, ZERO, ONE_THREE)
    np.testing.assert_array_equal(answer.values[0]["x"], [0.5, 0.5])
    np.testing.assert_array_equal(answer.standard_error[0]["x"], [0, 0])
    assert (answer.score, answer.baseline_score) == ((1.0,), (0.0,))


def test_linear_functions_are_exact_without_spread():
    answer, _ = sampled(lambda inputs: inputs["x"] @ [2.0, -1.0, 4.0], x(1, 1, 1), x(2, 5, 0.5))
    np.testing.assert_array_equal(answer.values[0]["x"], [2.0, -4.0, -2.0])
    np.testing.assert_array_equal(answer.standard_error[0]["x"], [0, 0, 0])


def test_sums_are_exact_for_any_function_and_count_of_orders():
    rng = np.random.default_rng(3)
    weights, start, end = rng.normal(size=(6, 6)), x(*rng.normal(size=6)), x(*rng.normal(size=6))
    for samples in (1, 2, 7):
        answer, _ = sampled(lambda inputs: np.tanh(weights @ inputs["x"]).prod(), start, end, samples)
        assert total(answer.values[0]) == pytest.approx(answer.score[0] - answer.baseline_score[0], abs=1e-12)


def product(inputs):
    """Shapley values of x0 x1 x2 from 0 to 1: a third each, all of it to the last in an order."""
    return inputs["x"].prod()


def test_the_standard_error_is_that_of_the_mean():
    answers = [sampled(product, x(0, 0, 0), x(1, 1, 1), 60, seed=seed)[0] for seed in range(200)]
    means = np.array([answer.values[0]["x"] for answer in answers])
    stated = np.mean([answer.standard_error[0]["x"] for answer in answers])
    np.testing.assert_allclose(means.mean(axis=0), 1 / 3, atol=4 * stated / np.sqrt(200))
    assert stated == pytest.approx(means.std(axis=0).mean(), rel=0.15)


def test_one_pair_of_orders_has_a_standard_error_from_both():
    answer, _ = sampled(minimum, ZERO, ONE_THREE, 2)
    np.testing.assert_array_equal(answer.standard_error[0]["x"], [0.5, 0.5])


def test_several_targets_share_every_pass():
    both = (Target(terms=(Term(0),)), Target(terms=(Term(1), Term(0, -1.0))))
    answer, model = sampled(lambda i: np.array([i["x"].min(), i["x"].sum()]), ZERO, ONE_THREE, 2, *both)
    np.testing.assert_array_equal(answer.values[0]["x"], [0.5, 0.5])
    np.testing.assert_array_equal(answer.values[1]["x"], [0.5, 2.5])
    assert answer.score == (1.0, 3.0)
    assert answer.forwards == len(model.visited)


def test_features_that_do_not_change_cost_nothing_and_get_zero():
    answer, model = sampled(lambda inputs: inputs["x"].sum() ** 2, x(1, 5, 0), x(1, 7, 2), 4)
    assert answer.values[0]["x"][0] == 0
    # Two ends, then one inner point in each of four orders, and the example once more in that pass.
    assert answer.forwards == len(model.visited) == 2 + 1 + 4


def test_nothing_to_share_out_is_zero():
    answer, _ = sampled(minimum, ONE_THREE, ONE_THREE)
    assert total(answer.values[0]) == total(answer.standard_error[0]) == 0


def test_a_pixel_is_one_feature_over_all_channels_and_other_inputs_take_part():
    example = {"picture": np.ones((3, 1, 2), np.float32), "ids": np.array([4, 9])}
    baseline = {"picture": np.zeros((3, 1, 2), np.float32), "ids": np.array([0, 9])}
    answer, model = sampled(
        lambda i: 6 * i["picture"][:, 0, 0].prod() + i["ids"][0], baseline, example, 4, images={"picture"}
    )
    np.testing.assert_array_equal(answer.values[0]["picture"][:, 0, 0], [2, 2, 2])
    np.testing.assert_array_equal(answer.values[0]["picture"][:, 0, 1], [0, 0, 0])
    np.testing.assert_array_equal(answer.values[0]["ids"], [4, 0])
    for inputs in model.visited:
        assert all(len(set(pixel)) == 1 for pixel in inputs["picture"][:, 0, :].T)
        assert inputs["ids"].dtype == np.int64


def test_the_device_never_holds_more_than_a_pass():
    _, model = sampled(product, x(*[0] * 12), x(*[1] * 12), 10, max_points=5)
    assert len(model.visited) > 100
    assert model.most_curves <= 5


def test_the_class_is_that_of_the_first_pass_even_in_a_near_tie():
    calls = []

    def flickering(inputs):
        calls.append(1)
        return np.array([inputs["x"].sum(), inputs["x"].sum() + (1e-9 if len(calls) == 1 else -1e-9)])

    model = FunctionModel(flickering, max_points=2)
    route = model.route(ONE_THREE, Target())
    drive(model, shapley_values(route, ZERO, ONE_THREE, 4, np.random.default_rng(0)))
    assert model.targets(route.id)[0].terms == (Term(1),)


def test_too_many_features_are_refused_with_what_would_do():
    example = x(*range(1, MOST_SHAPLEY_FEATURES + 2))
    with pytest.raises(UnsupportedByModel, match="integrated_gradients") as refusal:
        sampled(minimum, {"x": np.zeros_like(example["x"])}, example)
    assert refusal.value.field == "method"


def test_a_score_that_is_not_finite_ends_it():
    with pytest.raises(NonFiniteScore):
        sampled(lambda inputs: np.where(inputs["x"][0] == 0, np.nan, 1.0), ZERO, ONE_THREE)
