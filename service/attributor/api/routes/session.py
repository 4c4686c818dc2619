"""/v1/session: a browser signs in with a key, and has a cookie from then on."""

from fastapi import APIRouter, Request, Response

from attributor.api.dependencies import Provided
from attributor.api.documents import SessionDocument
from attributor.api.gate import COOKIE, SESSION_PATH, audit, session_in
from attributor.api.problems import documented
from attributor.api.representation import as_json
from attributor.errors import Unauthorized
from attributor.jobs.access import ApiKey, csrf_token, digest_of, new_session

#: Of a session, seconds: a working day.
SESSION_S = 12 * 3600

router = APIRouter(prefix=SESSION_PATH, tags=["session"])


@router.post("", summary="Sign in", responses={200: {"model": SessionDocument}, **documented(401, 403, 503)})
async def sign_in(request: Request, deps: Provided) -> Response:
    """Send the key as `Authorization: Bearer`; the answer sets a cookie that scripts cannot read and other sites cannot
    send. To change anything with it, send `csrf_token` as `X-CSRF-Token`."""
    key = _key(request)
    session = new_session()
    await deps.keys.open_session(digest_of(session), key.id, SESSION_S)
    audit.info("key %s of tenant %s signed in", key.id, key.tenant)
    response = as_json(_document(key, session))
    response.set_cookie(
        COOKIE, session, max_age=SESSION_S, httponly=True, samesite="strict", secure=_is_secure(request), path="/"
    )
    return response


@router.get("", summary="Who is signed in", responses={200: {"model": SessionDocument}, **documented(401, 503)})
async def signed_in(request: Request) -> Response:
    """The tenant and what the key opens; `csrf_token` again, for a page that was loaded anew."""
    return as_json(_document(_key(request), session_in(request.headers)))


@router.delete(
    "",
    status_code=204,
    summary="Sign out",
    responses={204: {"description": "Signed out."}, **documented(401, 403, 503)},
)
async def sign_out(request: Request, deps: Provided) -> Response:
    """End the session, wherever its cookie was copied to."""
    key = _key(request)
    if session := session_in(request.headers):
        await deps.keys.close_session(digest_of(session))
        audit.info("key %s of tenant %s signed out", key.id, key.tenant)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response


def _key(request: Request) -> ApiKey:
    key = request.scope.get("attributor.key")
    if not isinstance(key, ApiKey):
        raise Unauthorized("this service asks for no keys: there is nothing to sign in to")
    return key


def _is_secure(request: Request) -> bool:
    """Whether the browser speaks TLS, also where a proxy before us ends it."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))


def _document(key: ApiKey, session: str | None) -> dict[str, object]:
    return {
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "csrf_token": None if session is None else csrf_token(session),
    }
