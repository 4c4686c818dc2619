import numpy as np
import pytest
from attributor.jobs.job import Polarity
from attributor.rendering.normalise import channel_sum, signed_strengths

VALUES = np.array([[-4.0, -1.0, 0.0], [1.0, 2.0, 8.0]])


def test_channels_are_added_with_their_signs_in_double_precision() -> None:
    attributions = np.array([[[1e8, 1.0]], [[1.0, -3.0]], [[-1e8, 1.0]]], dtype=np.float32)
    np.testing.assert_array_equal(channel_sum(attributions), [[1.0, -1.0]])


def test_the_largest_magnitude_has_full_strength_and_both_signs_share_the_scale() -> None:
    strengths = signed_strengths(VALUES, 100.0, Polarity.BOTH)
    assert strengths.scale == 8.0
    np.testing.assert_array_equal(strengths.values, (VALUES / 8).astype(np.float32))


def test_the_percentile_is_of_magnitudes_and_clips_what_is_above() -> None:
    strengths = signed_strengths(VALUES, 50.0, Polarity.BOTH)
    assert strengths.scale == 1.5
    np.testing.assert_allclose(strengths.values, [[-1, -2 / 3, 0], [2 / 3, 1, 1]], rtol=1e-6)


@pytest.mark.parametrize(("polarity", "low", "high"), [(Polarity.POSITIVE, 0, 1), (Polarity.NEGATIVE, -1, 0)])
def test_a_polarity_hides_the_other_sign_and_keeps_the_scale(polarity: Polarity, low: float, high: float) -> None:
    both = signed_strengths(VALUES, 90.0, Polarity.BOTH)
    one = signed_strengths(VALUES, 90.0, polarity)
    assert one.scale == both.scale
    np.testing.assert_array_equal(one.values, np.clip(both.values, low, high))


def test_where_few_pixels_matter_the_largest_is_the_scale() -> None:
    values = np.zeros((20, 20))
    values[3, 4] = -0.25
    strengths = signed_strengths(values, 99.0, Polarity.BOTH)
    assert strengths.scale == 0.25
    assert strengths.values[3, 4] == -1
    assert np.count_nonzero(strengths.values) == 1


@pytest.mark.parametrize("polarity", list(Polarity))
def test_no_attribution_at_all_is_no_strength_at_all(polarity: Polarity) -> None:
    strengths = signed_strengths(np.zeros((2, 3)), 99.0, polarity)
    assert strengths.scale == 0.0
    np.testing.assert_array_equal(strengths.values, np.zeros((2, 3)))


def test_the_smallest_and_the_largest_numbers_are_scaled_without_overflow() -> None:
    for size in (5e-324, 1e-310, 1.7e308):
        strengths = signed_strengths(np.array([[-size, 0.0, size]]), 100.0, Polarity.BOTH)
        np.testing.assert_array_equal(strengths.values, [[-1, 0, 1]])
