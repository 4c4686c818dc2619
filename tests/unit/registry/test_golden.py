import numpy as np
import orjson
import pytest
from attributor.errors import InvalidInput
from attributor.jobs.model import OutputScale
from attributor.registry.catalog import open_bundle
from attributor.registry.golden import GOLDEN, check_golden, write_golden
from attributor.registry.loader import load_module
from attributor.runtimes.torch_runtime import TorchModel, configure_threads
from bundles import LINEAR, write_bundle

configure_threads()

ITEM = {"features": {"a": 3.0, "b": 1.0}}


def verdict(folder, **changes) -> str | None:
    bundle = open_bundle(folder)
    document = orjson.loads((folder / GOLDEN).read_bytes()) | changes
    return check_golden(
        TorchModel(load_module(bundle), bundle.info, max_points=100), bundle.info, orjson.dumps(document)
    )


def test_a_written_example_holds_the_exact_attributions_and_passes(tmp_path):
    folder = write_bundle(tmp_path, "linear", baselines={"ones": 1.0})
    write_golden(folder, ITEM, scale=OutputScale.LOGIT)
    golden = orjson.loads((folder / GOLDEN).read_bytes())
    assert (golden["label"], golden["baseline"], golden["input"]) == ("no", "ones", ITEM)
    assert (golden["score"], golden["baseline_score"]) == (5.5, 1.5)
    np.testing.assert_allclose(golden["attributions"]["features"], [4.0, 0.0], atol=1e-12)
    assert verdict(folder) is None


def test_the_reference_is_complete_on_the_probability_scale(tmp_path):
    folder = write_bundle(tmp_path, "linear")
    write_golden(folder, ITEM)
    golden = orjson.loads((folder / GOLDEN).read_bytes())
    gap = golden["score"] - golden["baseline_score"]
    assert sum(golden["attributions"]["features"]) == pytest.approx(gap, rel=1e-9)
    assert verdict(folder) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score": 5.6}, "has score 5.6, the model gives 5.5"),
        ({"baseline_score": 0.6}, "has baseline_score 0.6, the model gives 0.5"),
        ({"attributions": {"features": [6.1, -1.1]}}, "attributions are off by 2.8e-02"),
        ({"attributions": {"features": [5.0]}}, r"needs attributions of 'features' in shape \[2\]"),
        ({"attributions": {}}, "needs attributions of 'features'"),
        ({"label": "maybe"}, "label 'maybe', which the manifest does not"),
        ({"baseline": "none"}, "baseline 'none'"),
        ({"input": {"features": {"a": 3.0}}}, "golden.json is wrong: input.features.b"),
        ({"tolerance": 0}, "golden.json is wrong: tolerance"),
        ({"extra": 0}, "golden.json is wrong: extra"),
    ],
)
def test_an_example_that_does_not_hold_is_found(tmp_path, changes, words):
    folder = write_bundle(tmp_path, "linear")
    write_golden(folder, ITEM, scale=OutputScale.LOGIT)
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(verdict(folder, **changes))


def test_other_code_does_not_pass_the_old_example(tmp_path):
    folder = write_bundle(tmp_path, "linear")
    write_golden(folder, ITEM)
    changed = open_bundle(write_bundle(tmp_path / "changed", "linear", code=LINEAR.replace("2.0", "2.1")))
    model = TorchModel(load_module(changed), changed.info)
    assert check_golden(model, changed.info, (folder / GOLDEN).read_bytes()) is not None


def test_an_input_that_does_not_fit_is_refused_with_its_field(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        write_golden(write_bundle(tmp_path, "linear"), {"features": {"a": 3.0, "c": 1.0}})
    assert caught.value.field == "input.features.c"
