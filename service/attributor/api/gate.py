"""The gate before every route, the quick ways included, where requests need an API key: nothing behind it is reached
without. It says in whose name a request comes (`Caller`).

A program sends `Authorization: Bearer <key>`. A browser, whose EventSource can send no header, signs in with a key once
(`POST /v1/session`) and has a cookie from then on; to change anything its page also sends what that answered as
`csrf_token`. The cookie is SameSite=Strict already; the token, and the look at `Origin`, are for what that does not
hold for: another service on another port of the same host is the same site.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from attributor.api.problems import stated
from attributor.errors import AttributorError, Forbidden, Unauthorized
from attributor.jobs.access import ApiKey, Caller, Scope, csrf_token, digest_of, opens, parts_of, same
from attributor.ports import KeyStore

#: Found keys are believed for so long, seconds: a key that is revoked opens nothing after that. Ours: a busy client
#: then costs the store one question in five seconds.
BELIEVED_S = 5.0
#: Keys and sessions remembered. Ours: 1 kB each.
REMEMBERED = 10_000
COOKIE = "attributor_session"
CSRF_HEADER = "X-CSRF-Token"
SESSION_PATH = "/v1/session"
#: What no key is needed for: it says nothing of anybody's jobs.
OPEN = ("/health/", "/docs", "/openapi.json", "/problems/", "/static/")
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
#: What the method alone does not tell.
_BY_PATH: Mapping[str, Scope] = {"/v1/quarantine": Scope.OPERATE, "/metrics": Scope.METRICS}

audit = logging.getLogger("attributor.audit")


class Gate:
    """`app`, behind keys. `origins`: of pages elsewhere that may be used with a session (the CORS allow-list)."""

    def __init__(self, app: ASGIApp, keys: KeyStore, origins: Iterable[str] = ()) -> None:
        self._app = app
        self._keys = keys
        self._origins = frozenset(origins)
        self._known: dict[tuple[str, str], tuple[float, Any]] = {}

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Let a request through with its caller, or answer why not."""
        if connection["type"] != "http" or _is_open(connection):
            await self._app(connection, receive, send)
            return
        try:
            key = await self._admitted(connection)
        except AttributorError as error:
            audit.info("refused %s %s: %s", connection["method"], connection["path"], error.code)
            await stated(error)(connection, receive, send)
            return
        connection["attributor.caller"] = Caller(key.tenant, key.scopes, key.terms)
        connection["attributor.key"] = key
        await self._app(connection, receive, send)

    async def _admitted(self, connection: Connection) -> ApiKey:
        """The key that a request comes with. Raises Unauthorized, Forbidden, StoreUnavailable."""
        headers = Headers(scope=connection)
        kind, _, credentials = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            key = await self._opened(credentials.strip())
        elif session := session_in(headers):
            key = await self._of_session(session)
            if connection["method"] not in _SAFE:
                self._require_own_page(headers, session)
        else:
            raise Unauthorized("send Authorization: Bearer <key>, or sign in at POST /v1/session")
        if (needed := scope_for(connection)) is not None and needed not in key.scopes:
            raise Forbidden(f"the key opens {', '.join(sorted(key.scopes))}; this needs '{needed}'")
        return key

    async def _opened(self, text: str) -> ApiKey:
        parts = parts_of(text)
        if parts is None:
            raise Unauthorized("not the form of a key: atr_<id>_<secret>")
        key = await self._believed("key", parts[0])
        if not opens(key, parts[1]):
            raise Unauthorized("there is no such key: it never was, or was revoked")
        assert isinstance(key, ApiKey)  # noqa: S101 - `opens` is true of keys only
        return key

    async def _of_session(self, session: str) -> ApiKey:
        key_id = await self._believed("session", digest_of(session))
        key = None if key_id is None else await self._believed("key", key_id)
        if not isinstance(key, ApiKey):
            raise Unauthorized("the session has ended; sign in at POST /v1/session")
        return key

    def _require_own_page(self, headers: Headers, session: str) -> None:
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and origin.partition("://")[2] != headers.get("host"):
            raise Forbidden("a page of another origin may change nothing with this session")
        if not same(headers.get(CSRF_HEADER, ""), csrf_token(session)):
            raise Forbidden(f"send the session's csrf_token as {CSRF_HEADER}", field=CSRF_HEADER)

    async def _believed(self, kind: str, name: str) -> Any:
        """What the store says, or said a moment ago."""
        now_s = time.monotonic()
        known = self._known.get((kind, name))
        if known is not None and now_s - known[0] < BELIEVED_S:
            return known[1]
        found = await (self._keys.key(name) if kind == "key" else self._keys.session(name))
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        if found is not None:  # what is not there may be made at any moment, and guesses are not to be kept
            self._known[kind, name] = now_s, found
        return found

    def forget_session(self, session: str) -> None:
        """It was closed here: at once, in this process."""
        self._known.pop(("session", digest_of(session)), None)


def scope_for(connection: Connection) -> Scope | None:
    """What a request needs; None where any key will do."""
    path = connection["path"]
    if path == SESSION_PATH:
        return None
    for prefix, scope in _BY_PATH.items():
        if path == prefix or path.startswith(prefix + "/"):
            return scope
    return Scope.READ if connection["method"] in _SAFE else Scope.SUBMIT


def session_in(headers: Headers) -> str | None:
    """The session in a request's cookie."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found and found.value else None


def _is_open(connection: Connection) -> bool:
    path = connection["path"]
    return bool(connection["method"] == "OPTIONS" or path == "/" or path.startswith(OPEN))
