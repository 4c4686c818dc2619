"""A shorter way to an answer, for what clients send most: a plain JSON body to one path. Everything else goes the
framework's own way, which also finds and tells what is wrong with a request.

The framework's way costs more than all the rest of a small request: layers of middleware, its parser of JSON, which is
Python's own, and parameters that are looked up, copied and validated one by one.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic_core import from_json
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from attributor.api.problems import defective, stated
from attributor.errors import AttributorError

#: Answers a request with its document, or leaves it to the framework (None) before anything is done.
Quick = Callable[[Request, Any], Awaitable[Response | None]]


class Application(FastAPI):
    """The framework's application, with quick ways into some of its paths.

    A quick way answers as the framework's would: it raises the same errors, and these become the same documents.
    """

    def __init__(self, *args: Any, most_bytes: int, quick: dict[str, Quick], **kwargs: Any) -> None:
        """`quick`: by path, for POST. `most_bytes`: larger bodies are left to the framework."""
        super().__init__(*args, **kwargs)
        self._most_bytes = most_bytes
        self._quick = quick
        #: Those with a quick way, which finds no route.
        self.quick_paths = frozenset(quick)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        answer = self._quick.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if answer is None or not _is_plain(scope["headers"], self._most_bytes) or scope.get("root_path"):
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        received: list[Message] = []

        async def again() -> Message:
            return received.pop(0) if received else await receive()

        request = Request(scope, again)
        response = await _answered(answer, request, received, receive)
        await (super().__call__(scope, again, send) if response is None else response(scope, receive, send))


def _is_plain(headers: Iterable[tuple[bytes, bytes]], most_bytes: int) -> bool:
    first = dict(reversed([*headers]))
    length = first.get(b"content-length", b"")
    return first.get(b"content-type") == b"application/json" and length.isdigit() and int(length) <= most_bytes


async def _answered(answer: Quick, request: Request, received: list[Message], receive: Receive) -> Response | None:
    """The response; None where the framework is to give it, which finds what was `received` again."""
    more = True
    while more:
        received.append(message := await receive())
        more = message["type"] == "http.request" and message.get("more_body", False)
    if received[-1]["type"] != "http.request":
        return None
    try:
        # Reads what `json.loads` reads, NaN and endless integers included; what it refuses more, goes the other way.
        document = from_json(b"".join([message["body"] for message in received]), cache_strings="keys")
    except ValueError:
        return None
    try:
        return await answer(request, document)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    except AttributorError as error:
        return stated(error)
    except Exception as error:
        return defective(request, error)
