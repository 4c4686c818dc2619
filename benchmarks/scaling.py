"""What so many evaluations a second need: workers, API, store and network, from measured costs of a job.

Prints the tables of docs/scaling.md. `--measure` finds the costs of a job of two small nets anew, with the whole
service on this machine; put them into COSTS.  Run: .venv/bin/python -m benchmarks.scaling [--measure]
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop
from attributor.storage.embedded import EmbeddedStore
from numpy.typing import NDArray
from redis import Redis
from sklearn.datasets import load_breast_cancer, load_digits

from benchmarks.loaded_service import Connection, ready, serve
from benchmarks.serving import processes

LOADS = (10, 1_000, 100_000)
DAY_S, MINUTES_S = 86_400, 300
#: Part of its time that a process may be busy before those who come wait long: ours. With arrivals by chance and a
#: server of one, the wait is busy / (1 - busy) times a job's time (M/M/1; Kleinrock 1975, 3.2): 1.5 times.
BUSY = 0.6
CLIENTS, WARM_S, MEASURED_S = 64, 3.0, 10.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one job with one input at a tolerance of 5 %, on one core of the machine in RESULTS.md.

    `evaluations`: mean. `worker_ms`, `api_ms`, `store_ms`: processor time. `kept_bytes`: what it takes in the store
    once it has ended, with its input. `store_bytes`: over the network to and from the store.
    """

    net: str
    evaluations: float
    worker_ms: float
    api_ms: float
    store_ms: float
    kept_bytes: float
    store_bytes: float


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs of a net, under its input's name."""

    name: str
    shape: list[int]
    data: NDArray[np.float64]


#: Tables: `--measure`. A photograph (a ResNet at 3x224x224): evaluations and worker from RESULTS.md, "Serving", 32
#: clients. Its input and its attributions are float32, 602 kB each, kept once and sent to the store and from it once;
#: the store takes what writing and reading 50 MB in pieces took for as much, the client's part in it, so at most this;
#: the API reads 602 kB of base64 and writes as much (2.5 and 1.4 ms) beside what it does for a small job.
COSTS = (
    Cost("breast-cancer", 13.6, 0.284, 0.339, 0.172, 3_567, 6_016),
    Cost("digits", 13.0, 0.495, 0.375, 0.216, 3_693, 6_098),
    Cost("cnn224", 9.1, 1_320, 4.3, 6.4, 1_204_000, 2_408_000),
)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--measure", action="store_true")
    if asked.parse_args().measure:
        measure()
    else:
        for cost in COSTS:
            table(cost)


def table(cost: Cost) -> None:
    """In words: what each load needs."""
    print(f"\n### {cost.net}: {cost.evaluations:g} evaluations a job, {cost.worker_ms:g} ms on a worker's core\n")
    print("| evaluations/s | jobs/s | worker cores | API cores | store cores | store MB/s ", end="")
    print("| results of a day, GB | of 5 minutes, GB |\n" + "|---" * 8 + "|")
    for load in LOADS:
        jobs = load / cost.evaluations
        cores = (jobs * ms / 1e3 / BUSY for ms in (cost.worker_ms, cost.api_ms, cost.store_ms))
        kept = (jobs * seconds * cost.kept_bytes / 1e9 for seconds in (DAY_S, MINUTES_S))
        cells = (jobs, *cores, jobs * cost.store_bytes / 1e6, *kept)
        print(f"| {load:,} | " + " | ".join(_short(each) for each in cells) + " |")
    print(f"\n{_walls(cost)}")


def _walls(cost: Cost) -> str:
    """Where one store ends: a core of it, and so much memory."""
    per_core = BUSY * 1e3 / cost.store_ms
    gigabytes = 64
    per_memory = gigabytes * 1e9 / cost.kept_bytes
    return (
        f"One store's core: {_short(per_core)} jobs/s, {_short(per_core * cost.evaluations)} evaluations/s. "
        f"{gigabytes} GB: {_short(per_memory / DAY_S)} jobs/s with results of a day, "
        f"{_short(per_memory / MINUTES_S)} of 5 minutes."
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def measure() -> None:
    """Prints a cost per net."""
    drawn = {"breast-cancer": Rows("features", [30], load_breast_cancer().data)}
    drawn["digits"] = Rows("image", [1, 8, 8], load_digits().data / 16)
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        port = processes.free_port()
        server = serve(port, Path(folder), {})
        try:
            processes.wait_until(lambda: ready(port), server, 120)
            store = Redis.from_url(EmbeddedStore(Path(folder) / "data").url)
            for net, rows in drawn.items():
                print(uvloop.run(_measured(port, server, store, net, rows)), flush=True)
        finally:
            server.stop()


async def _measured(port: int, server: processes.Server, store: Redis, net: str, rows: Rows) -> Cost:
    done, evaluations = await _asked(port, net, rows, WARM_S)
    before = _taken(server, store)
    done, evaluations = await _asked(port, net, rows, MEASURED_S)
    worker, api, used_cpu, kept, sent = (b - a for a, b in zip(before, _taken(server, store), strict=True))
    ms = [round(1e3 * seconds / done, 3) for seconds in (worker, api, used_cpu)]
    return Cost(net, round(evaluations / done, 1), *ms, round(kept / done), round(sent / done))


async def _asked(port: int, net: str, rows: Rows, seconds: float) -> tuple[int, int]:
    """Jobs done, and their evaluations, by clients that are never without one."""
    end, done, evaluations = time.perf_counter() + seconds, 0, 0

    async def client() -> None:
        nonlocal done, evaluations
        connection = Connection(port)
        while time.perf_counter() < end:
            data = (random.choice(rows.data) * random.uniform(0.99, 1.01)).round(4).tolist()
            tensor = {"shape": rows.shape, "datatype": "FP32", "data": data}
            body = json.dumps({"model": net, "inputs": [{rows.name: tensor}], "tolerance": 0.05}).encode()
            status, _, text = await connection.ask("POST /v1/attributions", body, "Prefer: wait=60\r\n")
            if status != 200:
                raise RuntimeError(f"{status} {text[:300]!r}")
            done += 1
            evaluations += json.loads(text)["results"][0]["evaluations"]

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done, evaluations


def _taken(server: processes.Server, store: Redis) -> tuple[float, float, float, float, float]:
    """Processor seconds of workers, API and store so far; bytes held, and sent and received by the store."""
    seconds = {"worker": 0.0, "api": 0.0}
    for process in server.tree():
        words = process.cmdline()
        kind = next((word for word in ("worker", "api") if word in words), None)
        if kind:
            times = process.cpu_times()
            seconds[kind] += times.user + times.system
    said: dict = {**store.info("cpu"), **store.info("memory"), **store.info("stats")}
    cpu = said["used_cpu_user"] + said["used_cpu_sys"]
    sent = said["total_net_input_bytes"] + said["total_net_output_bytes"]
    return seconds["worker"], seconds["api"], cpu, said["used_memory"], sent


if __name__ == "__main__":
    main()
