"""What the routes are given: the ports and the limits, wired by `bootstrap.api`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from attributor.api.known_asks import KnownAsks
from attributor.api.last_read import LastRead
from attributor.jobs.access import ANYBODY, Caller
from attributor.ports import FleetView, JobEvents, JobQueue, JobStore, KeyStore, ModelCatalog, Quarantine


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for."""

    max_body_bytes: int
    max_inputs: int
    max_wait_s: float
    predict_timeout_s: float


@dataclass(frozen=True, slots=True)
class Deps:
    """The ports behind the API. `draining` is set at shutdown: open streams end then. `last_read`: of a job whose
    results are read page by page. `known_asks`: of requests that were found to be sound. `shares_answers`: whether the
    queue answers equal questions with one computation, so that it is worth while to tell it which are equal."""

    queue: JobQueue
    store: JobStore
    quarantine: Quarantine
    events: JobEvents
    fleet: FleetView
    catalog: ModelCatalog
    limits: Limits
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    last_read: LastRead = field(default_factory=LastRead)
    known_asks: KnownAsks = field(default_factory=KnownAsks)
    keys: KeyStore = field(kw_only=True)
    shares_answers: bool = field(default=True, kw_only=True)


# Coroutines, because the framework gives each plain function a turn in a thread.
async def provided(request: Request) -> Deps:
    """What the application was made with."""
    deps: Deps = request.app.state.deps
    return deps


async def caller_of(request: Request) -> Caller:
    """In whose name a request comes, as the gate found; anybody may anything where there is none."""
    caller: Caller = request.scope.get("attributor.caller", ANYBODY)
    return caller


async def tenant_of(request: Request) -> str:
    """Whose jobs a request is about."""
    return (await caller_of(request)).tenant


async def still_opens_of(request: Request) -> Callable[[], Awaitable[bool]]:
    """Says whether what a request came with is still good; it always is where nothing is asked for."""
    still_opens: Callable[[], Awaitable[bool]] = request.scope.get("attributor.still_opens", _always)
    return still_opens


async def _always() -> bool:
    return True


Provided = Annotated[Deps, Depends(provided)]
Called = Annotated[Caller, Depends(caller_of)]
StillOpens = Annotated[Callable[[], Awaitable[bool]], Depends(still_opens_of)]
Tenant = Annotated[str, Depends(tenant_of)]
