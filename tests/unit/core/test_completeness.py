import pytest
from attributor.core.completeness import completeness


def test_the_error_is_what_the_attributions_miss():
    found = completeness(attribution_sum=0.7, score=1.0, baseline_score=0.2)
    assert found.error == pytest.approx(0.1)
    assert found.relative == pytest.approx(0.125)


def test_the_error_has_no_sign():
    assert completeness(0.9, 1.0, 0.2).relative == pytest.approx(0.125)
    assert completeness(-0.9, 0.2, 1.0).relative == pytest.approx(0.125)


def test_without_a_score_difference_there_is_no_relative_error():
    found = completeness(0.3, 0.5, 0.5)
    assert found.error == pytest.approx(0.3)
    assert found.relative is None
