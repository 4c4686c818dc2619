"""The shorter way reads what the framework reads, and leaves everything else to it."""

import json

import httpx
import pytest
from attributor.api.problems import install
from attributor.api.quick import Application
from attributor.api.schemas.bodies import AttributionBody
from attributor.errors import UnknownModel
from fastapi import Request, Response
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import from_json

PLAIN = {"model": "m", "inputs": [{"x": {"shape": [2], "data": [1, 2.5]}}], "tolerance": 0.05}
JSON = {"content-type": "application/json"}


def answered(way: str, body: AttributionBody) -> Response:
    return Response(f"{way} {body!r}".encode(errors="backslashreplace"))  # lone surrogates have no UTF-8


async def quickly(request: Request, document: object) -> Response | None:
    try:
        body = AttributionBody.model_validate(document)
    except ValidationError:
        return None
    if body.model == "none":
        raise UnknownModel("there is no such model", field="model")
    if body.model == "broken":
        raise ZeroDivisionError
    return answered("quick", body)


def app() -> Application:
    made = Application(most_bytes=2_000, quick={"/quick": quickly})
    install(made)

    async def usually(body: AttributionBody) -> Response:
        if body.model == "none":
            raise UnknownModel("there is no such model", field="model")
        if body.model == "broken":
            raise ZeroDivisionError
        return answered("usual", body)

    for path in ("/quick", "/usual"):
        made.router.add_api_route(path, usually, methods=["POST", "PUT"])
    return made


async def post(path: str, content: bytes, headers: dict[str, str], method: str = "POST") -> httpx.Response:
    transport = httpx.ASGITransport(app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path, content=content, headers=headers)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"inputs": [{"x": [10**30, -0.0, 1e-320, None, True, "\u00e4"]}] * 3},
        {"inputs": [{"x": float("nan"), "y": float("-inf")}]},
        {"target": {"class": "benign"}, "baseline": ["zero", {"x": [0, 0]}], "visualizations": [{"kind": "bars"}]},
    ],
)
async def test_a_plain_body_goes_the_quick_way_and_means_the_same(more):
    content = json.dumps(PLAIN | more).encode()
    quick, usual = [(await post(path, content, JSON)).text for path in ("/quick", "/usual")]
    assert quick.startswith("quick ")
    assert quick.removeprefix("quick") == usual.removeprefix("usual")


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (json.dumps(PLAIN).encode(), {"content-type": "application/json; charset=utf-8"}),
        (json.dumps(PLAIN).encode(), {"content-type": "application/merge-patch+json"}),
        (json.dumps(PLAIN).encode(), {}),
        (json.dumps(PLAIN).encode(), {"content-type": "text/plain"}),
        (json.dumps(PLAIN | {"tolerances": 1}).encode(), JSON),
        (json.dumps(PLAIN | {"inputs": [{"x": "\ud800"}]}).encode(), JSON),
        (b"\xef\xbb\xbf" + json.dumps(PLAIN).encode(), JSON),
        (b'{"model": "m", "inputs": [' + b"[" * 500 + b"]" * 500 + b"]}", JSON),
        (b'{"model": ', JSON),
        (b"", JSON),
        (b"\xff", JSON),
    ],
)
async def test_anything_else_goes_the_frameworks_way(content, headers):
    quick, usual = [await post(path, content, headers) for path in ("/quick", "/usual")]
    assert (quick.status_code, quick.text.replace("/quick", "/usual")) == (usual.status_code, usual.text)
    assert not quick.text.startswith("quick")


async def test_another_method_or_a_large_body_or_one_of_unknown_length_goes_the_frameworks_way():
    content = json.dumps(PLAIN).encode()
    assert (await post("/quick", content, JSON, "PUT")).text.startswith("usual")
    large = json.dumps(PLAIN | {"inputs": [{"x": [0.25] * 1000}]}).encode()
    assert (await post("/quick", large, JSON)).text.startswith("usual")

    async def pieces():
        yield content[:9]
        yield content[9:]

    assert (await post("/quick", pieces(), JSON)).text.startswith("usual")
    assert (await post("/quick", pieces(), JSON | {"content-length": str(len(content))})).text.startswith("quick")


@pytest.mark.parametrize("model", ["none", "broken"])
async def test_errors_are_the_same_either_way(model):
    content = json.dumps(PLAIN | {"model": model}).encode()
    quick, usual = [await post(path, content, JSON) for path in ("/quick", "/usual")]
    assert quick.status_code == usual.status_code == {"none": 404, "broken": 500}[model]
    assert (quick.json(), quick.headers["content-type"]) == (usual.json(), usual.headers["content-type"])


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8"])
async def test_a_client_that_hangs_up_while_it_sends_leaves_no_trace(media_type, caplog):
    made, sent = app(), []
    messages = [{"type": "http.request", "body": b'{"model":', "more_body": True}, {"type": "http.disconnect"}]
    scope = {
        "type": "http", "method": "POST", "path": "/quick", "raw_path": b"/quick", "query_string": b"",
        "headers": [(b"content-type", media_type.encode()), (b"content-length", b"90")],
    }  # fmt: skip

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    await made(scope, receive, send)
    assert sent[0]["status"] == 400
    assert not caplog.records


_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(_documents)
def test_the_two_parsers_read_the_same(document):
    content = json.dumps(document, ensure_ascii=False).encode()
    assert repr(from_json(content, cache_strings="keys")) == repr(json.loads(content))
