"""What the routes are given: the ports and the limits, wired by `bootstrap.api`."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from attributor.ports import Fleet, JobEvents, JobQueue, JobStore, ModelCatalog


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for."""

    max_body_bytes: int
    max_inputs: int
    max_wait_s: float
    predict_timeout_s: float


@dataclass(frozen=True, slots=True)
class Deps:
    """The ports behind the API. `draining` is set at shutdown: open streams end then."""

    queue: JobQueue
    store: JobStore
    events: JobEvents
    fleet: Fleet
    catalog: ModelCatalog
    limits: Limits
    draining: asyncio.Event = field(default_factory=asyncio.Event)


def _deps(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


def _tenant() -> str:
    """There is one tenant until there are API keys."""
    return "default"


Provided = Annotated[Deps, Depends(_deps)]
Tenant = Annotated[str, Depends(_tenant)]
