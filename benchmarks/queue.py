"""Our queue against saq, taskiq and celery, and against bare commands: the same nothing, on one server, in one run.

Jobs per second (all enqueued at once), latency from the call that enqueues to the result seen (one at a time), and how
long after `kill -9` of the worker that holds a job its result comes from another. Every queue as its documentation
advises for at-least-once, with the same time (5 s) after which a silent worker loses its jobs. Figures stand in
RESULTS.md.  Run (extra `queueing`): .venv/bin/python -m benchmarks.queue [--rounds N] [--only NAME ...] [--url URL]
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from attributor.storage.embedded import EmbeddedStore
from redis import Redis

from benchmarks.queueing import party as parties
from benchmarks.queueing.party import Party
from benchmarks.queueing.workers import Workers

WORKERS = 2
JOBS, WARM_JOBS, WAITING_JOBS = 2_000, 200, 2_000
RATE, PACED_S = 50, 6.0
#: How long a job is held before its worker is killed, and how long its result is waited for afterwards, seconds.
HELD_S, MOST_S = 2.0, 60.0
OTHERS_EVERY_S = 1.0


@dataclass
class Figures:
    """Of one party, a value per round."""

    rate: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    #: Processor time per job, ms: of the server, of the workers, of the client.
    cpu_ms: list[tuple[float, float, float]] = field(default_factory=list)
    #: What one job takes in the server while it waits, and once it has ended, bytes.
    waiting_bytes: list[float] = field(default_factory=list)
    ended_bytes: list[float] = field(default_factory=list)
    #: Seconds after the kill: where nothing else happens, and with another job each second.
    redelivered_s: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--only", nargs="*", default=[])
    asked.add_argument("--url", help="of a server to use, and to EMPTY; else the embedded store is started")
    asked.add_argument("--crashes", type=int, default=2, help="rounds of kills")
    given = asked.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the workers are stopped then, too
    with tempfile.TemporaryDirectory(prefix="queue-") as folder, _server(given.url, Path(folder)) as url:
        os.environ[parties.URL] = url
        chosen = [each for each in _all() if not given.only or each.name in given.only]
        figures = {each.name: Figures() for each in chosen}
        work = [(_measure, number, each) for number in range(given.rounds) for each in chosen]
        work += [(_killed_twice, number, each) for number in range(given.crashes) for each in chosen if each.keeps]
        for measure, number, each in work:
            print(f"{measure.__name__} {number + 1}: {each.name}", flush=True)
            Redis.from_url(url).flushall()
            workers = Workers(each.command, WORKERS, url, Path(folder) / f"{each.name}.log")
            try:
                uvloop.run(measure(each, figures[each.name], url, workers))
            finally:
                workers.stop()
        _report(figures, Redis.from_url(url).info("server"))


@contextmanager
def _server(url: str | None, folder: Path) -> Iterator[str]:
    if url:
        yield url
        return
    store = EmbeddedStore(folder / "store")
    store.start()
    try:
        yield store.url
    finally:
        store.stop()


def _all() -> list[Party]:
    """Clients read the store's address as they are imported."""
    from benchmarks.queueing.bare import Bare
    from benchmarks.queueing.ours import Ours
    from benchmarks.queueing.with_celery import CeleryParty
    from benchmarks.queueing.with_saq import Saq
    from benchmarks.queueing.with_taskiq import Taskiq

    return [Bare(), Ours(), Saq(), Taskiq(), CeleryParty()]


async def _measure(party: Party, into: Figures, url: str, workers: Workers) -> None:
    server = Redis.from_url(url)
    await party.open()
    await party.ask_all(WARM_JOBS)
    await _paced(party, into)
    await _burst(party, into, server, workers)
    workers.stop()
    held = _used(server)
    await party.put(WAITING_JOBS)
    into.waiting_bytes.append((_used(server) - held) / WAITING_JOBS)
    await party.close()


async def _killed_twice(party: Party, into: Figures, _: str, workers: Workers) -> None:
    for quiet in (True, False):
        await party.open()
        await party.ask_all(WARM_JOBS)
        with tempfile.TemporaryDirectory() as folder:
            into.redelivered_s[quiet].append(await _killed(party, workers, Path(folder), quiet=quiet))
        await party.close()


