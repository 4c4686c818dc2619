"""Results as columns say the same as one by one, also once they were written and read."""

from dataclasses import asdict

import numpy as np
import pytest
from attributor.jobs.codec import decode_result, encode
from attributor.jobs.result import AttributionResult, PathResult
from unit.api.results import columns, result

SHAPES = {"record": (2,), "photo": (1, 2, 2)}
MIXED = AttributionResult((result(input=2),), (columns(result(), SHAPES, [0, 3]), columns(result(), SHAPES, [1], 1)))


def plain(made: PathResult) -> dict:
    found = asdict(made)
    for name in ("attributions", "baseline"):
        found[name] = {key: values.tolist() for key, values in found[name].items()}
    return found


def test_a_row_has_its_own_numbers_and_what_all_have_in_common():
    block = MIXED.columns[0]
    for row, made in enumerate(block):
        assert (made.input, made.rule, made.evaluations) == ([0, 3][row], "adaptive", 9)
        assert (made.baseline_score, made.score) == (block.scores[row, 0], block.scores[row, -1])
        assert made.nodes.score == tuple(block.scores[row])
        assert made.nodes.slope == (None, *block.slopes[row], None)
        assert made.nodes.alpha == (0.0, 0.25, 0.5, 0.75, 1.0)
        assert [each.completeness_error for each in made.baselines] == [block.baseline_errors[row]]
        assert made.target.label == ["ill", "well"][row]
        for name, values in made.attributions.items():
            np.testing.assert_array_equal(values, block.attributions[name][row])
        assert plain(made) == plain(block.result(row))
    first, second = block
    assert first.relative_completeness_error is None
    assert second.relative_completeness_error == block.relative_errors[1]
    assert first.attribution_error == block.attribution_errors[0]
    assert second.attribution_error is None


def test_all_results_stand_in_the_order_of_their_inputs():
    assert len(MIXED) == 4
    assert [each.input for each in MIXED.results] == [0, 1, 2, 3]
    assert [plain(MIXED.result(number)) for number in range(4)] == list(map(plain, MIXED.results))


@pytest.mark.parametrize("_", range(2))  # the second time with parts that are known
def test_what_was_written_is_read(_):
    again = decode_result(encode(MIXED))
    assert list(map(plain, again.results)) == list(map(plain, MIXED.results))
    assert [type(each.score) for each in again.results] == [float] * 4


def test_columns_take_less_to_store_than_their_rows():
    block = columns(result(), SHAPES, list(range(64)))
    assert len(encode(AttributionResult((), (block,)))) < 0.7 * len(encode(AttributionResult(tuple(block))))
