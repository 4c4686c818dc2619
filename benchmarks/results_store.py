"""How long others wait while a result of 50 MB is stored, read and erased: in one command, in pieces, and as a file.

A process of its own pings the store about 500 times a second; its worst ping while nothing else is done is the unit.
Each figure is the median of several rounds. The bar for what the service does is three times the idle worst.

Run: .venv/bin/python benchmarks/results_store.py [--redis-url URL] [--megabytes N] [--rounds N]
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.model import InputKind, InputSpec
from attributor.jobs.result import PredictionResult
from attributor.storage import large_results, redis_queue
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.large_results import ResultFiles, ResultPieces
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_queue import RedisJobQueue

#: Pings while nothing is done, seconds.
IDLE_S = 3.0
#: And after each step, for what the server does later.
SETTLES_S = 0.3
PINGS = """
import json, sys, time
import redis
client = redis.Redis.from_url(sys.argv[1])
client.ping()
print("ready", flush=True)
worst, end = 0.0, None
import select
while not select.select([sys.stdin], [], [], 0.002)[0]:
    began = time.perf_counter()
    client.ping()
    worst = max(worst, time.perf_counter() - began)
print(json.dumps(worst))
"""
SPEC = JobSpec(
    kind=JobKind.ATTRIBUTION,
    model="m",
    version="1",
    digest="d" * 64,
    declared=(InputSpec("x", InputKind.TENSOR, (3,)),),
    inputs=({"x": np.zeros(3, np.float32)},),
    fingerprint="",
)


async def worst_ping(url: str, step: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Milliseconds of the worst ping while the step is taken, and how long that took, seconds."""
    pipe = asyncio.subprocess.PIPE
    pinging = await asyncio.create_subprocess_exec(sys.executable, "-c", PINGS, url, stdin=pipe, stdout=pipe)
    assert pinging.stdout is not None
    await pinging.stdout.readline()
    began = time.perf_counter()
    await step()
    lasted_s = time.perf_counter() - began
    await asyncio.sleep(SETTLES_S)
    worst_s, _ = await pinging.communicate(b"\n")
    return 1000 * json.loads(worst_s), lasted_s


async def measure(url: str, megabytes: int, rounds: int) -> None:
    answer = PredictionResult({"x": np.random.default_rng(0).normal(size=megabytes * 250_000).astype(np.float32)})
    large = replace(SPEC, inputs=({"x": np.zeros(3_000_000, np.float32)},))
    found: dict[str, list[tuple[float, float]]] = {}

    async def note(name: str, step: Callable[[], Awaitable[Any]]) -> None:
        found.setdefault(name, []).append(await worst_ping(url, step))

    with tempfile.TemporaryDirectory() as folder:
        async with RedisStore(url, namespace="benchmark") as store:
            ways = {
                "one command": (ResultPieces(store), 10**9),
                "pieces": (ResultPieces(store), large_results.INLINE_BYTES),
                "a file": (ResultFiles(Path(folder), 60.0), large_results.INLINE_BYTES),
            }
            for _ in range(rounds):
                await note("idle", lambda: asyncio.sleep(IDLE_S))
                for way, (results, inline_bytes) in ways.items():
                    redis_queue.INLINE_BYTES = inline_bytes
                    queue, jobs = RedisJobQueue(store, results=results), RedisJobStore(store, results)
                    await note(f"{way}: 12 MB asked", lambda q=queue: q.enqueue(large))
                    [claimed] = await queue.claim(1)
                    await queue.finish(claimed.lease, None)
                    job_id = (await queue.enqueue(SPEC)).job_id
                    [claimed] = await queue.claim(1)
                    await note(f"{way}: stored", lambda q=queue, c=claimed: q.finish(c.lease, answer))
                    await note(f"{way}: read", lambda j=jobs, i=job_id: j.result(i))
                    await note(f"{way}: erased", lambda j=jobs, i=job_id: j.erase(i, tenant="default"))
    idle_ms = statistics.median(ms for ms, _ in found["idle"])
    print(f"| {megabytes} MB | worst ping, ms | of the idle worst | takes, s |\n|---|---|---|---|")
    for name, rows in found.items():
        ms, seconds = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {ms:.1f} | {ms / idle_ms:.1f} | {seconds:.2f} |")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--redis-url")
    asked.add_argument("--megabytes", type=int, default=50)
    asked.add_argument("--rounds", type=int, default=7)
    given = asked.parse_args()
    if given.redis_url:
        asyncio.run(measure(given.redis_url, given.megabytes, given.rounds))
        return
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedStore(Path(folder))
        server.start()
        try:
            asyncio.run(measure(server.url, given.megabytes, given.rounds))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
