"""Does memory stay flat over 20,000 mixed jobs? The real service: HTTP, store, workers.

Two real bundles, one of texts of any length and one that raises; all methods of the engine, layers, several targets and
inputs, predictions, bad requests, failures, and cancellations at any moment. Prints the memory of each process after
2,000 and after 20,000 jobs, and ends with status 1 where one has grown by more than 5 %.

Run: make soak, or .venv/bin/python -m benchmarks.soak [--jobs N] [--workers N]
"""

import argparse
import asyncio
import collections
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from benchmarks.soak_jobs import Wish, mixed, write_models

MODELS = Path(__file__).resolve().parent.parent / "models"
#: The bar: memory after all jobs over that after the first ones.
FIRST, MOST_GROWTH = 2_000, 1.05
CLIENTS = 24
READY_WITHIN_S, QUIET_WITHIN_S = 120.0, 120.0
#: After so long workers have given back what is free, and the store has tidied up.
RESTED_S = 8.0


def main() -> int:
    asked = argparse.ArgumentParser()
    asked.add_argument("--jobs", type=int, default=20_000)
    asked.add_argument("--workers", type=int, default=1)
    given = asked.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the service is stopped then, too
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), given.workers)
        try:
            return asyncio.run(soak(service, given.jobs))
        finally:
            service.stop()


class Service:
    """`attributor serve` on models of its own."""

    def __init__(self, folder: Path, workers: int) -> None:
        models = folder / "models"
        for name in ("breast-cancer", "digits"):
            shutil.copytree(MODELS / name, models / name, ignore=shutil.ignore_patterns("__pycache__"))
        write_models(models)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.log = folder / "service.log"
        command = [sys.executable, "-m", "attributor", "serve", "--port", str(self.port), "--models", str(models)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--data-dir", str(folder / "data"), "--workers", str(workers)], stdout=log, stderr=log
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> dict[str, int]:
        """Proportional set size by process, bytes: what each takes, with its share of what it shares."""
        found: dict[str, int] = collections.Counter()
        for child in psutil.Process(self._process.pid).children():
            words = child.cmdline()
            name = words[words.index("attributor") + 1] if "attributor" in words else "store"
            found[name] += sum(each.memory_full_info().pss for each in (child, *child.children(recursive=True)))
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@dataclass
class Told:
    """What became of the jobs."""

    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    strange: list[str] = field(default_factory=list)


async def soak(service: Service, n_jobs: int) -> int:
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=limits) as client:
        await ready(client)
        wishes, told = mixed(random.Random(0), n_jobs), Told()
        began = time.monotonic()
        rows = [await held_after(service, client, wishes, min(FIRST, n_jobs), told)]
        rows.append(await held_after(service, client, wishes, n_jobs - min(FIRST, n_jobs), told))
    return report(rows, told, n_jobs, time.monotonic() - began)


async def held_after(
    service: Service, client: httpx.AsyncClient, wishes: Iterator[Wish], n: int, told: Told
) -> dict[str, int]:
    """Memory once so many more jobs have ended."""
    left = iter(range(n))

    async def work() -> None:
        for _ in left:
            await ask(client, next(wishes), told)

    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    await quiet(client)
    return service.memory()


async def ask(client: httpx.AsyncClient, wish: Wish, told: Told) -> None:
    told.kinds[wish.kind] += 1
    if wish.cancelled_after_s is not None:
        job = (await client.post(wish.path, json=wish.body)).headers["Location"]
        await asyncio.sleep(wish.cancelled_after_s)
        found = await client.delete(job)
        if found.status_code not in (200, 202, 204):
            told.strange.append(f"{wish.kind}: {found.status_code} {found.text[:200]}")
        return
    found = await client.post(wish.path, json=wish.body, headers={"Prefer": "wait=60"})
    state = found.json().get("state", "succeeded") if found.status_code == httpx.codes.OK else wish.state
    if (found.status_code, state) != (wish.status, wish.state):
        told.strange.append(f"{wish.kind}: {found.status_code} {found.text[:200]}")


async def ready(client: httpx.AsyncClient) -> None:
    """Until the service says so, and every model is proven."""
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end:
        try:
            health = (await client.get("/health/ready")).json()
            if "failed" in health["models"].values():
                raise SystemExit(f"a model failed its proof: {health['models']}")
            if health["models"] and set(health["models"].values()) == {"ready"}:
                return
        except (httpx.TransportError, KeyError):
            pass
        await asyncio.sleep(0.2)
    raise SystemExit("the service did not become ready")


async def quiet(client: httpx.AsyncClient) -> None:
    """Until no job waits or runs, and what ended is tidied up."""
    end = time.monotonic() + QUIET_WITHIN_S
    for state in ("queued", "running"):
        while (await client.get("/v1/attributions", params={"state": state, "limit": 1})).json()["attributions"]:
            if time.monotonic() > end:
                raise SystemExit(f"jobs stay {state}")
            await asyncio.sleep(0.2)
    await asyncio.sleep(RESTED_S)


def report(rows: list[dict[str, int]], told: Told, n_jobs: int, seconds: float) -> int:
    first, last = rows
    print(f"{n_jobs:,} jobs in {seconds:,.0f} s ({n_jobs / seconds:,.0f}/s): ", end="")
    print(", ".join(f"{n} {kind}" for kind, n in told.kinds.most_common()))
    print(f"{'process':<10}{f'after {FIRST:,}':>16}{f'after {n_jobs:,}':>16}{'ratio':>8}")
    grown = []
    for name in sorted(first):
        ratio = last[name] / first[name]
        kept = " (keeps every result)" if name == "store" else ""
        print(f"{name:<10}{first[name] / 1e6:>13.1f} MB{last[name] / 1e6:>13.1f} MB{ratio:>8.3f}{kept}")
        grown += [name] if name != "store" and ratio > MOST_GROWTH else []
    for line in told.strange[:10]:
        print(f"strange: {line}")
    if grown:
        print(f"more than {MOST_GROWTH:.2f}: {', '.join(grown)}")
    return int(bool(grown or told.strange))


if __name__ == "__main__":
    sys.exit(main())
