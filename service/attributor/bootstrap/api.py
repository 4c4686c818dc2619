"""Settings to the API process: store, catalog, application, server."""

import asyncio
import gc
import logging
import math
import sys

import uvicorn
import uvloop
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from attributor.api.app import create_app
from attributor.api.dependencies import Deps, Limits
from attributor.api.gate import Gate, OwnPages
from attributor.api.observed import Observed
from attributor.api.quick import Application
from attributor.api.recent_reports import RecentReports
from attributor.bootstrap.exits import EXIT_CONFIG
from attributor.bootstrap.http_server import Http, Server
from attributor.bootstrap.observing import TracedQueue, observed
from attributor.bootstrap.shared_port import shared_sockets
from attributor.bootstrap.store import open_store, queue_policy, result_store
from attributor.errors import BundleError
from attributor.registry.catalog import FolderCatalog
from attributor.settings import Settings
from attributor.storage.connection import RedisStore
from attributor.storage.redis_events import RedisJobEvents
from attributor.storage.redis_fleet import RedisFleet
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_keys import RedisKeys
from attributor.storage.redis_quarantine import RedisQuarantine
from attributor.storage.redis_queue import RedisJobQueue
from attributor.telemetry.logs import configure_logging
from attributor.telemetry.tracing import Tracing

log = logging.getLogger(__name__)


#: When the collector looks at new objects, at those that outlived a look, and at all. Ours: by Python's own
#: (700, 10, 10) it walks through an answer with 64 results again and again while that is read and written, and finds
#: nothing.
COLLECTED_AT = (50_000, 20, 20)


#: Browsers need not ask again for so long. Ours: what it says changes with the settings only.
PREFLIGHT_S = 600


def run_api(settings: Settings, redis_url: str, *, shares_port: bool = False) -> None:
    """Serve HTTP until told to stop. Exits with EXIT_CONFIG if the address cannot be had. `shares_port`: with other
    processes that say so, too."""
    configure_logging(settings.log_level, "api", settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, redis_url, shares_port=shares_port))


async def _serve(settings: Settings, redis_url: str, *, shares_port: bool) -> None:
    async with (
        open_store(settings, redis_url) as store,
        RedisJobEvents(store) as events,
        observed("api", RedisFleet(store).count) as (tally, tracing),
    ):
        catalog = FolderCatalog(settings.models_dir)
        for ref, problem in catalog.problems.items():
            log.warning("model %s is left out: %s", ref, problem)
        deps = wire(settings, store, events, catalog, tracing)
        app = create_app(deps)
        config = uvicorn.Config(
            Observed(app, _guarded(app, settings, deps), tally, tracing),
            host=settings.api.host,
            port=settings.api.port,
            lifespan="off",
            http=Http,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=math.ceil(settings.api.shutdown_grace_s),
        )
        server = Server(config, deps.draining)
        try:
            sockets = shared_sockets(settings.api.host, settings.api.port) if shares_port else None
        except OSError as error:
            log.error("cannot listen on %s:%d: %s", settings.api.host, settings.api.port, error.strerror)
            sys.exit(EXIT_CONFIG)
        _spare_the_collector()
        looking = asyncio.create_task(_follow(catalog, settings.models_rescan_s))
        try:
            await server.serve(sockets)
        except SystemExit:  # uvicorn's way of saying that it could not bind; it has logged why
            sys.exit(EXIT_CONFIG)
        finally:
            looking.cancel()


def _guarded(app: Application, settings: Settings, deps: Deps) -> ASGIApp:
    """The application behind its gate, and before both what browsers ask of pages elsewhere."""
    origins = settings.api.cors_origins
    guarded: ASGIApp = Gate(app, deps.keys) if settings.needs_keys else OwnPages(app, origins)
    if not origins:
        return guarded
    # Without credentials: a page elsewhere comes with a key, not with this host's cookie.
    return CORSMiddleware(
        guarded,
        allow_origins=origins,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "Prefer"],
        max_age=PREFLIGHT_S,
        expose_headers=["ETag", "Idempotency-Replayed", "Location", "Preference-Applied", "Retry-After"],
    )


def _spare_the_collector() -> None:
    """Python's collector of cycles looks at all that lives, again and again; most of it is the application, which
    stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)


async def _follow(catalog: FolderCatalog, every_s: float) -> None:
    """Look at the folder of models again and again, in a thread."""
    while True:
        await asyncio.sleep(every_s)
        try:
            changes = await asyncio.to_thread(catalog.refresh)
        except BundleError as error:
            log.warning("the models stay as they were: %s", error.detail)
            continue
        except Exception:  # of a file that nobody vouches for: the next look must come
            log.exception("the models stay as they were")
            continue
        for what in ("added", "changed", "removed"):
            for ref in getattr(changes, what):
                log.info("model %s was %s", ref, what)
        for ref, problem in changes.broken.items():
            log.warning("model %s is left out: %s", ref, problem)


def wire(
    settings: Settings,
    store: RedisStore,
    events: RedisJobEvents,
    catalog: FolderCatalog,
    tracing: Tracing | None = None,
) -> Deps:
    """The adapters behind the API's ports."""
    api, policy = settings.api, queue_policy(settings)
    return Deps(
        queue=RedisJobQueue(store, policy) if tracing is None else TracedQueue(store, policy, tracing),
        store=RedisJobStore(store, result_store(settings, store)),
        quarantine=RedisQuarantine(store),
        keys=RedisKeys(store),
        events=events,
        fleet=RecentReports(RedisFleet(store)),
        catalog=catalog,
        limits=Limits(
            max_body_bytes=api.max_body_bytes,
            max_inputs=api.max_inputs,
            max_wait_s=api.max_wait_s,
            predict_timeout_s=api.predict_timeout_s,
        ),
        shares_answers=settings.store.cache_bytes > 0,
    )
