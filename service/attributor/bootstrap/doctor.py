"""What stands in the way of the service, found before its users do: its store, its models, its workers."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from attributor.bootstrap.store import open_store
from attributor.errors import AttributorError
from attributor.jobs.model import ModelReport, Readiness
from attributor.registry.catalog import FolderCatalog
from attributor.settings import Settings
from attributor.storage.checkup import check_store
from attributor.storage.embedded import EmbeddedStore, find_server
from attributor.storage.findings import Finding, Level
from attributor.storage.redis_fleet import RedisFleet
from attributor.storage.redis_keys import RedisKeys


def findings(settings: Settings) -> Iterator[Finding]:
    """Everything that was looked at, as it is found."""
    yield from _models(settings.models_dir)
    url = settings.store.redis_url
    if url is None:
        embedded = EmbeddedStore(settings.store.data_dir)
        if embedded.lost():
            yield from _not_running(settings.store.data_dir)
            return
        url = embedded.url
    usable = True
    for finding in check_store(url, settings.store.namespace):
        usable = usable and finding.level is not Level.PROBLEM
        yield finding
    if usable:
        try:
            yield from asyncio.run(_keys(settings, url))
            yield from asyncio.run(_fleet(settings, url))
        except AttributorError as error:
            yield Finding(Level.PROBLEM, "keys, workers", f"not known: {error.detail}", "ask again")


def _models(folder: Path) -> Iterator[Finding]:
    if not os.access(folder, os.R_OK | os.X_OK) or not folder.is_dir():  # in this order: `is_dir` may not be allowed
        remedy = "pass --models, or set ATTRIBUTOR_MODELS_DIR"
        yield Finding(Level.PROBLEM, "models", f"there is no folder {folder} that can be read", remedy)
        return
    catalog = FolderCatalog(folder)
    found, broken = catalog.all(), catalog.problems
    for ref, why in broken.items():
        yield Finding(Level.PROBLEM, "models", f"{ref}: {why}", "attributor models check says more")
    if found:
        names = [f"{each.name}@{each.version}" for each in found]
        yield Finding(Level.OK, "models", f"{len(found)} in {folder}: {', '.join(names)}")
    elif not broken:
        yield Finding(Level.WARNING, "models", f"none in {folder}", "attributor models new makes one")


def _not_running(data_dir: Path) -> Iterator[Finding]:
    try:
        program = find_server()
    except AttributorError as error:
        yield Finding(Level.PROBLEM, "store", error.detail)
        return
    nearest = next(each for each in (data_dir.absolute(), *data_dir.absolute().parents) if os.access(each, os.F_OK))
    if not os.access(nearest, os.W_OK | os.X_OK):
        remedy = "choose another with --data-dir, or give the service's user the right to write there"
        yield Finding(Level.PROBLEM, "store", f"{nearest} cannot be written to", remedy)
        return
    said = f"embedded, does not run now; `attributor serve` starts {program}, with its data in {data_dir}"
    yield Finding(Level.OK, "store", said)


async def _keys(settings: Settings, url: str) -> list[Finding]:
    if not settings.needs_keys:
        return []
    async with open_store(settings, url) as store:
        count = len(await RedisKeys(store).all())
    if not count:
        return [Finding(Level.WARNING, "keys", "none: every request is refused", "attributor keys create makes one")]
    return [Finding(Level.OK, "keys", f"{count} API key{'s' * (count > 1)}")]


async def _fleet(settings: Settings, url: str) -> list[Finding]:
    async with open_store(settings, url) as store:
        fleet = RedisFleet(store)
        n_workers, reports = await fleet.workers_alive(), await fleet.model_reports()
    if not n_workers:
        remedy = "start `attributor worker`, or `attributor serve`, which has some"
        return [Finding(Level.WARNING, "workers", "none: jobs are taken, and wait", remedy)]
    return [Finding(Level.OK, "workers", f"{n_workers} alive"), *map(_report, reports.values())]


def _report(report: ModelReport) -> Finding:
    if report.readiness is Readiness.FAILED:
        return Finding(Level.PROBLEM, "models", f"{report.ref} cannot be served: {report.reason}")
    return Finding(Level.OK, "models", f"{report.ref} is {report.readiness} on the workers")
