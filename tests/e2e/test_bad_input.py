"""What a client can get wrong: each is told so with a code, the field and no insides; the service goes on."""

import base64
import io
import json
import re
import struct
import zlib
from typing import Any

import httpx
import pytest
from attributor.api.schemas.bodies import TIGHTEST_TOLERANCE
from attributor.settings import ApiSettings
from e2e.live import EXAMPLES, ROOT, created, ended, example, explained, pair, problem
from PIL import Image

pytestmark = pytest.mark.e2e

JSON_TYPE = {"Content-Type": "application/json"}
#: What must not be in a text for clients: traces, places in our source, names of our dependencies.
INSIDES = re.compile(
    r"Traceback|File \"|\.py\b|/site-packages|redis|pydantic|attributor\.|input should|<\w+\.|Extra inputs",
    re.IGNORECASE,
)

TUMOUR, DIGIT = example("tumour"), example("digit")
PNG = (EXAMPLES / "digit.png").read_bytes()
NAN, INF = float("nan"), float("inf")


def tumour(**changes: Any) -> dict[str, Any]:
    return TUMOUR | changes


def with_feature(name: str, value: Any) -> dict[str, Any]:
    return tumour(inputs=[{"features": TUMOUR["inputs"][0]["features"] | {name: value}}])


def without_feature(name: str) -> dict[str, Any]:
    features = {key: value for key, value in TUMOUR["inputs"][0]["features"].items() if key != name}
    return tumour(inputs=[{"features": features}])


def tensor(shape: Any = (1, 8, 8), data: Any = None, **more: Any) -> dict[str, Any]:
    value = {"shape": list(shape), "datatype": "FP32", "data": [0.5] * 64 if data is None else data, **more}
    return {"model": "digits", "inputs": [{"image": value}]}


def drawn(kind: str, of: dict[str, Any] = TUMOUR, **options: Any) -> dict[str, Any]:
    return of | {"visualizations": [{"kind": kind, **options}]}


def image(content: bytes | str) -> dict[str, Any]:
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return {"model": "digits", "inputs": [{"image": text}]}