async def _paced(party: Party, into: Figures) -> None:
    """One at a time."""
    began, latencies = time.perf_counter(), []
    for number in range(round(RATE * PACED_S)):
        due = began + number / RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked = time.perf_counter()
        await party.ask()
        latencies.append(time.perf_counter() - asked)
    latencies.sort()
    into.p50_ms.append(1e3 * latencies[len(latencies) // 2])
    into.p99_ms.append(1e3 * latencies[int(0.99 * len(latencies))])


async def _burst(party: Party, into: Figures, server: Redis, workers: Workers) -> None:
    held, cpu = _used(server), (_cpu_s(server), workers.cpu_s(), time.process_time())
    began = time.perf_counter()
    await party.ask_all(JOBS)
    into.rate.append(JOBS / (time.perf_counter() - began))
    after = (_cpu_s(server), workers.cpu_s(), time.process_time())
    server_ms, workers_ms, client_ms = (1e3 * (b - a) / JOBS for a, b in zip(cpu, after, strict=True))
    into.cpu_ms.append((server_ms, workers_ms, client_ms))
    into.ended_bytes.append((_used(server) - held) / JOBS)


async def _killed(party: Party, workers: Workers, folder: Path, *, quiet: bool) -> float:
    """Seconds from the kill to the result; infinite if it does not come."""
    job = asyncio.create_task(party.hold(folder))
    others = None if quiet else asyncio.create_task(_others(party))
    while (pid := parties.holder(folder)) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.sleep(HELD_S)
    workers.kill(pid)
    began = time.perf_counter()
    await asyncio.wait([job], timeout=MOST_S)
    took = time.perf_counter() - began if job.done() else float("inf")
    for task in (job, others):
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    workers.add()
    return took


async def _others(party: Party) -> None:
    while True:
        await party.ask()
        await asyncio.sleep(OTHERS_EVERY_S)


def _cpu_s(server: Redis) -> float:
    used = server.info("cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]


def _used(server: Redis) -> int:
    return server.info("memory")["used_memory"]


def _report(figures: dict[str, Figures], server: dict) -> None:
    product = server.get("server_name") or "redis"
    version = server.get("valkey_version") or server["redis_version"]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(f"\n{product} {version}, {os.cpu_count()} cores, {WORKERS} workers, medians of rounds, commit {commit}")
    print("| queue | jobs/s (least to most) | ours | p50 / p99 ms | CPU ms a job: server, workers, client ", end="")
    print("| bytes waiting / ended | redelivered after s: quiet, with others |\n" + "|---" * 7 + "|")
    ours = figures["attributor"].rate if "attributor" in figures else []
    for name, each in figures.items():
        rate = statistics.median(each.rate)
        cpu = [statistics.median(column) for column in zip(*each.cpu_ms, strict=True)]
        cells = [
            name,
            f"{rate:,.0f} ({min(each.rate):,.0f} to {max(each.rate):,.0f})",
            f"{_ratio(ours, each.rate)}",
            f"{statistics.median(each.p50_ms):.2f} / {statistics.median(each.p99_ms):.1f}",
            ", ".join(f"{value:.3f}" for value in cpu),
            f"{statistics.median(each.waiting_bytes):,.0f} / {statistics.median(each.ended_bytes):,.0f}",
            ", ".join(_seconds(each.redelivered_s[quiet]) for quiet in (True, False)),
        ]
        print("| " + " | ".join(cells) + " |")


def _ratio(ours: list[float], theirs: list[float]) -> str:
    """Median of the rounds' ratios: what else the machine did then, it did to both."""
    ratios = sorted(our / their for our, their in zip(ours, theirs, strict=False))
    return f"{statistics.median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})" if ratios else ""


def _seconds(times: list[float]) -> str:
    """All rounds, in order of length."""
    return " ".join(f"> {MOST_S:.0f}" if value == float("inf") else f"{value:.1f}" for value in sorted(times)) or "-"


if __name__ == "__main__":
    main()
