"""Processes of a service under load are killed and frozen at random: is anything lost, or done twice?

Every accepted job must end in exactly one result or one stated failure that stays, be there once, and leave nothing
behind in the store. Two API processes, two workers and the embedded store, all real; among the jobs are some that kill
their worker.

Run: make chaos, or .venv/bin/python tests/e2e/chaos.py [--minutes N] [--jobs N] [--seed N]
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from bundles import write_bundle
from e2e.conftest import RAISES, SETTINGS, SLOW
from e2e.live import ENDED, Service, pair, slow, start

KILLS = """
import os
import signal
from torch import nn

class Kills(nn.Module):
    def forward(self, x):
        if (x[:, 0] > 100).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return x

def build():
    return Kills()
"""
ENVIRONMENT = SETTINGS | {"ATTRIBUTOR_API__PROCESSES": "2", "ATTRIBUTOR_WORKER__PROCESSES": "2"}
#: So many jobs come at once, that workers hold several when they are hit.
BURST = 25
#: Frozen for so long, seconds: shorter and longer than a lease.
FROZEN_S = (0.3, 4.0)
#: After the last blow everything must have ended by then, seconds.
SETTLED_WITHIN_S = 120.0
#: What must be gone from the store in the end.
LEFT_NOWHERE = ("ready", "ring", "flight", "followers", "leases", "suspects", "deadlines", "costs", "queued_of")


@dataclass
class Wish:
    """A job to be asked for. `ends`: the state it must end in; `expected`: the attributions, where they are known."""

    body: dict[str, Any]
    ends: str
    expected: tuple[float, float] | None = None


@dataclass
class Report:
    """What came of it."""

    ids: dict[str, Wish] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    blows: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def wish(choose: Random, number: int, n_poison: int) -> Wish:
    """The job of that number: mostly short ones, some of several passes, some that fail, few that kill."""
    if number < n_poison:
        return Wish(pair("kills", 1000.0 + number), "failed")
    kind = choose.random()
    if kind < 0.4:
        return Wish(slow(choose.randint(1, 12)), "succeeded")
    if kind < 0.45:
        return Wish(pair("raises", 200.0), "failed")
    a, b = round(choose.uniform(0.1, 90), 3), round(choose.uniform(0.1, 90), 3)
    # Its probability is that of a difference of b between the scores, and half of it at the baseline.
    return Wish(pair("raises", a, b), "succeeded", (0.0, 1 / (1 + exp(-b)) - 0.5))


def write_models(folder: Path) -> Path:
    """The bundles that the jobs are for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, code in {"slow": SLOW, "raises": RAISES, "kills": KILLS}.items():
        write_bundle(folder, name, code=code)
    return folder


