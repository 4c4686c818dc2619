import math

import pytest
from attributor.engine.prediction import PredictionProbe
from attributor.errors import NonFiniteScore


def test_it_wants_the_score_at_the_input_once():
    probe = PredictionProbe()
    (node,) = probe.ask()
    assert (node.alpha, node.gradient) == (1.0, False)
    assert probe.ask() == ()
    assert not probe.done
    assert probe.error() is None
    with pytest.raises(RuntimeError, match="not done"):
        probe.result()


def test_it_is_done_with_the_score():
    probe = PredictionProbe()
    (node,) = probe.ask()
    probe.tell(node.index, 0.7, None)
    assert probe.done
    assert probe.error() is None
    assert [told.score for told in probe.result().nodes] == [0.7]
    assert probe.result().weights == {}


def test_a_score_that_is_not_finite_is_refused():
    probe = PredictionProbe()
    (node,) = probe.ask()
    with pytest.raises(NonFiniteScore, match="alpha = 1 "):
        probe.tell(node.index, math.inf, None)
