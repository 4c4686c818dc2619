"""The HTTP application: routers, error handlers, limits and the interactive docs, given the ports."""

from functools import partial
from typing import Any

from fastapi_swagger import patch_fastapi

from attributor import __version__
from attributor.api import problems
from attributor.api.body_limit import BodyLimit
from attributor.api.dependencies import Deps
from attributor.api.gate import COOKIE, CSRF_HEADER, is_open, scope_for
from attributor.api.quick import Application
from attributor.api.routes import (
    attributions,
    estimates,
    health,
    metrics,
    models,
    problem_pages,
    quarantine,
    results,
    session,
)

DESCRIPTION = """Integrated gradients over HTTP: how much each feature of an input contributed to a model's score, with
the completeness error of that very answer.

Create a job with `POST /v1/attributions`, then poll its `Location`, watch its events, or wait with `Prefer: wait=10`.
Every error is an RFC 9457 problem document with a stable `code`."""


def create_app(deps: Deps) -> Application:
    """The application. It opens and closes nothing: whoever made the ports does."""
    app = Application(
        title="Attributor",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        # The framework's own knows nothing of the quick ways; `observed.py` traces all.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        most_bytes=deps.limits.max_body_bytes,
        quick={attributions.router.prefix: partial(attributions.quickly_created, deps)},
    )
    app.state.deps = deps
    for router in (
        attributions.router,
        results.router,
        estimates.router,
        models.router,
        quarantine.router,
        health.router,
        metrics.router,
        session.router,
        problem_pages.router,
    ):
        app.include_router(router)
    problems.install(app)
    app.add_middleware(BodyLimit, max_bytes=deps.limits.max_body_bytes)
    # Swagger UI from the installed package: the docs work where no other host can be reached.
    patch_fastapi(app, docs_url="/docs", redirect_from_root_to_docs=True)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        return _with_keys(_with_overlapping_forms(_with_problem_media_type(plain())))

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _with_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Where the gate stands, each of its refusals may be the answer."""
    document.setdefault("components", {})["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, where the service asks for them."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": f"Of a browser that signed in; changes need {CSRF_HEADER}, too. Over TLS: __Host-{COOKIE}.",
        },
    }
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in document["paths"].items():
        if is_open(path):
            continue
        for method, operation in operations.items():
            scope = scope_for(method.upper(), path)
            scopes = [] if scope is None else [scope.value]
            operation["security"] = [{"key": scopes}, {"session": scopes}, {}]
            for status, title in (("401", "No key, or an unknown one"), ("403", "The key does not open this")):
                operation["responses"].setdefault(status, {"description": title, "content": content})
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return document


def _with_problem_media_type(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI writes every documented body as application/json; ours for errors is application/problem+json."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
                if int(status) >= 400 and reference.endswith("/Problem"):
                    content[problems.MEDIA_TYPE] = content.pop("application/json")
    return document


def _with_overlapping_forms(document: dict[str, Any]) -> dict[str, Any]:
    """Pydantic writes the forms of a field as oneOf. Ours are told apart by a rule and overlap in what they allow: an
    object with a kind could be one by name of input. Then anyOf is what is meant."""
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "oneOf" in value and "discriminator" not in value:
                value["anyOf"] = value.pop("oneOf")
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return document
