"""Settings to a worker process: store, registry, engine, loop."""

import asyncio
import importlib.util
import logging
import os
import secrets
import socket
import time
from contextlib import suppress

import torch

from attributor.bootstrap.exits import EXIT_RECYCLED
from attributor.bootstrap.heartbeat import heartbeat
from attributor.bootstrap.observing import observed
from attributor.bootstrap.store import open_store, queue_policy, result_store
from attributor.comparators.captum_process import REQUIRED, CaptumProcess, ComparatorPolicy
from attributor.engine.engine import Engine
from attributor.errors import StoreUnavailable
from attributor.ports import Fleet
from attributor.registry.catalog import FolderCatalog
from attributor.registry.keeper import Keeper
from attributor.registry.proof.trial import TrialLimits
from attributor.registry.registry import Registry
from attributor.runtimes.memory import resident_bytes
from attributor.runtimes.torch_runtime import configure_threads
from attributor.settings import Settings
from attributor.storage.redis_fleet import RedisFleet
from attributor.storage.redis_queue import RedisJobQueue
from attributor.telemetry.logs import configure_logging
from attributor.worker.collector import give_back_memory
from attributor.worker.counting import JobCounts, Observers
from attributor.worker.loop import STORE_RETRY_S, WorkerLoop
from attributor.worker.policy import WorkerPolicy
from attributor.worker.process import end_hung, run_until_signalled
from attributor.worker.recycling import RecyclingPolicy, recycle
from attributor.worker.tracing import JobTraces

log = logging.getLogger(__name__)

#: Added to the niceness of a worker on the processor, which takes whatever cores there are: API and store, which take
#: little, get them first. Ours; on two cores at ten times overload, answers about jobs took 214 ms (p99, median of
#: three rounds), and then 23.
_NICENESS = 5


def run_worker(settings: Settings, redis_url: str) -> int:
    """Work until told to stop, or until this process has had its time; returns the exit status, EXIT_RECYCLED then.

    Models are put to the proof beside the jobs, and loaded as jobs want them.
    """
    configure_logging(settings.log_level, "worker", settings.log_format)
    _configure_threads(settings.worker.threads)
    if settings.worker.device == "cpu":
        os.nice(_NICENESS)
    catalog = FolderCatalog(settings.models_dir)
    registry = Registry(
        device=settings.worker.device,
        max_points=settings.worker.max_points,
        memory_bytes=settings.worker.model_memory_bytes,
        allow_torch_export=settings.worker.allow_torch_export,
        trial=TrialLimits(settings.worker.trial_timeout_s, settings.worker.trial_memory_bytes),
    )
    lacking = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if lacking:
        log.info("no comparators: %s not installed (extra `comparators`)", " and ".join(lacking))
    keeper = Keeper(catalog, registry, comparators=not lacking)
    for ref, problem in catalog.problems.items():
        log.warning("model %s is left out: %s", ref, problem)
    if not catalog.all():
        log.warning("there are no bundles in %s that can be served; see models/README.md", settings.models_dir)
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

    def grown_bytes() -> int | None:
        """What this process holds beside its models, once it has seen all of them."""
        held = resident_bytes() if registry.n_known >= len(catalog.all()) else None
        return None if held is None else held - registry.resident_bytes

    async def work(stop: asyncio.Event) -> int:
        async with open_store(settings, redis_url) as store:
            fleet = RedisFleet(store)
            queue = RedisJobQueue(store, queue_policy(settings), result_store(settings, store))
            engine = Engine(registry, time.monotonic, job_vector_bytes=settings.worker.job_vector_bytes)
            comparator = CaptumProcess(registry, lambda ref: catalog.bundle(ref).folder, _comparator_policy(settings))
            ports = (queue, fleet, comparator, keeper)
            loop = WorkerLoop(worker_id, ports, engine, _policy(settings), time.monotonic, end_hung)
            log.info("working as %s on %s", worker_id, settings.worker.device)
            policy = RecyclingPolicy(settings.worker.recycle_growth_bytes, settings.worker.recycle_jobs)
            looking = asyncio.create_task(recycle(loop, policy, grown_bytes, give_back_memory, stop))
            async with observed("worker", fleet.count) as (tally, tracing):
                counts = JobCounts(tally)
                loop.observe(counts if tracing is None else Observers(counts, JobTraces(tracing)))
                async with heartbeat(settings.worker.heartbeat_file):
                    await _forget_the_dead(fleet, stop)
                    await loop.run(stop)
            with suppress(StoreUnavailable):  # then it is missed a few seconds later
                await fleet.worker_left(worker_id)
            return EXIT_RECYCLED if await looking else 0

    return run_until_signalled(work)


def _configure_threads(n: int) -> None:
    configure_threads(n)
    # Ours is one pass at a time: a second pool would only wait. Torch takes the number once.
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


async def _forget_the_dead(fleet: Fleet, stop: asyncio.Event) -> None:
    """Where no other worker lives, nothing that was reported of models is true any more. Waits for the store."""
    while not stop.is_set():
        try:
            if await fleet.workers_alive() == 0:
                for ref in await fleet.model_reports():
                    await fleet.forget_model(ref)
        except StoreUnavailable as error:
            log.warning("cannot begin: %s (%s)", error, error.__cause__)
            await asyncio.sleep(STORE_RETRY_S)
        else:
            return


def _policy(settings: Settings) -> WorkerPolicy:
    return WorkerPolicy(
        max_active_jobs=settings.worker.max_active_jobs,
        max_comparators=settings.worker.max_comparators,
        beat_s=settings.worker.beat_s,
        step_timeout_s=settings.worker.step_timeout_s,
        drain_s=settings.worker.drain_s,
        rescan_s=settings.models_rescan_s,
    )


def _comparator_policy(settings: Settings) -> ComparatorPolicy:
    worker = settings.worker
    return ComparatorPolicy(
        timeout_s=worker.comparator_timeout_s,
        most_at_once=worker.max_comparators,
        device=worker.device,
        threads=worker.threads,
        allow_torch_export=worker.allow_torch_export,
    )
