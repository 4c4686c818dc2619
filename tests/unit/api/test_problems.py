"""Errors as a client sees them, on a small application with the service's error handling."""

import logging

import httpx
import pytest
from attributor import errors
from attributor.api.problems import MEDIA_TYPE, MOST_FAULTS, RETRY_AFTER_S, STATUS, install, problem
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel


class Point(BaseModel):
    x: list[float]


@pytest.fixture
async def client():
    app = FastAPI()
    install(app)
    things = APIRouter(prefix="/things")

    @things.get("/{code}")
    async def fail(code: str) -> None:
        kinds = {kind.code: kind for kind in (errors.InvalidInput, errors.QueueFull, errors.JobNotFound)}
        raise kinds[code]("why", field="inputs.0" if code == "invalid_input" else None)

    @things.delete("/{code}")
    async def delete(code: str) -> None:
        raise RuntimeError("the password is 123")

    @app.post("/points")
    async def post(point: Point) -> None:
        return None

    app.include_router(things)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize("code", STATUS)
def test_every_code_makes_a_document_of_its_status(code):
    response = problem(code, "why")
    assert response.status_code == STATUS[code][0]
    assert response.media_type == MEDIA_TYPE


def test_an_unlisted_code_is_a_defect():
    assert problem("unheard_of", "why").status_code == 500


async def test_a_stated_error_has_code_detail_and_field(client):
    response = await client.get("/things/invalid_input")
    assert (response.status_code, response.headers["Content-Type"]) == (422, MEDIA_TYPE)
    assert response.json() == {
        "type": "/problems/invalid_input",
        "title": STATUS["invalid_input"][1],
        "status": 422,
        "code": "invalid_input",
        "detail": "inputs.0: why",
        "errors": [{"field": "inputs.0", "detail": "why"}],
    }


async def test_what_may_pass_says_when_to_come_back(client):
    assert (await client.get("/things/queue_full")).headers["Retry-After"] == str(RETRY_AFTER_S)
    assert "Retry-After" not in (await client.get("/things/job_not_found")).headers


async def test_a_defect_says_nothing_of_itself_but_to_the_log(client, caplog):
    with caplog.at_level(logging.ERROR):
        response = await client.delete("/things/1")
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "password" not in response.text
    assert "the password is 123" in caplog.text


async def test_faults_of_the_body_are_named_by_their_path_up_to_a_number(client):
    response = await client.post("/points", json={"x": [1, "a", None]})
    assert [fault["field"] for fault in response.json()["errors"]] == ["x.1", "x.2"]
    response = await client.post("/points", json={"x": ["a"] * 500})
    assert len(response.json()["errors"]) == MOST_FAULTS


@pytest.mark.parametrize(
    ("media_type", "status"),
    [("application/json", 422), ("application/merge-patch+json; charset=utf-8", 422), ("text/plain", 415), ("", 415)],
)
async def test_a_body_of_another_media_type_is_told_so(client, media_type, status):
    headers = {"Content-Type": media_type} if media_type else {}
    assert (await client.post("/points", content=b'{"y": 1}', headers=headers)).status_code == status


async def test_bytes_that_are_no_text_are_malformed(client):
    response = await client.post("/points", content=b'{"x": "\xff"}', headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_json")


async def test_a_refused_method_is_answered_with_all_that_there_are(client):
    response = await client.put("/things/1")
    assert (response.status_code, response.headers["Allow"]) == (405, "DELETE, GET")


def test_a_document_can_quote_what_has_no_utf8():
    assert b"\\ud800" in problem("unknown_model", "there is no model '\ud800'").body
