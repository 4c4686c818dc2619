"""Random baselines of the comparators: a list is as many independent draws, those that the engine would take."""

import numpy as np
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, Method
from loaded import explained, floats, loaded, row
from torch import nn

GAUSSIAN = BaselineSpec("gaussian", {"x": BaselinePart(BaselineKind.GAUSSIAN, sigma=1.0)})


def test_equal_random_baselines_of_a_list_are_drawn_anew_and_the_same_at_every_call():
    model = loaded(nn.Linear(2, 2), row(2))
    (result,) = explained(model, Method.OCCLUSION, floats(1.0, 2.0), baselines=(GAUSSIAN, GAUSSIAN))
    first, second = (baseline.score for baseline in result.baselines)
    assert first != second
    assert (result.spread["x"] > 0).all()
    (again,) = explained(model, Method.OCCLUSION, floats(1.0, 2.0), baselines=(GAUSSIAN, GAUSSIAN))
    np.testing.assert_array_equal(again.attributions["x"], result.attributions["x"])
    (alone,) = explained(model, Method.OCCLUSION, floats(1.0, 2.0), baselines=(GAUSSIAN,))
    assert alone.baselines[0].score == first
