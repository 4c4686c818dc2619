"""Requests on a model of texts: what is given travels with the job, and what is sent fits the example's length."""

import base64
from io import BytesIO
from typing import Any

import pytest
from attributor.api.mapping.specs import attribution_spec, prediction_spec
from attributor.api.schemas.bodies import AttributionBody, PredictionBody
from attributor.errors import InvalidInput, InvalidShape
from attributor.inputs.text import TextReader
from attributor.jobs.codec import decode, encode
from attributor.jobs.explanation import BaselineKind
from attributor.jobs.given import GivenPicture
from attributor.jobs.job import JobSpec
from attributor.jobs.model import Fit, InputKind, InputSpec, OutputSpec, Part, Source, SourceKind
from PIL import Image
from tokenizer_files import word_piece
from unit.api.models import model

IDS = InputSpec(
    "ids",
    InputKind.TOKENS,
    (8,),
    vocabulary=12,
    embedding="words",
    variable=True,
    source="text",
    part=Part.IDS,
)
MASK = InputSpec(
    "mask", InputKind.TOKENS, (8,), vocabulary=2, attributed=False, variable=True, source="text", part=Part.MASK
)
TEXTS = model(
    "texts",
    (IDS, MASK),
    OutputSpec("logits", ("bad", "good")),
    sources={"text": Source("text", SourceKind.TEXT, "tokenizer.json")},
)
SOURCES = {"text": TextReader(word_piece(), [IDS, MASK])}


def spec(*items: dict[str, Any], **fields: Any) -> JobSpec:
    body = AttributionBody.model_validate({"model": "texts", "inputs": list(items), **fields})
    return attribution_spec(body, TEXTS, tenant="t", sources=SOURCES)


def test_a_text_and_ids_may_stand_in_one_request_and_the_text_travels_along():
    made = spec({"text": "good movie"}, {"ids": [2, 4, 3]})
    assert [tensors["ids"].tolist() for tensors in made.inputs] == [[2, 7, 8, 3], [2, 4, 3]]
    assert [list(given.texts) for given in made.given] == [["text"], []]
    assert decode(encode(made), JobSpec).given == made.given


def test_where_only_tensors_are_given_nothing_travels_along():
    assert spec({"ids": [2, 4, 3]}).given == ()


def test_a_prediction_takes_a_text_too():
    made = prediction_spec(PredictionBody(inputs=[{"text": "good"}]), TEXTS, tenant="t", sources=SOURCES)
    assert made.inputs[0]["ids"].tolist() == [2, 7, 3]
    assert made.given[0].texts["text"].texts == ("good",)


def test_a_picture_of_another_size_travels_along():
    image = InputSpec("image", InputKind.IMAGE, (1, 2, 2), value_range=(0.0, 1.0), fit=Fit.CROP)
    fitted = model("photos", (image,), OutputSpec("logits", ("no", "yes")))
    file = BytesIO()
    Image.new("L", (6, 4)).save(file, "PNG")
    body = {"model": "photos", "inputs": [{"image": base64.b64encode(file.getvalue()).decode()}]}
    made = attribution_spec(AttributionBody.model_validate(body), fitted, tenant="t")
    assert made.given[0].pictures == {"image": GivenPicture(6, 4, (1.0, 0.0, 5.0, 4.0))}
    assert decode(encode(made), JobSpec).given == made.given


@pytest.mark.parametrize("baseline", [{"text": "bad movie"}, {"ids": [2, 9, 8, 3]}, [{"text": "bad movie"}]])
def test_a_baseline_may_be_a_text_with_as_many_tokens(baseline):
    (made,) = spec({"text": "good movie"}, baseline=baseline).explanation.baselines
    assert made.parts["ids"].kind is BaselineKind.TENSOR
    assert made.parts["ids"].values.tolist() == [2, 9, 8, 3]


@pytest.mark.parametrize("baseline", [None, "none", "zero_embedding", {"ids": "zero_embedding"}])
def test_baselines_by_name_fit_any_length(baseline):
    assert len(spec({"text": "good movie"}, {"text": "bad"}, baseline=baseline).explanation.baselines) == 1


@pytest.mark.parametrize(
    ("fields", "field", "unit"),
    [
        ({"baseline": {"text": "bad"}}, "baseline.text", "tokens"),
        ({"baseline": {"ids": [2, 9, 3]}}, "baseline.ids", "positions"),
        ({"baseline": ["none", {"text": "bad"}]}, "baseline.1.text", "tokens"),
        ({"path": {"kind": "polyline", "points": [{"text": "bad movie"}, {"text": "bad"}]}}, "path.points.1.text", "t"),
        ({"path": {"ids": {"kind": "polyline", "points": [[2, 9, 3]]}}}, "path.ids.points.0", "positions"),
    ],
)
@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"text": "good movie"}, r"inputs\.0\.text has 4 tokens"),
        ({"ids": [2, 4, 5, 3]}, r"inputs\.0\.ids has 4 positions"),
    ],
)
def test_what_is_sent_of_another_length_than_the_input_is_refused_as_it_was_sent(fields, field, unit, sent, words):
    with pytest.raises(InvalidShape, match=rf"has 3 {unit}.*, and {words}: .*zero_embedding") as caught:
        spec(sent, **fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("baseline", "field", "words"),
    [
        ({"text": "good", "ids": [1]}, "baseline.ids", 'is made from "text", which is given as well'),
        ({"text": ""}, "baseline.text", "is empty"),
        ({"text": {"kind": "zero_embedding"}}, "baseline.text", "must be a text"),
        ({"texts": "good"}, "baseline.texts", "no input to explain; there is ids"),
    ],
)
def test_a_text_that_cannot_be_a_baseline_is_refused_at_its_place(baseline, field, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        spec({"text": "good"}, baseline=baseline)
    assert caught.value.field == field


def test_errors_of_a_text_name_its_place_among_the_inputs():
    with pytest.raises(InvalidShape, match="the model takes at most 8") as caught:
        spec({"text": "good"}, {"text": "good " * 9})
    assert caught.value.field == "inputs.1.text"
