"""A shorter way into an endpoint, for what clients send most: a plain JSON body. Everything else goes the framework's
own way, which also finds and tells what is wrong with a request.

The framework's way costs more than all the rest of a small request: its parser of JSON is Python's own, and each
parameter is looked up, copied and validated by itself.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

Body = TypeVar("Body", bound=BaseModel)


async def plain_body(request: Request, model: type[Body]) -> Body | None:
    """The body, validated as the framework would; None where it would have something to say of it."""
    if request.headers.get("content-type") != "application/json":
        return None
    try:
        # Reads what `json.loads` reads, NaN and endless integers included; what it refuses more, goes the other way.
        document = from_json(await request.body(), cache_strings="keys")
        return model.model_validate(document)
    except (ValidationError, ValueError):
        return None


def quick_route(answer: Callable[[Request], Awaitable[Response | None]]) -> type[APIRoute]:
    """A class for a route: `answer` answers a request, or leaves it to the endpoint (None) before anything is done.

    Errors of `answer` are treated as the endpoint's are.
    """

    class QuickRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            usual = super().get_route_handler()

            async def handle(request: Request) -> Response:
                response = await answer(request)
                return await usual(request) if response is None else response

            return handle

    return QuickRoute