async def _answered(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    """An answer, however often it takes: a client that asks again after a lost connection and a 503, as told."""
    while True:
        with suppress(httpx.TransportError):
            response = await client.request(method, path, **more)
            if response.status_code not in (503, 500):
                return response
            assert response.status_code == 503, response.text
            assert int(response.headers["Retry-After"]) > 0
        await asyncio.sleep(0.2)


async def _one(client: httpx.AsyncClient, number: int, asked: Wish, report: Report) -> None:
    headers = {"Idempotency-Key": f"chaos {number}"}
    response = await _answered(client, "POST", "/v1/attributions", json=asked.body, headers=headers)
    assert response.status_code in (200, 202), response.text
    path = response.headers["Location"]
    again = await _answered(client, "POST", "/v1/attributions", json=asked.body, headers=headers)
    if again.headers["Location"] != path:
        report.wrong.append(f"{path} was accepted once more as {again.headers['Location']}")
    report.ids[path] = asked
    while True:
        response = await _answered(client, "GET", path, headers={"Prefer": "wait=2"})
        if response.status_code != 200:
            report.wrong.append(f"{path} was lost: {response.text}")
            return
        if response.json()["state"] in ENDED:
            break
    _judge(response.json(), asked, report)


def _judge(job: dict[str, Any], asked: Wish, report: Report) -> None:
    report.ends[job["state"] if job["error"] is None else job["error"]["code"]] += 1
    report.attempts[job["attempts"]] += 1
    lost = job["error"] is not None and job["error"]["code"] == "worker_lost"
    if job["state"] != asked.ends and not lost:
        report.wrong.append(f"{job['id']} should have {asked.ends}: {job['error'] or job['state']}")
    if job["state"] == "succeeded" and asked.expected is not None:
        [result] = job["results"]
        found = result["attributions"]["features"]["data"]
        if max(abs(one - other) for one, other in zip(found, asked.expected, strict=True)) > 0.01:
            report.wrong.append(f"{job['id']} says {found}, not {asked.expected}")


def _processes(service: Service) -> dict[str, list[psutil.Process]]:
    found: dict[str, list[psutil.Process]] = {"api": [], "worker": [], "store": []}
    for child in psutil.Process(service.process.pid).children():
        with suppress(psutil.Error):
            words = child.cmdline()
            if child.status() != psutil.STATUS_ZOMBIE and words:
                found[words[words.index("attributor") + 1] if "attributor" in words else "store"].append(child)
    return found


async def _disturb(service: Service, choose: Random, until: float, report: Report) -> None:
    """A blow every few seconds. Workers are hit most: they hold the jobs."""
    while time.monotonic() < until:
        await asyncio.sleep(choose.uniform(0.5, 4.0))
        kind = choose.choice(["worker", "worker", "worker", "api", "store"])
        if not (there := _processes(service)[kind]):
            continue
        victim = choose.choice(there)
        with suppress(psutil.NoSuchProcess):
            if choose.random() < 0.6:
                victim.send_signal(signal.SIGKILL)
                report.blows[f"{kind} killed"] += 1
            else:
                victim.send_signal(signal.SIGSTOP)
                report.blows[f"{kind} frozen"] += 1
                await asyncio.sleep(choose.uniform(*FROZEN_S))
                victim.send_signal(signal.SIGCONT)


async def _left_in(store_dir: Path) -> list[str]:
    """What is in the store that should not be, once all has ended."""
    async with RedisStore(EmbeddedStore(store_dir).url) as store:
        rows = await store.call("HGETALL", store.keys.key("counters"))
        counters = {name.decode(): int(n) for name, n in zip(rows[::2], rows[1::2], strict=True)}
        wrong = [f"{name} is {counters[name]}" for name in ("queued", "running", "cost") if counters.get(name)]
        for name in LEFT_NOWHERE:
            keys = await store.call("KEYS", store.keys.key(name) + "*")
            wrong += [f"{key.decode()} is left" for key in keys]
        return wrong


async def chaos(service: Service, *, seconds: float, n_jobs: int, n_poison: int, seed: int) -> Report:
    """Bursts of jobs all the time, and blows until it is over; then what came of all."""
    choose, report = Random(seed), Report()
    wishes = [wish(choose, number, n_poison) for number in range(n_jobs)]
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=service.url, timeout=15) as client, asyncio.TaskGroup() as tasks:
        disturbing = tasks.create_task(_disturb(service, choose, began + seconds, report))
        asking = []
        for number, asked in enumerate(wishes):
            come_s = 0.9 * seconds * (number - number % BURST) / n_jobs
            await asyncio.sleep(max(0.0, began + come_s - time.monotonic()))
            asking.append(tasks.create_task(_one(client, number, asked, report)))
        await disturbing
        _, late = await asyncio.wait(asking, timeout=SETTLED_WITHIN_S)
        report.wrong += [f"{len(late)} jobs have not ended" for _ in late][:1]
        for task in late:
            task.cancel()
    await _look_again(service, report)
    if not report.wrong:
        report.wrong += await _left_in(service.data_dir)
    if len(report.ids) != n_jobs:
        report.wrong.append(f"{len(report.ids)} ids for {n_jobs} jobs")
    return report


async def _look_again(service: Service, report: Report) -> None:
    """What was seen must be what stays, and there must be as many jobs as were accepted."""
    ends: Counter[str] = Counter()
    async with httpx.AsyncClient(base_url=service.url, timeout=15) as client:
        listed: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await _answered(client, "GET", "/v1/attributions", params={"limit": 100, **cursor})).json()
            listed += [job["links"]["self"] for job in page["attributions"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        for path in report.ids:
            job = (await _answered(client, "GET", path)).json()
            ends[job["state"] if job["error"] is None else job["error"]["code"]] += 1
    if sorted(listed) != sorted(report.ids):
        report.wrong.append(f"{len(listed)} jobs are listed, {len(report.ids)} were accepted")
    if ends != report.ends:
        report.wrong.append(f"ends have changed: first {dict(report.ends)}, then {dict(ends)}")


def main() -> int:
    asked = argparse.ArgumentParser()
    asked.add_argument("--minutes", type=float, default=10.0)
    asked.add_argument("--jobs", type=int, default=2000)
    asked.add_argument("--poison", type=int, default=5)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = start(write_models(Path(folder) / "models"), Path(folder) / "service", ENVIRONMENT)
        try:
            service.await_ready(workers=2)
            found = asyncio.run(
                chaos(service, seconds=60 * given.minutes, n_jobs=given.jobs, n_poison=given.poison, seed=given.seed)
            )
        finally:
            service.stop()
    print(f"{len(found.ids)} jobs; ends: {dict(found.ends)}; attempts: {dict(sorted(found.attempts.items()))}")
    print(f"blows: {dict(found.blows)}")
    for wrong in found.wrong:
        print(f"WRONG: {wrong}")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
