import numpy as np
import pytest
from attributor.engine.visits import room, visit
from attributor.errors import NonFiniteScore
from attributor.jobs.explanation import Target, Term
from function_model import FunctionModel, drive, x


def test_the_example_comes_first_and_the_latest_visit_alone_is_kept():
    model = FunctionModel(lambda inputs: inputs["x"] * 2)
    route = model.route(x(1, 3), Target())
    first = drive(model, visit(route, [x(5, 0), x(6, 0)]))
    second = drive(model, visit(route, [x(7, 0)]))
    assert first.scores.tolist() == [[6.0], [0.0], [0.0]]
    assert first.tops.tolist() == [1, 0, 0]
    assert second.scores.tolist() == [[6.0], [0.0]]
    assert model.most_curves == 3
    assert route.spec.targets == (Target(terms=(Term(1),)),)


def test_a_visit_fills_a_pass_together_with_the_example():
    for max_points, expected in ((8, 7), (1, 1)):
        assert room(FunctionModel(lambda inputs: inputs["x"], max_points=max_points).route(x(1))) == expected


def test_a_score_that_is_not_finite_is_said():
    model = FunctionModel(lambda inputs: np.array([1 / inputs["x"][0] if inputs["x"][0] else np.inf]))
    with pytest.raises(NonFiniteScore):
        drive(model, visit(model.route(x(1)), [x(0)]))
