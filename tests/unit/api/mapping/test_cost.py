"""What a job counts in the queue."""

import pytest
from attributor.api.mapping.cost import cost, prediction_cost
from unit.api.models import MODELS, spec


@pytest.mark.parametrize(("n_inputs", "counted"), [(1, 31), (3, 92), (6, 184)])
def test_gradients_count_whole_and_scores_a_third(n_inputs, counted):
    job = spec(n_inputs=n_inputs, rule="midpoint", n_steps=30)  # and the scores at both ends
    assert cost(job, MODELS["digits"]) == counted


def test_a_tighter_tolerance_costs_more():
    loose, tight = (cost(spec(tolerance=each), MODELS["digits"]) for each in (0.05, 0.001))
    assert 9 < loose < tight / 2


def test_predictions_count_a_third_each_and_one_at_least():
    assert [prediction_cost(n) for n in (1, 3, 4)] == [1, 1, 2]
