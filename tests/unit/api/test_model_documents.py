"""Models and predictions as documents, held strictly to what OpenAPI says of them."""

from typing import Any

import numpy as np
import orjson
import pytest
from attributor.api.documents import ModelDocument, PredictionDocument
from attributor.api.model_documents import MOST_RANKED, model_document, prediction_document
from attributor.jobs.explanation import COMPARATORS, Method
from attributor.jobs.model import ModelInfo, ModelReport, Readiness
from attributor.jobs.result import PredictionResult
from unit.api.models import DIGITS, LAYERS, MASKED, MODELS, PATIENTS, PRICES, WORDS, model


def described(info: ModelInfo, report: ModelReport | None = None) -> dict[str, Any]:
    content = orjson.dumps(model_document(info, report, default=True))
    ModelDocument.model_validate_json(content, strict=True)
    return orjson.loads(content)


def predicted(info: ModelInfo, outputs: Any) -> list[dict[str, Any]]:
    result = PredictionResult({info.output.name: np.asarray(outputs, np.float32)})
    content = orjson.dumps(prediction_document(result, info))
    PredictionDocument.model_validate_json(content, strict=True)
    return orjson.loads(content)["predictions"]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_described_strictly(name):
    assert described(MODELS[name])["name"] == name


def test_a_model_says_what_it_can_do():
    report = ModelReport("digits@1", DIGITS.digest, Readiness.READY, None, LAYERS, {}, 0.0, ("Linear",) * len(LAYERS))
    digits = described(DIGITS, report)
    assert digits["layers"] == [{"name": name, "type": "Linear"} for name in LAYERS]
    assert (digits["paths"], digits["reference_count"]) == ([], 0)
    assert digits["scales"] == ["probability", "logit", "log_probability"]
    (image,) = digits["inputs"]
    assert image["path_kinds"] == ["straight", "polyline", "blur", "guided"]
    assert image["baseline_kinds"] == ["zero", "constant", "black", "white", "blur", "uniform", "gaussian"]
    prices = described(PRICES)
    assert (prices["scales"], prices["paths"], prices["reference_count"]) == (["value"], ["spiral"], 50)
    assert prices["output"] == {"name": "values", "kind": "values", "labels": ["price"], "positions": None}
    assert described(WORDS)["output"]["positions"] == 4


def test_each_input_has_its_kinds_of_baseline_and_path():
    photo, record = described(PATIENTS)["inputs"]
    tables = ["zero", "constant", "uniform", "gaussian", "mean", "median", "mode", "reference"]
    assert record["baseline_kinds"] == [*tables, "other_class"]
    assert set(photo["baseline_kinds"]) == {*record["baseline_kinds"], "black", "white", "blur"}
    assert (photo["path_kinds"], record["path_kinds"]) == (["straight", "polyline", "blur"], ["straight", "polyline"])
    assert described(PRICES)["inputs"][0]["baseline_kinds"] == tables
    tokens, mask = described(MASKED)["inputs"]
    assert tokens["baseline_kinds"] == ["pad", "mask", "zero_embedding"]
    assert (mask["baseline_kinds"], mask["path_kinds"]) == ([], [])


def test_methods_that_a_worker_lacks_are_not_offered():
    report = ModelReport("digits@1", DIGITS.digest, Readiness.READY, None, LAYERS, {}, 0.0, comparators=False)
    digits = described(DIGITS, report)
    assert set(Method) - set(digits["methods"]) == COMPARATORS
    assert digits["layers"][0] == {"name": LAYERS[0], "type": None}


def test_a_report_on_other_files_does_not_count():
    report = ModelReport("digits@1", "e" * 64, Readiness.READY, None, LAYERS, {}, 0.0)
    digits = described(DIGITS, report)
    assert (digits["layers"], digits["readiness"]["state"]) == ([], "loading")


def test_an_input_of_tokens_has_its_vocabulary_and_a_mask_is_not_explained():
    tokens, mask = described(MASKED)["inputs"]
    assert (tokens["datatype"], tokens["vocabulary"], tokens["pad_id"], tokens["mask_id"]) == ("INT64", 30_000, 0, 3)
    assert (mask["attributed"], mask["visualizations"]) == (False, [])


def test_classes_have_probabilities_and_logits():
    (item,) = predicted(MASKED, [[0.0, 1.0]])
    assert (item["class"], item["label"], item["values"], item["positions"]) == (1, "good", None, None)
    assert sum(item["probabilities"].values()) == pytest.approx(1)
    assert item["logits"] == {"bad": 0.0, "good": 1.0}


def test_a_regression_has_values_and_no_class():
    one, two = predicted(PRICES, [[1.5], [-2.0]])
    assert (one["values"], two["values"]) == ({"price": 1.5}, {"price": -2.0})
    assert (one["class"], one["probabilities"], one["logits"]) == (None, None, None)


def test_a_sequence_has_the_best_classes_of_each_position():
    (item,) = predicted(WORDS, [[[0, 2, 1], [3, 0, 0], [0, 0, 0], [1, 1, 5]]])
    assert [[ranked["label"] for ranked in position] for position in item["positions"]] == [
        ["cat", "sat", "the"],
        ["the", "cat", "sat"],
        ["the", "cat", "sat"],
        ["sat", "the", "cat"],
    ]
    first = item["positions"][0][0]
    assert first["logit"] == 2.0
    assert first["probability"] == pytest.approx(np.exp(2) / (1 + np.e + np.exp(2)))
    many = model("many", WORDS.inputs, type(WORDS.output)("o", tuple(map(str, range(50))), WORDS.output.kind, 4))
    (item,) = predicted(many, [np.zeros((4, 50))])
    assert [len(position) for position in item["positions"]] == [MOST_RANKED] * 4
