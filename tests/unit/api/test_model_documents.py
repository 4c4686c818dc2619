"""Models and predictions as documents, held strictly to what OpenAPI says of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from attributor.api.documents import ModelDocument, PredictionDocument
from attributor.api.model_documents import MOST_RANKED, model_document, prediction_document
from attributor.jobs.explanation import COMPARATORS, Method
from attributor.jobs.model import (
    DeclaredLayer,
    Feature,
    Fit,
    Framework,
    InputKind,
    InputSpec,
    ModelInfo,
    ModelReport,
    OutputKind,
    OutputSpec,
    Part,
    Readiness,
    Source,
    SourceKind,
)
from attributor.jobs.result import PredictionResult
from unit.api.models import DIGITS, LAYERS, MASKED, MODELS, PATIENTS, PRICES, TOKENS, WORDS, model


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
    assert digits["layers"] == [
        {"name": name, "type": "Linear", "module": name, "description": None} for name in LAYERS
    ]
    assert (digits["paths"], digits["reference_count"]) == ([], 0)
    assert digits["scales"] == ["probability", "logit", "log_probability"]
    (image,) = digits["inputs"]
    assert image["path_kinds"] == ["straight", "polyline", "blur", "guided"]
    assert image["baseline_kinds"] == ["zero", "constant", "black", "white", "blur", "uniform", "gaussian"]
    prices = described(PRICES)
    assert (prices["scales"], prices["paths"], prices["reference_count"]) == (["value"], ["spiral"], 50)
    assert prices["output"] == {"name": "values", "kind": "values", "labels": ["price"], "positions": None}
    assert described(WORDS)["output"]["positions"] == 4


def test_a_model_without_gradients_offers_nothing_that_follows_them():
    prices = described(replace(PRICES, gradients=False))
    assert (prices["quantities"], prices["inputs"][0]["path_kinds"]) == ([], [])
    assert prices["methods"]
    assert described(PRICES)["quantities"]


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
    assert digits["layers"][0]["type"] is None


def test_a_report_on_other_files_does_not_count():
    report = ModelReport("digits@1", "e" * 64, Readiness.READY, None, LAYERS, {}, 0.0)
    digits = described(DIGITS, report)
    assert (digits["layers"], digits["readiness"]["state"]) == ([], "loading")


def test_an_input_of_tokens_has_its_vocabulary_and_a_mask_is_not_explained():
    tokens, mask = described(MASKED)["inputs"]
    assert (tokens["datatype"], tokens["vocabulary"], tokens["pad_id"], tokens["mask_id"]) == ("INT64", 30_000, 0, 3)
    assert (mask["attributed"], mask["visualizations"]) == (False, [])


def test_layers_that_the_manifest_names_come_first_with_or_without_a_report():
    stem = replace(DIGITS, layers={"stem": DeclaredLayer("stem", LAYERS[1], "The first half.")})
    told = {"name": "stem", "type": None, "module": LAYERS[1], "description": "The first half."}
    assert described(stem)["layers"] == [told]
    report = ModelReport("digits@1", DIGITS.digest, Readiness.READY, None, LAYERS, {}, 0.0, ("Conv2d",) * len(LAYERS))
    layers = described(stem, report)["layers"]
    assert layers[0] == told | {"type": "Conv2d"}
    assert [each["name"] for each in layers[1:]] == list(LAYERS)


def test_a_model_says_how_it_can_be_spoken_to():
    size = Feature("size", minimum=0, maximum=9, missing=4.5)
    colour = Feature("colour", categories=("red", "green"), one_hot=True, missing_category="red")
    table = InputSpec("table", InputKind.TABULAR, (3,), (size, colour), groups={"looks": ("size", "colour")})
    ids = replace(TOKENS, variable=True, source="text", part=Part.IDS)
    photo = InputSpec("photo", InputKind.IMAGE, (1, 2, 2), normalise=((0.5, 0.25),), fit=Fit.CROP)
    atoms = InputSpec("atoms", InputKind.TENSOR, (4, 12), source="drug", part=Part.ATOMS)
    info = replace(
        model("talking", (table, ids, photo, atoms), DIGITS.output, framework=Framework.ONNX, gradients=False),
        sources={
            "text": Source("text", SourceKind.TEXT, "tokenizer.json"),
            "drug": Source("drug", SourceKind.SMILES, elements=("C", "O")),
        },
    )
    made = described(info)
    assert (made["framework"], made["gradients"]) == ("onnx", False)
    text, drug = made["sources"]
    assert (text["kind"], text["tokenizer"], text["elements"], text["inputs"]) == (
        "text",
        "tokenizer.json",
        [],
        ["tokens"],
    )
    assert "pair" in text["send"]
    assert (drug["kind"], drug["elements"], drug["inputs"]) == ("smiles", ["C", "O"], ["atoms"])
    columns, tokens, picture, _ = made["inputs"]
    assert columns["groups"] == {"looks": ["size", "colour"]}
    assert [each["missing"] for each in columns["features"]] == [4.5, "red"]
    assert (columns["features"][1]["categories"], columns["features"][1]["one_hot"]) == (["red", "green"], True)
    assert (tokens["variable"], tokens["source"], tokens["part"]) == (True, "text", "ids")
    assert "mode" not in tokens["baseline_kinds"]
    assert (picture["normalise"], picture["fit"], picture["value_range"]) == (
        [{"mean": 0.5, "std": 0.25}],
        "crop",
        None,
    )
    assert {"black", "uniform"} <= set(picture["baseline_kinds"])


def test_a_worker_says_what_a_model_costs():
    assert described(DIGITS)["readiness"] == {
        "state": "loading",
        "reason": None,
        "checks": {},
        "loaded": False,
        "memory_bytes": None,
        "seconds_per_evaluation": None,
        "points_per_pass": None,
        "transforms": [],
    }
    report = ModelReport(
        *("digits@1", DIGITS.digest, Readiness.READY, None, LAYERS, {"finite": "yes"}, 0.0),
        loaded=False,
        memory_bytes=4096,
        seconds_per_evaluation=0.002,
        points_per_pass=64,
        transforms=("folded_norms", "affine_prefix"),
    )
    told = described(DIGITS, report)["readiness"]
    assert (told["loaded"], told["memory_bytes"], told["seconds_per_evaluation"]) == (False, 4096, 0.002)
    assert (told["points_per_pass"], told["transforms"]) == (64, ["folded_norms", "affine_prefix"])


def test_a_version_has_the_aliases_that_stand_for_it():
    made = model_document(DIGITS, None, default=True, aliases={"stable": "1", "next": "2", "best": "1"})
    assert made["aliases"] == ["stable", "best"]


def test_probabilities_are_told_as_they_are_and_have_no_logits():
    sure = model("sure", PRICES.inputs, OutputSpec("p", ("no", "yes"), OutputKind.PROBABILITIES))
    (item,) = predicted(sure, [[0.25, 0.75]])
    assert (item["class"], item["label"]) == (1, "yes")
    assert (item["probabilities"], item["logits"], item["values"]) == ({"no": 0.25, "yes": 0.75}, None, None)


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
