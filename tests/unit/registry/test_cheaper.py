"""Which models are found to share passes between lengths when they are loaded."""

import numpy as np
import pytest
from attributor.jobs.explanation import Target
from attributor.model_port import RouteSpec
from attributor.registry.catalog import open_bundle
from attributor.registry.loading import Place, load_again, load_first
from attributor.registry.seal import seal
from attributor.runtimes.torch_runtime import TorchModel, configure_threads
from bundles import text_bundle
from format_bundles import transformer_bundle

configure_threads()

PLACE = Place("cpu", 64)


def lanes(model: TorchModel, names: tuple[str, ...], *lengths: int) -> set[object]:
    """Of examples of these lengths."""
    ones = [{name: np.ones(length, np.int64) for name in names} for length in lengths]
    return {model.lane(RouteSpec(each, (Target(),))) for each in ones}


def test_a_model_with_a_mask_shares_passes_between_lengths_also_when_it_is_loaded_again(tmp_path):
    bundle = open_bundle(text_bundle(tmp_path))
    resident, report = load_first(bundle, PLACE)
    assert report.transforms == ("length_buckets",)
    for model in (resident.model, load_again(bundle, PLACE, report).model):
        assert len(lanes(model, ("ids", "mask"), 5, 6)) == 1
        assert len(lanes(model, ("ids", "mask"), 4, 5, 7, 9)) == 4


def test_a_model_that_looks_past_its_mask_does_not(tmp_path):
    folder = text_bundle(tmp_path)
    code = folder / "model.py"
    code.write_text(
        code.read_text("utf-8").replace("mixed.sum(1) / mask.sum(1, keepdim=True)", "mixed.mean(1)"), "utf-8"
    )
    seal(folder)
    resident, report = load_first(open_bundle(folder), PLACE)
    assert report.reason is None
    assert report.transforms == ()
    assert len(lanes(resident.model, ("ids", "mask"), 5, 6)) == 2


@pytest.mark.parametrize("task", ["sentence-embedding", "sequence-classification", "token-classification"])
def test_encoders_of_transformers_share_passes_between_lengths(tmp_path, task):
    _, report = load_first(open_bundle(transformer_bundle(tmp_path, "encoder", task)), PLACE)
    assert report.reason is None
    assert "length_buckets" in report.transforms
