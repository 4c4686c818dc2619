"""/v1/session: a browser signs in with a key, and has a cookie from then on."""

from fastapi import APIRouter, Request, Response

from attributor.api.dependencies import Provided
from attributor.api.documents import SessionDocument
from attributor.api.gate import SESSION_PATH, client_of, cookie_name, is_secure
from attributor.api.problems import documented
from attributor.api.representation import as_json
from attributor.errors import Unauthorized
from attributor.jobs.access import ApiKey, csrf_token, digest_of, new_session
from attributor.telemetry.audit import audit

#: Of a session, seconds: a working day.
SESSION_S = 12 * 3600

_NEVER_KEPT = {"Cache-Control": "no-store"}

router = APIRouter(prefix=SESSION_PATH, tags=["session"])


@router.post("", summary="Sign in", responses={200: {"model": SessionDocument}, **documented(401, 403, 503)})
async def sign_in(request: Request, deps: Provided) -> Response:
    """Send the key as `Authorization: Bearer`; the answer sets a cookie that scripts cannot read and other sites cannot
    send. To change anything with it, send `csrf_token` as `X-CSRF-Token`."""
    key = _key(request)
    if request.scope["attributor.session"] is not None:
        raise Unauthorized("a session is opened with a key, not with another session: send Authorization: Bearer <key>")
    session = new_session()
    await deps.keys.open_session(digest_of(session), key.id, SESSION_S)
    audit("signed_in", key=key.id, tenant=key.tenant, client=client_of(request.scope))
    response = as_json(_document(key, session), headers=_NEVER_KEPT)
    _set_cookie(request, response, session, SESSION_S)
    return response


@router.get("", summary="Who is signed in", responses={200: {"model": SessionDocument}, **documented(401, 503)})
async def signed_in(request: Request) -> Response:
    """The tenant and what the key opens; `csrf_token` again, for a page that was loaded anew."""
    return as_json(_document(_key(request), request.scope["attributor.session"]), headers=_NEVER_KEPT)


@router.delete(
    "",
    status_code=204,
    summary="Sign out",
    responses={204: {"description": "Signed out."}, **documented(401, 403, 503)},
)
async def sign_out(request: Request, deps: Provided) -> Response:
    """End the session at once, wherever its cookie was copied to."""
    key, session = _key(request), request.scope["attributor.session"]
    response = Response(status_code=204)
    if session is not None:
        await deps.keys.close_session(digest_of(session))
        audit("signed_out", key=key.id, tenant=key.tenant, client=client_of(request.scope))
        _set_cookie(request, response, "", 0)
    return response


def _set_cookie(request: Request, response: Response, session: str, max_age_s: int) -> None:
    name, secure = cookie_name(request.scope, request.headers), is_secure(request.scope, request.headers)
    response.set_cookie(name, session, max_age=max_age_s, httponly=True, samesite="strict", secure=secure, path="/")


def _key(request: Request) -> ApiKey:
    key = request.scope.get("attributor.key")
    if not isinstance(key, ApiKey):
        raise Unauthorized("this service asks for no keys: there is nothing to sign in to")
    return key


def _document(key: ApiKey, session: str | None) -> dict[str, object]:
    return {
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "csrf_token": None if session is None else csrf_token(session),
    }
