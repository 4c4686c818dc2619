"""The form of a body, as a client that gets it wrong is told: by the application's own error handling."""

import json
import re
from typing import Any

import httpx
import pytest
from attributor.api.faults import UNFORESEEN
from attributor.api.problems import install
from attributor.api.schemas.bodies import AttributionBody
from fastapi import FastAPI
from unit.api.models import INPUTS

DIGIT = {"model": "digits", "inputs": [INPUTS["digits"]]}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    app = FastAPI()
    install(app)

    @app.post("/")
    async def post(body: AttributionBody) -> dict[str, Any]:
        return {"baseline": body.baseline, "target": body.target, "path": body.path}

    return app


async def sent(app: FastAPI, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/", json=body)


#: (fields, field of the error)
REFUSED = {
    "target a number": ({"target": 5}, "target"),
    "no targets": ({"target": []}, "target"),
    "seventeen targets": ({"target": [{}] * 17}, "target"),
    "a target a number": ({"target": [{}, 5]}, "target.1"),
    "class a float": ({"target": {"class": 1.0}}, "target.class"),
    "class a bool in a list": ({"target": [{"class": True}]}, "target.0.class"),
    "minus a list": ({"target": {"class": 1, "minus": [2]}}, "target.minus"),
    "an endless label": ({"target": {"class": 1, "minus": "x" * 201}}, "target.minus"),
    "unknown field of a target": ({"target": {"klass": 1}}, "target.klass"),
    "a field like a tag": ({"target": {"{one}": 1}}, "target.{one}"),
    "no outputs": ({"target": {"outputs": []}}, "target.outputs"),
    "weight text": ({"target": {"outputs": [{"output": 1, "weight": "2"}]}}, "target.outputs.0.weight"),
    "output missing": ({"target": {"outputs": [{"weight": 2}]}}, "target.outputs.0.output"),
    "top 0": ({"target": {"top": 0}}, "target.top"),
    "top a bool": ({"target": {"top": True}}, "target.top"),
    "scale unknown": ({"target": {"scale": "percent"}}, "target.scale"),
    "baseline a number": ({"baseline": 0}, "baseline"),
    "baseline an endless name": ({"baseline": "x" * 201}, "baseline"),
    "no baselines": ({"baseline": []}, "baseline"),
    "a baseline a number": ({"baseline": ["zero", 1]}, "baseline.1"),
    "no such kind": ({"baseline": {"kind": "grey"}}, "baseline.kind"),
    "a kind that has values": ({"baseline": [{"kind": "tensor"}]}, "baseline.0.kind"),
    "no such kind of an input": ({"baseline": {"image": {"kind": "grey"}}}, "baseline.image.kind"),
    "sigma 0": ({"baseline": {"image": {"kind": "blur", "sigma": 0}}}, "baseline.image.sigma"),
    "samples 257": ({"baseline": {"kind": "uniform", "samples": 257}}, "baseline.samples"),
    "value of an input a number": ({"baseline": {"image": 0}}, "baseline.image"),
    "unknown field of a kind": ({"baseline": {"kind": "zero", "colour": 1}}, "baseline.colour"),
    "path misspelt": ({"path": "giuded"}, "path"),
    "a path that needs points": ({"path": "polyline"}, "path"),
    "a path a list": ({"path": ["blur"]}, "path"),
    "layer text": ({"layer": "convolutions.2"}, "layer"),
    "target text": ({"target": "cat"}, "target"),
    "smoothing a number": ({"smoothing": 10}, "smoothing"),
    "interior a list": ({"interior": [0.5]}, "interior"),
    "saturation text": ({"saturation": "layers"}, "saturation"),
    "a picture by name": ({"visualizations": ["heatmap"]}, "visualizations.0"),
    "pictures by name": ({"visualizations": "heatmap"}, "visualizations"),
    "path of nothing": ({"path": {}}, "path"),
    "no such path": ({"path": {"kind": "spiral"}}, "path.kind"),
    "path without a kind": ({"path": {"image": {"sigma": 1}}}, "path.image.kind"),
    "guided by 1 step": ({"path": {"kind": "guided", "steps": 1}}, "path.steps"),
    "fraction 0": ({"path": {"kind": "guided", "fraction": 0}}, "path.fraction"),
    "no points": ({"path": {"kind": "polyline", "points": []}}, "path.points"),
    "method unknown": ({"method": "magic"}, "method"),
    "layer without a name": ({"layer": {"quantity": "influence"}}, "layer.name"),
    "quantity unknown": ({"layer": {"name": "a", "quantity": "flow"}}, "layer.quantity"),
    "one noisy copy": ({"smoothing": {"samples": 1}}, "smoothing.samples"),
    "no noise": ({"smoothing": {"noise": 0}}, "smoothing.noise"),
    "alpha 2": ({"interior": {"alphas": [0.5, 2]}}, "interior.alphas.1"),
    "no alphas": ({"interior": {"alphas": []}}, "interior.alphas"),
    "layers text": ({"saturation": {"layers": "a"}}, "saturation.layers"),
    "a sample": ({"method": "shapley", "samples": 1}, "samples"),
    "seed negative": ({"seed": -1}, "seed"),
    "priority unknown": ({"priority": "urgent"}, "priority"),
    "priority a number": ({"priority": 0}, "priority"),
    "no deadline left": ({"deadline_s": 0}, "deadline_s"),
    "deadline of two days": ({"deadline_s": 172_800}, "deadline_s"),
    "precision unknown": ({"precision": "float16"}, "precision"),
    "absolute text": ({"method": "saliency", "absolute": "no"}, "absolute"),
    "option text": ({"method": "occlusion", "options": {"window": "2"}}, "options.window"),
    "attribution tolerance 0": ({"attribution_tolerance": 0}, "attribution_tolerance"),
}


@pytest.mark.parametrize(("fields", "field"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_wrong_form_is_told_by_its_field(app, fields, field):
    response = await sent(app, DIGIT | fields)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    (fault,) = response.json()["errors"]
    assert fault["field"] == field, fault
    assert fault["detail"]
    assert not RAW.search(response.text), fault
    assert fault["detail"] != UNFORESEEN


#: What pydantic says in its own words, and Python in its.
RAW = re.compile(r"Input should|valid |Field required|<\w+\.|Extra inputs|should have|'\w+': '")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"baseline": {"kind": "whit"}}, "did you mean white? There is zero, constant, black"),
        ({"baseline": 0}, "must be the name of a baseline"),
        ({"path": "giuded"}, "did you mean guided? There is straight, blur, guided"),
        ({"path": "polyline"}, '{"kind": "polyline", "points": [...]}'),
        ({"path": 3}, "must be a kind such as"),
        ({"layer": "convolutions.2"}, '{"name": "layers.1", "quantity": "conductance"}'),
        ({"target": "cat"}, '{"class": "cat"}'),
        ({"target": {"klass": 1}}, "did you mean class? There is class, minus, outputs, top, position, scale"),
        ({"visualizations": ["heatmap"]}, '{"kind": "heatmap"}'),
        ({"colour": "{red}"}, "there is model, inputs, method"),
        ({"{colour}": 1}, "there is model, inputs, method"),
        ({"method": "shap"}, "shapley"),
        ({"smoothing": {"sample": 5}}, "did you mean samples? There is form, samples, noise"),
        ({"seed": -1}, "must be at least 0"),
        ({"seed": "1"}, "must be a whole number"),
    ],
)
async def test_a_wrong_form_is_answered_with_what_would_be_right(app, fields, words):
    assert words in (await sent(app, DIGIT | fields)).json()["detail"]


