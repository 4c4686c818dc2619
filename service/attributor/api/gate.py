"""The gate before every route, the quick ways included, where requests need an API key: nothing behind it is reached
without. It says in whose name a request comes (`Caller`).

A program sends `Authorization: Bearer <key>`. A browser, whose EventSource can send no header, signs in with a key once
(`POST /v1/session`) and has a cookie from then on; to change anything its page also sends what that answered as
`csrf_token`. The cookie is SameSite=Strict already; the token, and the look at `Origin`, are for what that does not
hold for: another service on another port of the same host is the same site.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from http.cookies import CookieError, SimpleCookie

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from attributor.api.cross_site import SAFE_METHODS, comes_from_elsewhere
from attributor.api.problems import defective, stated
from attributor.errors import AttributorError, Forbidden, RequestError, StoreUnavailable, Unauthorized
from attributor.jobs.access import ApiKey, Caller, Scope, csrf_token, digest_of, opens, parts_of, same
from attributor.ports import KeyStore
from attributor.telemetry.audit import audit

#: Found keys are believed for so long, seconds: a key that is revoked opens nothing after that. Ours: a busy client
#: then costs the store one question in five seconds.
BELIEVED_S = 5.0
#: Keys remembered. Ours: 1 kB each.
REMEMBERED = 10_000
COOKIE = "attributor_session"
CSRF_HEADER = "X-CSRF-Token"
SESSION_PATH = "/v1/session"
#: What no key is needed for, with all below it: it says nothing of anybody's jobs.
_OPEN = ("/health", "/docs", "/swagger", "/openapi.json", "/problems")
#: What the method alone does not tell.
_BY_PATH: Mapping[str, Scope] = {"/v1/quarantine": Scope.OPERATE, "/metrics": Scope.METRICS}


class OwnPages:
    """`app` without keys. A browser on this machine reaches it for any page that it shows, so that pages of others may
    change nothing, but for those of `origins` (the CORS allow-list)."""

    def __init__(self, app: ASGIApp, origins: Iterable[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        changes = connection["type"] == "http" and connection["method"] not in SAFE_METHODS
        if changes and comes_from_elsewhere(Headers(scope=connection), self._origins):
            error = Forbidden("a page of another origin may change nothing here, unless api.cors_origins lists it")
            _audit_refusal(connection, error)
            await stated(error)(connection, receive, send)
            return
        await self._app(connection, receive, send)


class Gate:
    """`app`, behind keys."""

    def __init__(self, app: ASGIApp, keys: KeyStore) -> None:
        self._app = app
        self._keys = keys
        self._known: dict[str, tuple[float, ApiKey]] = {}

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Let a request through with its caller, or answer why not."""
        if connection["type"] != "http" or is_open(connection["path"]):
            await self._app(connection, receive, send)
            return
        try:
            key, session = await self._admitted(connection)
        except AttributorError as error:
            if isinstance(error, RequestError):
                _audit_refusal(connection, error)
            await stated(error)(connection, receive, send)
            return
        except Exception as error:
            await defective(Request(connection), error)(connection, receive, send)
            return
        connection["attributor.caller"] = Caller(key.tenant, key.scopes, key.terms)
        connection["attributor.key"], connection["attributor.session"] = key, session
        connection["attributor.still_opens"] = partial(self._still_opens, key.id, session)
        await self._app(connection, receive, send)

    async def _admitted(self, connection: Connection) -> tuple[ApiKey, str | None]:
        """The key that a request comes with, and the session if it comes by one. Raises Unauthorized, Forbidden,
        StoreUnavailable."""
        headers, session = Headers(scope=connection), None
        kind, _, credentials = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            key = await self._opened(credentials.strip())
        elif session := _session_in(connection, headers):
            key = await self._of_session(session)
            if connection["method"] not in SAFE_METHODS:
                _require_own_page(headers, session)
        else:
            raise Unauthorized("send Authorization: Bearer <key>, or sign in at POST /v1/session")
        if (needed := scope_for(connection["method"], connection["path"])) is not None and needed not in key.scopes:
            raise Forbidden(f"the key opens {', '.join(sorted(key.scopes))}; this needs '{needed}'")
        return key, session

    async def _opened(self, text: str) -> ApiKey:
        parts = parts_of(text)
        if parts is None:
            raise Unauthorized("not the form of a key: atr_<id>_<secret>", refused=True)
        key = await self._believed(parts[0])
        if not opens(key, parts[1]) or key is None:
            raise Unauthorized("there is no such key: it never was, or was revoked", refused=True)
        return key

    async def _of_session(self, session: str) -> ApiKey:
        key_id = await self._keys.session(digest_of(session))  # not remembered: who signs out is out, everywhere
        key = None if key_id is None else await self._believed(key_id)
        if key is None:
            raise Unauthorized("the session has ended; sign in at POST /v1/session", refused=True)
        return key

    async def _still_opens(self, key_id: str, session: str | None) -> bool:
        """Whether what a request came with a while ago would do now."""
        signed_in = session is None or await self._keys.session(digest_of(session)) is not None
        return signed_in and await self._believed(key_id) is not None

    async def _believed(self, key_id: str) -> ApiKey | None:
        """What the store says, or said a moment ago."""
        now_s = time.monotonic()
        known = self._known.get(key_id)
        if known is not None and now_s - known[0] < BELIEVED_S:
            return known[1]
        found = await self._keys.key(key_id)
        self._known.pop(key_id, None)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        if found is not None:  # what is not there may be made at any moment, and guesses are not to be kept
            self._known[key_id] = now_s, found
        return found