def png_of(size: tuple[int, int], mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


def bomb(side_px: int) -> bytes:
    """A PNG of a few dozen bytes whose header declares a picture of gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


TOO_MANY_PICTURES = TUMOUR | {"inputs": TUMOUR["inputs"] * 5, "visualizations": [{"kind": "bars"}] * 13}
SMALL_BASELINE = DIGIT | {"baseline": image(png_of((4, 4)))["inputs"][0]}

#: name -> (body, status, code, field)
BODIES: dict[str, tuple[Any, int, str, str]] = {
    "unknown model": (tumour(model="brest-cancer"), 404, "unknown_model", "model"),
    "unknown version": (tumour(model="breast-cancer@9"), 404, "unknown_version", "model"),
    "no model": ({"inputs": TUMOUR["inputs"]}, 422, "invalid_request", "model"),
    "model no text": (tumour(model=5), 422, "invalid_request", "model"),
    "a surrogate for a name": (tumour(model="\ud800"), 422, "invalid_request", "model"),
    "an endless name": (tumour(model="x" * 201), 422, "invalid_request", "model"),
    "an endless class": (tumour(target={"class": "x" * 201}), 422, "invalid_request", "target.class"),
    "wrong shape": (tensor(shape=(8, 8)), 422, "invalid_shape", "inputs.0.image.shape"),
    "too few values": (tensor(data=[0.5] * 63), 422, "invalid_shape", "inputs.0.image.data"),
    "ragged": (tensor(data=[[[0.5] * 8] * 7 + [[0.5] * 7]]), 422, "invalid_shape", "inputs.0.image.data.0.7"),
    "wrong datatype": (tensor(datatype="BYTES"), 422, "invalid_input", "inputs.0.image.datatype"),
    "NaN": (with_feature("mean area", NAN), 422, "invalid_input", "inputs.0.features.mean area"),
    "Infinity": (with_feature("mean area", -INF), 422, "invalid_input", "inputs.0.features.mean area"),
    "beyond float32": (with_feature("mean area", 1e300), 422, "invalid_input", "inputs.0.features.mean area"),
    "null": (with_feature("mean area", None), 422, "invalid_input", "inputs.0.features.mean area"),
    "text for a number": (with_feature("mean area", "7"), 422, "invalid_input", "inputs.0.features.mean area"),
    "bool for a number": (with_feature("mean area", True), 422, "invalid_input", "inputs.0.features.mean area"),
    "NaN in a tensor": (tensor(data=[0.5] * 63 + [NAN]), 422, "invalid_input", "inputs.0.image.data.63"),
    "missing feature": (without_feature("mean area"), 422, "invalid_input", "inputs.0.features.mean area"),
    "unknown feature": (with_feature("mean aera", 5), 422, "invalid_input", "inputs.0.features.mean aera"),
    "a surrogate for a feature": (with_feature("\ud800", 5), 422, "invalid_input", "inputs.0.features.\ud800"),
    "unknown input": (tumour(inputs=[{"feature": {}}]), 422, "invalid_input", "inputs.0.feature"),
    "missing input": (tumour(inputs=[{}]), 422, "invalid_input", "inputs.0.features"),
    "a list for a table": (tumour(inputs=[{"features": [1.0] * 30}]), 422, "invalid_input", "inputs.0.features"),
    "second input wrong": (tumour(inputs=[*TUMOUR["inputs"], {}]), 422, "invalid_input", "inputs.1.features"),
    "unknown label": (tumour(target={"class": "malign"}), 422, "unknown_class", "target.class"),
    "class too large": (tumour(target={"class": 2}), 422, "unknown_class", "target.class"),
    "negative class": (tumour(target={"class": -1}), 422, "unknown_class", "target.class"),
    "float class": (tumour(target={"class": 1.0}), 422, "invalid_request", "target.class"),
    "bool class": (tumour(target={"class": True}), 422, "invalid_request", "target.class"),
    "unknown scale": (tumour(target={"scale": "percent"}), 422, "invalid_request", "target.scale"),
    "tolerance 0": (tumour(tolerance=0), 422, "invalid_request", "tolerance"),
    "tolerance negative": (tumour(tolerance=-0.1), 422, "invalid_request", "tolerance"),
    "tolerance below float32": (tumour(tolerance=TIGHTEST_TOLERANCE / 1000), 422, "invalid_request", "tolerance"),
    "tolerance 2": (tumour(tolerance=2), 422, "invalid_request", "tolerance"),
    "tolerance NaN": (tumour(tolerance=NAN), 422, "invalid_request", "tolerance"),
    "tolerance text": (tumour(tolerance="0.1"), 422, "invalid_request", "tolerance"),
    "absolute tolerance": (tumour(absolute_tolerance=INF), 422, "invalid_request", "absolute_tolerance"),
    "n_steps with adaptive": (tumour(n_steps=10), 422, "invalid_request", "n_steps"),
    "trapezoid with 1": (tumour(rule="trapezoid", n_steps=1), 422, "invalid_request", "n_steps"),
    "no steps": (tumour(rule="midpoint", n_steps=0), 422, "invalid_request", "n_steps"),
    "steps no whole number": (tumour(rule="midpoint", n_steps=2.5), 422, "invalid_request", "n_steps"),
    "unknown rule": (tumour(rule="simpson"), 422, "invalid_request", "rule"),
    "one evaluation": (tumour(max_evaluations=1), 422, "invalid_request", "max_evaluations"),
    "endless evaluations": (tumour(max_evaluations=10**9), 422, "invalid_request", "max_evaluations"),
    "unknown baseline": (tumour(baseline="nought"), 422, "unknown_baseline", "baseline"),
    "baseline of no name": (tumour(baseline=""), 422, "unknown_baseline", "baseline"),
    "baseline a number": (tumour(baseline=0), 422, "invalid_request", "baseline"),
    "baseline of another size": (SMALL_BASELINE, 422, "invalid_image", "baseline.image"),
    "baseline of no reference": (pair("slow", baseline="other_class"), 422, "unsupported_by_model", "baseline"),
    "a blur beyond bounds": (
        DIGIT | {"baseline": {"kind": "blur", "sigma": 1e200}},
        422,
        "invalid_request",
        "baseline.sigma",
    ),
    "a huge constant": (tumour(baseline={"kind": "constant", "value": 1e39}), 422, "invalid_request", "baseline.value"),
    "black table": (tumour(baseline=["mean", "black"]), 422, "unsupported_by_model", "baseline.1"),
    "blurred table": (tumour(path={"kind": "blur"}), 422, "unsupported_by_model", "path.kind"),
    "path of a gradient": (tumour(method="saliency", path={"kind": "guided"}), 422, "invalid_request", "path"),
    "baseline kind misspelt": (DIGIT | {"baseline": {"kind": "whit"}}, 422, "invalid_request", "baseline.kind"),
    "path misspelt": (DIGIT | {"path": "giuded"}, 422, "invalid_request", "path"),
    "layer by name": (DIGIT | {"layer": "convolutions.2"}, 422, "invalid_request", "layer"),
    "target by name": (tumour(target="malignant"), 422, "invalid_request", "target"),
    "picture by name": (tumour(visualizations=["bars"]), 422, "invalid_request", "visualizations.0"),
    "unknown option": (DIGIT | {"method": "lime", "options": {"sample": 5}}, 422, "invalid_request", "options.sample"),
    "unknown layer": (DIGIT | {"layer": {"name": "convolution.2"}}, 422, "unknown_layer", "layer.name"),
    "value of a class": (tumour(target={"scale": "value"}), 422, "unsupported_by_model", "target.scale"),
    "a target wrong": (tumour(target=[{}, {"class": "malign"}]), 422, "unknown_class", "target.1.class"),
    "picture of a layer": (drawn("heatmap", DIGIT | {"layer": {"name": "classifier.1"}}), 422,
                           "unsupported_visualization", "visualizations"),
    "picture of no input": (drawn("bars", input="x"), 422, "unsupported_visualization", "visualizations.0.input"),
    "unknown picture": (drawn("pie"), 422, "invalid_request", "visualizations.0.kind"),
    "picture of no table": (drawn("heatmap"), 422, "unsupported_visualization", "visualizations.0.kind"),
    "picture of no image": (drawn("bars", DIGIT), 422, "unsupported_visualization", "visualizations.0.kind"),
    "clip above 100": (drawn("bars", clip_percentile=101), 422, "invalid_request", "visualizations.0.clip_percentile"),
    "bars as text": (drawn("bars", max_bars="3"), 422, "invalid_request", "visualizations.0.max_bars"),
    "giant picture": (drawn("heatmap", DIGIT, scale_px=10**6), 422, "invalid_request", "visualizations.0.scale_px"),
    "seventeen pictures": (tumour(visualizations=[{"kind": "bars"}] * 17), 422, "invalid_request", "visualizations"),
    "too many pictures": (TOO_MANY_PICTURES, 422, "invalid_request", "visualizations"),
    "not base64": (image("!!! no base64 !!!"), 422, "invalid_base64", "inputs.0.image"),
    "no picture": (image(b"hello"), 422, "invalid_image", "inputs.0.image"),
    "empty picture": (image(""), 422, "invalid_image", "inputs.0.image"),
    "broken PNG": (image(PNG[:40] + b"\x00" * 20 + PNG[60:]), 422, "invalid_image", "inputs.0.image"),
    "truncated PNG": (image(PNG[: len(PNG) // 2]), 422, "invalid_image", "inputs.0.image"),
    "PNG of the wrong size": (image(png_of((9, 8))), 422, "invalid_image", "inputs.0.image"),
    "transparent PNG": (image(png_of((8, 8), "RGBA")), 422, "invalid_image", "inputs.0.image"),
    "decompression bomb": (image(bomb(50_000)), 422, "image_too_large", "inputs.0.image"),
    "picture for a table": (tumour(inputs=[{"features": "aGVsbG8="}]), 422, "invalid_input", "inputs.0.features"),
    "no inputs": (tumour(inputs=[]), 422, "invalid_request", "inputs"),
    "inputs no list": (tumour(inputs={}), 422, "invalid_request", "inputs"),
    "input no object": (tumour(inputs=[5]), 422, "invalid_request", "inputs.0"),
    "too many inputs": (tumour(inputs=TUMOUR["inputs"] * 4_097), 422, "invalid_request", "inputs"),
    "extra field": (tumour(colour="red"), 422, "invalid_request", "colour"),
    "extra field in target": (tumour(target={"klass": 1}), 422, "invalid_request", "target.klass"),
    "body a list": ([1], 422, "invalid_request", "body"),
}  # fmt: skip


def assert_kind(document: dict[str, Any], field: str | None = None) -> None:
    """Says what and where, and nothing of the insides; its code is documented."""
    assert document["detail"]
    assert not INSIDES.search(json.dumps(document)), document
    assert f"`{document['code']}`" in (ROOT / "docs" / "errors.md").read_text()
    if field is not None:
        assert field in [fault["field"] for fault in document["errors"]], document["errors"]


@pytest.mark.parametrize(("body", "status", "code", "field"), BODIES.values(), ids=BODIES.keys())
def test_a_wrong_body_is_refused(client, body, status, code, field):
    response = client.post("/v1/attributions", content=json.dumps(body).encode(), headers=JSON_TYPE)
    assert_kind(problem(response, status, code), field)


def nested(depth: int) -> bytes:
    return (
        json.dumps(tensor(parameters=0))
        .replace('"parameters": 0', f'"parameters": {"[" * depth + "]" * depth}')
        .encode()
    )


#: name -> (bytes, headers, status, code)
BYTES: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "not JSON": (b"{model: digits}", JSON_TYPE, 400, "malformed_json"),
    "cut off": (json.dumps(TUMOUR).encode()[:-5], JSON_TYPE, 400, "malformed_json"),
    "not UTF-8": (b'{"model": "\xff"}', JSON_TYPE, 400, "malformed_json"),
    "endless number": (b'{"model": ' + b"1" * 5000 + b"}", JSON_TYPE, 400, "malformed_json"),
    "endless nesting": (b'{"a":' * 100_000, JSON_TYPE, 400, "malformed_json"),
    "deep nesting": (nested(400), JSON_TYPE, 422, "invalid_request"),
    "no body": (b"", JSON_TYPE, 422, "invalid_request"),
    "no content type": (json.dumps(TUMOUR).encode(), {}, 415, "unsupported_media_type"),
    "wrong content type": (json.dumps(TUMOUR).encode(), {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    "a form": (b"model=digits", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    "huge key": (json.dumps(TUMOUR).encode(), JSON_TYPE | {"Idempotency-Key": "k" * 300}, 422, "invalid_request"),
}


@pytest.mark.parametrize(("content", "headers", "status", "code"), BYTES.values(), ids=BYTES.keys())
def test_wrong_bytes_are_refused(client, content, headers, status, code):
    assert_kind(problem(client.post("/v1/attributions", content=content, headers=headers), status, code))


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_too_large_is_refused(client, declared):
    content = b" " * (ApiSettings().max_body_bytes + 1)
    sent = content if declared else (content[i : i + 65_536] for i in range(0, len(content), 65_536))
    response = client.post("/v1/attributions", content=sent, headers=JSON_TYPE)
    assert_kind(problem(response, 413, "body_too_large"))


def test_a_thousand_faults_are_not_all_repeated(client):
    response = client.post("/v1/attributions", json=tumour(inputs=[5] * 100_000))
    assert len(response.content) < 10_000
    assert_kind(problem(response, 422, "invalid_request"), "inputs.0")


#: Of a finished job on the digit: (path, status, code, field)
QUERIES = [
    ("?result=99", 422, "invalid_request", "result"),
    ("?result=-1", 422, "invalid_request", "result"),
    ("?result=first", 422, "invalid_request", "result"),
    ("/visualizations/heatmap?input=picture", 422, "unsupported_visualization", "input"),
    ("?encoding=xml", 422, "invalid_request", "encoding"),
    ("/visualizations/pie", 422, "invalid_request", "kind"),
    ("/visualizations/bars", 422, "unsupported_visualization", "kind"),
    ("/visualizations/heatmap?result=1", 422, "invalid_request", "result"),
    ("/visualizations/heatmap?polarity=up", 422, "invalid_request", "polarity"),
    ("/visualizations/heatmap?clip_percentile=0", 422, "invalid_request", "clip_percentile"),
    ("/visualizations/heatmap?clip_percentile=nan", 422, "invalid_request", "clip_percentile"),
    ("/visualizations/heatmap?scale_px=100000", 422, "invalid_request", "scale_px"),
    ("/visualizations/heatmap?color_map=rainbow", 422, "invalid_request", "color_map"),
    ("/visualizations/heatmap?shape=round", 422, "invalid_request", "shape"),
]


@pytest.fixture(scope="module")
def digit_job(service) -> str:
    with httpx.Client(base_url=service.url, timeout=20) as client:
        path = created(client, DIGIT)
        ended(client, path)
        return path


@pytest.mark.parametrize(("query", "status", "code", "field"), QUERIES)
def test_a_wrong_query_is_refused(client, digit_job, query, status, code, field):
    assert_kind(problem(client.get(digit_job + query), status, code), field)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/attribution", 404, "not_found"),
        ("GET", "/v1/attributions/job_0", 404, "job_not_found"),
        ("GET", "/v1/attributions/%00%ff", 404, "job_not_found"),
        ("DELETE", "/v1/attributions/job_0", 404, "job_not_found"),
        ("GET", "/v1/attributions/job_0/visualizations/bars", 404, "job_not_found"),
        ("PUT", "/v1/attributions", 405, "method_not_allowed"),
        ("POST", "/health/live", 405, "method_not_allowed"),
        ("GET", "/v1/attributions?limit=0", 422, "invalid_request"),
        ("GET", "/v1/attributions?limit=101", 422, "invalid_request"),
        ("GET", "/v1/attributions?cursor=nonsense", 422, "invalid_request"),
        ("GET", "/v1/attributions?state=done", 422, "invalid_request"),
    ],
)
def test_a_wrong_path_is_refused(client, method, path, status, code):
    assert_kind(problem(client.request(method, path), status, code))


def test_a_refused_method_names_those_there_are(client):
    assert client.put("/v1/attributions").headers["Allow"] == "GET, POST"
    assert client.put("/v1/attributions/job_0").headers["Allow"] == "DELETE, GET"


def test_after_all_that_the_service_still_answers(client):
    assert explained(client, DIGIT)["state"] == "succeeded"
    assert client.get("/health/ready").status_code == 200
