from dataclasses import replace

import numpy as np
import pytest
import torch
from attributor.jobs.model import Baseline, Feature, InputKind, InputSpec, ModelInfo, Part
from attributor.registry.catalog import open_bundle
from attributor.registry.proof.probe_rows import baseline_row, most_positions, probe_rows, usual_positions
from bundles import token_bundle, write_bundle
from nets_of_text import IDS, MASK, MOST
from torch_nets import described

PARTS = {Part.MASK: 1, Part.SEGMENTS: 0}


def model(*inputs: InputSpec, baseline: float = 0) -> ModelInfo:
    """Whose default baseline has one number everywhere."""
    dtypes = {each.name: np.int64 if each.kind is InputKind.TOKENS else np.float32 for each in inputs}
    tensors = {each.name: np.full(each.shape, baseline, dtypes[each.name]) for each in inputs}
    return replace(described(*inputs), baselines={"zero": Baseline("zero", "", tensors)})


def test_rows_lie_in_the_declared_domain_and_are_always_the_same(tmp_path):
    image = open_bundle(write_bundle(tmp_path, "image", image_shape=(3, 4, 5))).info
    rows = probe_rows(image, {}, 5, None)["image"]
    assert rows.shape == (5, 3, 4, 5)
    assert 0 <= rows.min() < rows.max() <= 1
    assert torch.equal(rows, probe_rows(image, {}, 5, None)["image"])
    table = open_bundle(write_bundle(tmp_path, "table", baselines={"far": [100.0, -1.0]})).info
    rows = probe_rows(table, {}, 5, None)["features"].numpy()
    assert np.all((rows[:, 0] > -2) & (rows[:, 0] < 202) & (rows[:, 1] >= -3) & (rows[:, 1] <= 1))
    assert len(np.unique(rows)) == rows.size


def test_token_rows_are_ids_and_what_is_only_given_comes_from_the_reference_set_or_the_baseline(tmp_path):
    info = open_bundle(token_bundle(tmp_path)).info
    masks = np.array([[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]], np.float32)
    rows = probe_rows(info, {"mask": masks}, 3, None)
    assert rows["ids"].dtype == torch.int64
    assert 0 <= rows["ids"].min() < rows["ids"].max() == 11
    np.testing.assert_array_equal(rows["mask"], masks[[0, 1, 0]])
    assert probe_rows(info, {}, 3, None)["mask"].tolist() == [[1.0] * 6] * 3


def test_columns_of_categories_hold_categories():
    features = (
        Feature("age", minimum=18, maximum=99),
        Feature("colour", categories=("red", "green", "blue"), one_hot=True),
        Feature("size", categories=("s", "m", "l", "xl")),
    )
    info = model(InputSpec("row", InputKind.TABULAR, (5,), features=features))
    rows = probe_rows(info, {}, 40, None)["row"].numpy()
    assert ((rows[:, 0] >= 18) & (rows[:, 0] <= 99)).all()
    assert {tuple(row) for row in rows[:, 1:4].tolist()} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    assert set(rows[:, 4].tolist()) == {0, 1, 2, 3}


def test_pixels_are_normalised_by_channel():
    normalise = ((0.5, 0.25), (0.0, 1.0), (0.1, 0.1))
    info = model(InputSpec("photo", InputKind.IMAGE, (3, 8, 8), normalise=normalise))
    rows = probe_rows(info, {}, 5, None)["photo"]
    for channel, (mean, std) in enumerate(normalise):
        own = rows[:, channel]
        assert (0 - mean) / std <= own.min() < own.max() <= (1 - mean) / std


@pytest.mark.parametrize(("part", "value"), PARTS.items())
def test_a_part_of_a_text_is_what_it_is_without_padding(part, value):
    info = model(IDS, replace(MASK, part=part), baseline=1 - value)
    assert probe_rows(info, {}, 2, 4)["mask"].tolist() == [[value] * 4] * 2


@pytest.mark.parametrize(("most", "usual"), [(1, 1), (2, 1), (7, 6), (8, 7), (512, 7)])
def test_the_usual_length_is_below_the_most(most, usual):
    info = model(replace(IDS, shape=(most,)))
    assert (most_positions(info), usual_positions(info)) == (most, usual)
    assert usual_positions(model(InputSpec("x", InputKind.TENSOR, (3,)))) is None


def test_variable_rows_and_the_baseline_are_as_long_as_asked():
    info = model(IDS, MASK, InputSpec("x", InputKind.TENSOR, (3,)))
    for positions in (1, 4, MOST):
        rows = probe_rows(info, {}, 2, positions)
        assert [tuple(each.shape) for each in rows.values()] == [(2, positions), (2, positions), (2, 3)]
        assert [each.shape for each in baseline_row(info, positions).values()] == [(positions,), (positions,), (3,)]
