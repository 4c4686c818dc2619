"""Settings to a worker process: store, registry, engine, loop."""

import asyncio
import importlib.util
import logging
import os
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import replace

from attributor.bootstrap.store import open_store, queue_policy
from attributor.comparators.captum_process import REQUIRED, CaptumProcess, ComparatorPolicy
from attributor.engine.engine import Engine
from attributor.errors import StoreUnavailable
from attributor.registry.catalog import FolderCatalog
from attributor.registry.registry import Registry
from attributor.runtimes.torch_runtime import configure_threads
from attributor.settings import Settings
from attributor.storage.redis_fleet import RedisFleet
from attributor.storage.redis_queue import RedisJobQueue
from attributor.telemetry import configure_logging
from attributor.worker.loop import WorkerLoop, WorkerPolicy
from attributor.worker.process import end_hung, run_until_signalled

log = logging.getLogger(__name__)


def run_worker(settings: Settings, redis_url: str) -> None:
    """Load every model, put each to the proof, then work until told to stop."""
    configure_logging(settings.log_level, "worker")
    configure_threads(settings.worker.threads)
    registry = Registry(device=settings.worker.device, max_points=settings.worker.max_points)
    catalog = FolderCatalog(settings.models_dir)
    lacking = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if lacking:
        log.info("no comparators: %s not installed (extra `comparators`)", " and ".join(lacking))
    reports = [replace(report, comparators=not lacking) for report in registry.load_all(catalog)]
    for report in reports:
        level = logging.WARNING if report.reason else logging.INFO
        log.log(level, "model %s: %s%s", report.ref, report.readiness, f" ({report.reason})" if report.reason else "")
    if not reports:
        log.warning("there are no bundles in %s: nothing can be served; see models/README.md", settings.models_dir)
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

    async def work(stop: asyncio.Event) -> None:
        async with open_store(settings, redis_url) as store:
            fleet = RedisFleet(store)
            for report in reports:
                await fleet.report_model(report)
            queue = RedisJobQueue(store, queue_policy(settings))
            policy = WorkerPolicy(
                max_active_jobs=settings.worker.max_active_jobs,
                max_comparators=settings.worker.max_comparators,
                beat_s=settings.worker.beat_s,
                step_timeout_s=settings.worker.step_timeout_s,
                drain_s=settings.worker.drain_s,
            )
            engine = Engine(registry, time.monotonic)
            comparator = CaptumProcess(registry, lambda ref: catalog.bundle(ref).folder, _comparator_policy(settings))
            ports = (queue, fleet, comparator)
            log.info("ready as %s", worker_id)
            await WorkerLoop(worker_id, ports, engine, policy, time.monotonic, end_hung).run(stop)
            with suppress(StoreUnavailable):  # then it is missed a few seconds later
                await fleet.worker_left(worker_id)

    run_until_signalled(work)


def _comparator_policy(settings: Settings) -> ComparatorPolicy:
    worker = settings.worker
    return ComparatorPolicy(
        timeout_s=worker.comparator_timeout_s,
        most_at_once=worker.max_comparators,
        device=worker.device,
        threads=worker.threads,
    )
