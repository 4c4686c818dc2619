"""The same answer as numbers, npy bytes and pictures, and pictures drawn again from what is stored."""

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from attributor.api.documents import JobDocument
from attributor.jobs.job import ColorMap, OverlayStyle, Polarity
from e2e.live import EXAMPLES, created, ended, example, explained, pair, problem, slow
from PIL import Image

pytestmark = pytest.mark.e2e

NPY, PNG, SVG = "application/x-npy", "image/png", "image/svg+xml"


@pytest.fixture
def digit(client) -> str:
    """The path of a finished job on the digit."""
    path = created(client, example("digit"))
    ended(client, path)
    return path


@pytest.fixture
def tumour(client) -> str:
    path = created(client, example("tumour"))
    ended(client, path)
    return path


def picture(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.format == "PNG"
    return image


def test_base64_npy_numbers_and_bytes_are_the_same_attributions(client, digit):
    tensor = client.get(digit).json()["results"][0]["attributions"]["image"]
    response = client.get(digit, params={"encoding": "base64-npy"})
    JobDocument.model_validate_json(response.content, strict=True)
    packed = response.json()["results"][0]["attributions"]["image"]
    assert (tensor["encoding"], packed["encoding"]) == ("numbers", "base64-npy")
    unpacked = np.load(io.BytesIO(base64.b64decode(packed["data"])), allow_pickle=False)
    assert (unpacked.dtype, unpacked.shape) == (np.float32, tuple(packed["shape"]))
    assert np.array_equal(unpacked, np.array(tensor["data"], np.float32))
    response = client.get(digit, headers={"Accept": NPY})
    assert response.headers["Content-Type"] == NPY
    assert np.array_equal(np.load(io.BytesIO(response.content), allow_pickle=False), unpacked)


def test_a_job_can_be_had_as_a_picture(client, digit):
    response = client.get(digit, headers={"Accept": PNG})
    assert (response.headers["Content-Type"], "Accept" in response.headers["Vary"]) == (PNG, True)
    assert picture(response.content).size == (256, 256)


@pytest.mark.parametrize("media_type", [NPY, PNG])
def test_a_post_that_waits_answers_with_the_bytes(client, media_type):
    headers = {"Accept": media_type, "Prefer": "wait=20"}
    response = client.post("/v1/attributions", json=example("tumour"), headers=headers)
    assert (response.status_code, response.headers["Content-Type"]) == (200, media_type)
    stored = client.get(response.headers["Location"], headers={"Accept": media_type})
    assert stored.content == response.content


def test_a_post_that_is_not_done_answers_with_json_whatever_it_asks(client):
    response = client.post("/v1/attributions", json=slow(40), headers={"Accept": PNG, "Prefer": "wait=0"})
    assert (response.status_code, response.headers["Content-Type"]) == (202, "application/json")
    client.delete(response.headers["Location"])


def test_one_of_several_results_is_chosen_by_number(client):
    body = example("digit") | {"inputs": example("digit")["inputs"] * 2}
    refused = client.post("/v1/attributions", json=body, headers={"Accept": NPY})
    assert problem(refused, 406, "not_acceptable")["errors"][0]["field"] == "Accept"
    path = explained(client, body)["links"]["self"]
    for accept in (NPY, PNG):
        document = problem(client.get(path, headers={"Accept": accept}), 422, "invalid_request")
        assert document["errors"][0]["field"] == "result"
        assert client.get(path, headers={"Accept": accept}, params={"result": 1}).status_code == 200
    assert client.get(f"{path}/visualizations/heatmap", params={"result": 1}).status_code == 200


def test_what_cannot_be_had_is_not_acceptable(client, digit):
    for path in (digit, f"{digit}/visualizations/heatmap"):
        document = problem(client.get(path, headers={"Accept": "text/html"}), 406, "not_acceptable")
        assert PNG in document["detail"]
    refused = client.post("/v1/attributions", json=example("digit"), headers={"Accept": "text/html"})
    problem(refused, 406, "not_acceptable")


@pytest.mark.parametrize("kind", ["heatmap", "overlay"])
def test_an_image_is_drawn_as_json_png_and_svg(client, digit, kind):
    path = f"{digit}/visualizations/{kind}"
    payload = client.get(path).json()
    assert payload["kind"] == kind
    embedded = base64.b64decode(payload["png"])
    response = client.get(path, headers={"Accept": PNG})
    assert response.content == embedded
    assert picture(embedded).size == (payload["width"], payload["height"])
    assert_svg(client.get(path, headers={"Accept": SVG}))


def test_a_table_is_drawn_as_json_png_and_svg(client, tumour):
    path = f"{tumour}/visualizations/bars"
    payload = client.get(path, params={"max_bars": 3}).json()
    assert (payload["kind"], len(payload["bars"])) == ("bars", 3)
    assert picture(client.get(path, headers={"Accept": PNG}).content).width > 300
    root = assert_svg(client.get(path, headers={"Accept": SVG}, params={"max_bars": 3}))
    assert payload["bars"][0]["name"] in "".join(root.itertext())


def assert_svg(response) -> ElementTree.Element:
    assert response.headers["Content-Type"].startswith(SVG)
    root = ElementTree.fromstring(response.content)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return root


OPTIONS = [
    *({"polarity": polarity.value} for polarity in Polarity if polarity is not Polarity.BOTH),
    *({"style": style.value} for style in OverlayStyle if style is not OverlayStyle.TINT),
    *({"color_map": name.value} for name in ColorMap if name is not ColorMap.BLUE_ORANGE),
    {"clip_percentile": 60},
    {"scale_px": 64},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_changes_the_picture(client, digit, options):
    path = f"{digit}/visualizations/overlay"
    plain = client.get(path, headers={"Accept": PNG})
    drawn = client.get(path, headers={"Accept": PNG}, params=options)
    assert drawn.status_code == 200, drawn.text
    assert picture(drawn.content).tobytes() != picture(plain.content).tobytes()


def test_drawing_again_does_not_run_the_model_again(client, digit):
    before = client.get(digit)
    for polarity in ("positive", "negative", "both"):
        client.get(f"{digit}/visualizations/heatmap", params={"polarity": polarity}).raise_for_status()
    after = client.get(digit)
    assert after.json() == before.json(), "evaluations, attempts and all"
    assert after.headers["ETag"] == before.headers["ETag"]


def test_pictures_in_the_answer_are_those_drawn_later(client, digit):
    for embedded in client.get(digit).json()["results"][0]["visualizations"]:
        assert client.get(f"{digit}/visualizations/{embedded['kind']}").json() == embedded


def test_a_picture_of_a_job_without_a_result_is_refused_with_the_reason(client):
    path = created(client, pair("nan", a=-3.0))
    assert ended(client, path)["state"] == "failed"
    for url, accept in ((path, NPY), (f"{path}/visualizations/bars", PNG)):
        document = problem(client.get(url, headers={"Accept": accept}), 409, "no_result")
        assert "failed" in document["detail"]
    path = created(client, slow(60))
    problem(client.get(f"{path}/visualizations/bars"), 409, "job_not_finished")
    problem(client.get(path, headers={"Accept": NPY}), 409, "job_not_finished")
    client.delete(path)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_png_and_the_tensor_of_its_pixels_have_the_same_answer(client, prefix):
    content = (EXAMPLES / "digit.png").read_bytes()
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.float32) / 255
    tensor = {"shape": [1, 8, 8], "datatype": "FP32", "data": pixels.ravel().tolist()}
    sent = [{"image": prefix + base64.b64encode(content).decode()}, {"image": tensor}]
    body = {"model": "digits", "target": {"class": "2"}}
    one, other = (explained(client, body | {"inputs": [item]})["results"][0] for item in sent)
    assert one["score"] == pytest.approx(other["score"], rel=1e-5)
    assert one["evaluations"] == other["evaluations"]
    assert np.allclose(one["attributions"]["image"]["data"], other["attributions"]["image"]["data"], atol=1e-5)


def test_results_have_the_fields_that_are_asked_for(client):
    fields = "?fields=input,attributions,completeness_error"
    several = {**example("tumour"), "inputs": example("tumour")["inputs"] * 3}
    whole = explained(client, several)
    for headers in ({}, {"Idempotency-Key": "fields"}):  # both ways in
        made = client.post(f"/v1/attributions{fields}", json=several, headers={"Prefer": "wait=30", **headers})
        assert made.status_code == 200, made.text
        names = ("input", "completeness_error", "attributions")
        assert made.json()["results"] == [{name: each[name] for name in names} for each in whole["results"]]
        assert made.json()["id"]
    path = made.headers["location"]
    assert list(client.get(f"{path}?fields=score").json()["results"][1]) == ["score"]
    page = client.get(f"{path}/results?fields=score,target&limit=1").json()
    assert (list(page["results"][0]), page["next"][-28:]) == (["target", "score"], "&limit=1&fields=score,target")
    assert len(client.get(page["next"]).json()["results"][0]) == 2


def test_each_choice_of_fields_has_its_own_tag(client, tumour):
    few, all_of_them = client.get(f"{tumour}?fields=score"), client.get(tumour)
    assert few.headers["etag"] != all_of_them.headers["etag"]
    again = client.get(f"{tumour}?fields=score", headers={"If-None-Match": few.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "query", ["fields=attribution", "fields=", "fields=score,,", "field=score", "encoding=npz", "result=0"]
)
def test_a_form_that_there_is_not_is_named_before_anything_is_queued(client, tumour, query):
    before = client.get("/v1/attributions?limit=1").json()["attributions"][0]["id"]
    found = problem(client.post(f"/v1/attributions?{query}", json=example("tumour")), 422, "invalid_request")
    assert query.split("=")[0] in str(found)
    assert client.get("/v1/attributions?limit=1").json()["attributions"][0]["id"] == before


def test_an_unknown_field_is_answered_with_the_nearest_one(client, tumour):
    assert "did you mean 'attributions'?" in client.get(f"{tumour}?fields=attribution").text
