"""Against a small application with the service's error handling; bodies come in the pieces that a server passes on."""

import httpx
import pytest
from attributor.api import problems
from attributor.api.body_limit import BodyLimit
from fastapi import Body, FastAPI

MOST_BYTES = 100


@pytest.fixture
async def client():
    app = FastAPI()
    problems.install(app)

    @app.post("/count")
    async def count(body: list[int] = Body()) -> int:  # noqa: B008
        return len(body)

    app.add_middleware(BodyLimit, max_bytes=MOST_BYTES)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def pieces(content: bytes):
    for start in range(0, len(content), 10):
        yield content[start : start + 10]


def body_of(size_bytes: int) -> bytes:
    return b"[1" + b" " * (size_bytes - 3) + b"]"


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "declared"])
async def test_the_limit_itself_is_allowed_and_a_byte_more_is_not(client, chunked):
    for size_bytes, status in ((MOST_BYTES, 200), (MOST_BYTES + 1, 413)):
        content = body_of(size_bytes)
        headers = {"Content-Type": "application/json"}
        response = await client.post("/count", content=pieces(content) if chunked else content, headers=headers)
        assert response.status_code == status
    assert response.headers["Content-Type"] == problems.MEDIA_TYPE
    assert response.headers["Connection"] == "close"
    assert response.json()["code"] == "body_too_large"


async def test_a_small_lie_about_the_length_does_not_help(client):
    headers = {"Content-Type": "application/json", "Content-Length": "5"}
    response = await client.post("/count", content=body_of(MOST_BYTES + 1), headers=headers)
    assert response.status_code == 413


async def test_other_protocols_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await BodyLimit(app, 1)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]