async def test_an_unknown_field_hides_no_other_of_its_kind(app):
    response = await sent(app, DIGIT | {"colour": 1, "size": 2})
    assert [fault["field"] for fault in response.json()["errors"]] == ["colour", "size"]


async def test_an_unknown_field_hides_no_other_fault(app):
    wrong = {
        "colour": 1,
        "seed": -1,
        "method": "magic",
        "baseline": {"kind": "grey", "{braces}": 1},
        "target": {"klass": 1, "class": 1.5},
        "path": 3,
        "layer": "a",
        "absolute_tolerance": float("inf"),
        "interior": {"alphas": [2]},
        "visualizations": ["heatmap", {"kind": "bars", "max_bars": "3"}],
    }
    content = json.dumps(DIGIT | wrong)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.post("/", content=content, headers={"Content-Type": "application/json"})
    assert {fault["field"] for fault in response.json()["errors"]} == {
        "colour",
        "seed",
        "method",
        "baseline.kind",
        "baseline.{braces}",
        "target.klass",
        "target.class",
        "path",
        "layer",
        "absolute_tolerance",
        "interior.alphas.0",
        "visualizations.0",
        "visualizations.1.max_bars",
    }
    assert not RAW.search(response.text)
    assert UNFORESEEN not in response.text


@pytest.mark.parametrize(
    "fields",
    [
        {"target": {"class": "3"}},
        {"target": [{"class": 3}, {}]},
        {"baseline": "black"},
        {"baseline": {"kind": "blur", "sigma": 2.0}},
        {"baseline": {"image": {"kind": "blur", "sigma": 2.0}}},
        {"baseline": ["black", {"image": "white"}, {"image": [1, 2]}]},
        {"path": {"image": {"kind": "blur"}}},
        {"path": {"kind": "guided"}},
    ],
)
async def test_what_is_read_can_be_written_again(app, fields):
    response = await sent(app, DIGIT | fields)
    assert response.status_code == 200, response.text
    ((name, sent_value),) = fields.items()

    def pruned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: pruned(item) for key, item in value.items() if item is not None}
        return [pruned(item) for item in value] if isinstance(value, list) else value

    assert pruned(response.json()[name]) == sent_value
