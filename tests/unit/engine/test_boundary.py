import numpy as np
import pytest
from attributor.engine.boundary import CHUNK, HALVINGS, other_class_baseline
from attributor.errors import NoOtherClass, UnsupportedByModel
from attributor.jobs.explanation import Target
from attributor.jobs.model import OutputScale
from function_model import FunctionModel, drive, x

NORMAL, OFFSET = np.array([3.0, -4.0]), 1.0


def linear(inputs):
    """Class 1 where 3 a - 4 b > 1."""
    return np.array([0.0, NORMAL @ inputs["x"] - OFFSET])


def distance(point):
    """Signed, from the hyperplane."""
    return float(NORMAL @ point["x"] - OFFSET) / 5


def find(model, example, rows, **options):
    reference = {"x": np.array(rows, dtype=np.float32)}
    return drive(model, other_class_baseline(model.route(example), example, reference, **options))


def test_of_a_linear_classifier_it_lies_on_the_hyperplane_just_across():
    model = FunctionModel(linear)
    example, other = x(2, 0), [-3.0, 1.0]
    found = find(model, example, [[3, 0], other, [-30, 10]])
    length = float(np.linalg.norm(example["x"] - other))
    assert distance(example) > 0
    assert -length * 2**-HALVINGS <= distance(found) <= 0
    along = (found["x"] - other) / (example["x"] - other)
    np.testing.assert_allclose(along[0], along[1], atol=1e-5)
    assert found["x"].dtype == np.float32


def test_the_point_itself_was_evaluated():
    model = FunctionModel(linear)
    found = find(model, x(2, 0), [[-3, 1]])
    assert any(np.array_equal(inputs["x"], found["x"]) for inputs in model.visited)


def test_the_nearest_counts_in_units_of_each_feature_s_spread():
    # The second feature spreads a thousand times more: [0, 500] is near to [2, 0], and [-9, 0] is far.
    rows = [[-9, 0], [0, 500], [9, 2000], [3, -2000]]
    found = find(FunctionModel(linear), x(2, 0), rows)
    assert found["x"][1] > 0


def test_a_feature_that_never_varies_in_the_reference_set_does_not_matter():
    found = find(FunctionModel(linear), x(2, 0), [[-9, 7], [-1, 7]])
    way = (x(2, 0)["x"] - found["x"]) / (np.array([2, 0]) - [-1, 7])
    assert way[0] == pytest.approx(way[1], abs=1e-6)


def test_it_stops_at_the_first_chunk_with_another_class():
    own, others = [[2.0 + k / 1000, 0] for k in range(100)], [[-3.0, 1.0]] * 400
    model = FunctionModel(linear, max_points=512)
    find(model, x(2, 0), own + others)
    assert len(model.visited) == 2 * (CHUNK + 1) + HALVINGS
    assert model.most_curves <= CHUNK + 1 + HALVINGS


def test_without_another_class_it_says_so():
    with pytest.raises(NoOtherClass, match="3 nearest"):
        find(FunctionModel(linear), x(2, 0), [[2, 0], [3, 0], [4, 0]])


def test_no_more_are_looked_at_than_allowed():
    model = FunctionModel(linear)
    with pytest.raises(NoOtherClass):
        find(model, x(2, 0), [[2.1, 0], [2.2, 0], [2.3, 0], [-3, 1]], most=3)
    assert len(model.visited) == 4


def test_inputs_that_the_reference_set_lacks_stay_at_the_example():
    example = {**x(2, 0), "mask": np.array([1, 1])}
    model = FunctionModel(linear)
    reference = {"x": np.array([[-3, 1]], np.float32)}
    found = drive(model, other_class_baseline(model.route(example), example, reference))
    assert all(inputs["mask"] is example["mask"] for inputs in model.visited)
    assert found["mask"] is example["mask"]


@pytest.mark.parametrize(
    ("example", "reference", "target", "words"),
    [
        (x(2, 0), {}, Target(), "reference set"),
        (x(2, 0), {"x": np.zeros((0, 2), np.float32)}, Target(), "reference set"),
        ({"x": np.array([1, 2])}, {"x": np.array([[3, 4]])}, Target(), "tokens"),
        (x(2, 0), {"x": np.zeros((1, 2), np.float32)}, Target(scale=OutputScale.VALUE), "classes"),
    ],
)
def test_what_has_no_boundary_is_refused(example, reference, target, words):
    model = FunctionModel(linear)
    with pytest.raises(UnsupportedByModel, match=words) as refusal:
        drive(model, other_class_baseline(model.route(example, target), example, reference))
    assert refusal.value.field == "baseline"
    assert model.visited == []
