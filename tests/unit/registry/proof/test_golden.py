from dataclasses import replace

import numpy as np
import orjson
import pytest
from attributor.errors import BundleError, InvalidInput
from attributor.jobs.model import OutputScale
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.registry.proof import golden as examples
from attributor.registry.proof.golden import GOLDEN, check_golden, write_golden
from attributor.registry.seal import seal
from attributor.runtimes.torch_runtime import TorchModel, configure_threads
from bundles import (
    LINEAR,
    regression_bundle,
    sequence_bundle,
    text_bundle,
    token_bundle,
    two_input_bundle,
    write_bundle,
)

configure_threads()

ITEM = {"features": {"a": 3.0, "b": 1.0}}


def verdict(folder, **changes) -> str | None:
    bundle = open_bundle(folder)
    document = orjson.loads((folder / GOLDEN).read_bytes()) | changes
    return check_golden(
        TorchModel(load_module(bundle), bundle.info, sizes=100), bundle.info, orjson.dumps(document), {}
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
        ({"attributions": {"features": [[1.0], [1.0, 2.0]]}}, "golden.json is wrong: attributions"),
        ({"scale": "value"}, "golden.json is on the scale value"),
        ({"position": 0}, "needs a position within a sequence output, and none for any other"),
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
    assert check_golden(model, changed.info, (folder / GOLDEN).read_bytes(), {}) is not None


def test_an_input_that_does_not_fit_is_refused_with_its_field(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        write_golden(write_bundle(tmp_path, "linear"), {"features": {"a": 3.0, "c": 1.0}})
    assert caught.value.field == "input.features.c"


TENSOR = {"shape": [3], "data": [0.5, -1.0, 2.0]}
ONES = {"shape": [4], "datatype": "INT64", "data": [1, 1, 1, 1]}
MASK = {"shape": [6], "data": [1, 1, 1, 1, 0, 0]}


@pytest.mark.parametrize(
    ("write", "item", "scale", "shapes"),
    [
        (
            two_input_bundle,
            {"measurements": {"a": 1.0, "b": -1.0}, "signal": TENSOR},
            "probability",
            {"measurements": (2,), "signal": (3,)},
        ),
        (token_bundle, {"ids": [4, 5, 6, 7], "mask": MASK}, "probability", {"ids": (6,)}),
        (regression_bundle, {"features": {"area": 1.0, "age": 0.5, "floor": -1.0}}, "value", {"features": (3,)}),
        (sequence_bundle, {"ids": [1, 2, 3, 4, 5]}, "probability", {"ids": (5,)}),
        (text_bundle, {"ids": [4, 5, 6, 7], "mask": ONES}, "probability", {"ids": (4,)}),
    ],
)
def test_a_golden_example_of_any_kind_is_written_complete_and_passes(tmp_path, write, item, scale, shapes):
    folder = write(tmp_path)
    write_golden(folder, item)
    golden = orjson.loads((folder / GOLDEN).read_bytes())
    assert golden["scale"] == scale
    assert {name: np.shape(values) for name, values in golden["attributions"].items()} == shapes
    total = sum(np.sum(values) for values in golden["attributions"].values())
    assert total == pytest.approx(golden["score"] - golden["baseline_score"], rel=1e-9)
    assert verdict(folder) is None


def test_a_sequence_is_read_at_its_last_position_and_any_other_can_be_named(tmp_path):
    folder = sequence_bundle(tmp_path)
    write_golden(folder, {"ids": [1, 2, 3, 4, 5]})
    assert orjson.loads((folder / GOLDEN).read_bytes())["position"] == 4
    assert "has score" in (verdict(folder, position=3) or "")
    for position in (5, None):
        assert "needs a position within" in (verdict(folder, position=position) or "")


def test_attributions_of_another_length_than_the_input_are_found(tmp_path):
    folder = text_bundle(tmp_path)
    write_golden(folder, {"ids": [4, 5, 6, 7], "mask": ONES})
    found = verdict(folder, attributions={"ids": [0.0] * 9})
    assert "needs attributions of 'ids' in shape [4], as its input has" in (found or "")


def said_to_be(folder, line: str):
    """The bundle with a line more at the head of its manifest's table of the output."""
    manifest = folder / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("[output]", f"[output]\n{line}"))
    seal(folder)
    return folder


def test_probabilities_are_written_as_they_stand(tmp_path):
    code = LINEAR.replace("return nn.functional.linear(x, self.weight, self.bias)",
                          "return nn.functional.linear(x, self.weight, self.bias).softmax(1)")  # fmt: skip
    logits = write_bundle(tmp_path / "logits", "linear")
    votes = said_to_be(write_bundle(tmp_path / "votes", "linear", code=code), 'kind = "probabilities"')
    for scale in (OutputScale.PROBABILITY, OutputScale.LOG_PROBABILITY):
        documents = []
        for folder in (logits, votes):
            write_golden(folder, ITEM, scale=scale)
            documents.append(orjson.loads((folder / GOLDEN).read_bytes()))
        assert verdict(votes) is None
        assert documents[0]["score"] == pytest.approx(documents[1]["score"], rel=1e-12)
        np.testing.assert_allclose(*(each["attributions"]["features"] for each in documents), rtol=1e-9)
    assert "have probability or log_probability" in (verdict(votes, scale="logit") or "")


def test_a_model_without_gradients_has_no_golden_example(tmp_path):
    folder = write_bundle(tmp_path, "linear")
    write_golden(folder, ITEM)
    bundle = open_bundle(folder)
    info = replace(bundle.info, gradients=False)
    found = check_golden(TorchModel(load_module(bundle), info), info, (folder / GOLDEN).read_bytes(), {})
    assert "this model has no gradients; leave the file out" in (found or "")


def test_an_example_that_is_too_large_is_never_read(tmp_path, monkeypatch):
    folder = write_bundle(tmp_path, "linear")
    write_golden(folder, ITEM)
    bundle = open_bundle(folder)
    assert examples.read_golden(bundle) == (folder / GOLDEN).read_bytes()
    monkeypatch.setattr(examples, "MAX_GOLDEN_BYTES", 100)
    monkeypatch.setattr(examples, "read_verified", None)
    with pytest.raises(BundleError, match=r"golden\.json has \d+ bytes; at most 100 are read") as caught:
        examples.read_golden(bundle)
    assert caught.value.field == "files.golden.json"