async def while_it_opens(
    events: AsyncGenerator[bytes, None], still_opens: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    """The events of a stream, for as long as what it was asked for with is good: it may stay open for hours. Ends, too,
    where the store does not tell; the client comes back by itself."""
    async with aclosing(events):
        async for event in events:
            try:
                if not await still_opens():
                    return
            except StoreUnavailable:
                return
            yield event


def _require_own_page(headers: Headers, session: str) -> None:
    if comes_from_elsewhere(headers):
        raise Forbidden("a page of another origin may change nothing with this session; it may send a key")
    if not same(headers.get(CSRF_HEADER, ""), csrf_token(session)):
        raise Forbidden(f"send the session's csrf_token as {CSRF_HEADER}", field=CSRF_HEADER)


def _audit_refusal(connection: Connection, error: RequestError) -> None:
    claimed = parts_of(Headers(scope=connection).get("authorization", "").rpartition(" ")[2])
    method, path = connection["method"], connection["path"]
    audit(
        "refused", code=error.code, method=method, path=path, key=claimed and claimed[0], client=client_of(connection)
    )


def client_of(connection: Connection) -> str | None:
    """The address that a request comes from."""
    return connection["client"][0] if connection.get("client") else None


def scope_for(method: str, path: str) -> Scope | None:
    """What a request needs; None where any key will do."""
    if path == SESSION_PATH:
        return None
    for prefix, scope in _BY_PATH.items():
        if _is_within(path, prefix):
            return scope
    return Scope.READ if method in SAFE_METHODS else Scope.SUBMIT


def is_open(path: str) -> bool:
    """Whether no key is needed."""
    return path == "/" or any(_is_within(path, each) for each in _OPEN)


def _is_within(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")


def is_secure(connection: Connection, headers: Headers) -> bool:
    """Whether the browser speaks TLS, also where a proxy before us ends it. Who forges that header has a cookie that
    their own browser sends over TLS only."""
    forwarded = headers.get("x-forwarded-proto", "").partition(",")[0].strip()
    return "https" in (connection["scheme"], forwarded)


def cookie_name(connection: Connection, headers: Headers) -> str:
    """Over TLS with the prefix that browsers take over TLS only, from this very host only (RFC 6265bis, 4.1.3.2)."""
    return f"__Host-{COOKIE}" if is_secure(connection, headers) else COOKIE


def _session_in(connection: Connection, headers: Headers) -> str | None:
    """The session in a request's cookie."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(cookie_name(connection, headers))
    except CookieError:
        return None
    return found.value if found and found.value else None
