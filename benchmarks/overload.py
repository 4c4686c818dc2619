"""Ten times what the workers can do, over HTTP: do answers about jobs still come, and is accepted work done in time?

`attributor serve` with two API processes, two workers and a queue of small bounds. This process measures what workers
can do, then asks about jobs and for predictions at a steady rate, idle and while another one sends ten times as many
jobs as that, at fixed times, whatever is answered; all on the same cores. Ends with status 1 where a bar is missed:
polls within 100 ms (p99), refusals only 429 and 503 with Retry-After, no accepted job lost, and none that waits longer
than what the bound lets stand before it takes.

Run: .venv/bin/python -m benchmarks.overload [--rounds N] [--times 10] [--seconds S]
"""

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psutil
import uvloop

from benchmarks.loaded_service import API_PROCESSES, WORKERS, Connection, ready, serve
from benchmarks.serving import processes

#: A job: pictures, and evaluations of each.
PICTURES, STEPS = 8, 50
COST = PICTURES * STEPS
#: The bound, evaluations that wait: two seconds of work, or so.
MAX_QUEUED_COST = 20_000
CLIENTS, CAPACITY_S = 32, 6.0
POLLS_PER_S, PREDICTIONS_PER_S = 40, 5
MOST_POLL_MS = 100.0
#: Accepted work may wait for what stands before it: the bound, one job more, and what workers hold, 64 jobs each at
#: most. Twice as long as that takes at the measured pace, for the pace of a shared machine varies.
SLACK = 2.0
BODIES = 200
REFUSED = (429, 503)
ATTRIBUTIONS, PREDICT = "/v1/attributions", "/v1/models/digits:predict"


@dataclass
class Seen:
    """Latencies in seconds of what was asked for; what was answered, by status."""

    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    without_retry_after: int = 0

    def add(self, what: str, began: float, status: int, headers: dict[bytes, bytes]) -> None:
        self.latencies_s.setdefault(what, []).append(time.perf_counter() - began)
        self.statuses[what, status] += 1
        self.without_retry_after += status in REFUSED and b"retry-after" not in headers

    def ms(self, what: str, share: float) -> float:
        times = sorted(self.latencies_s.get(what, [float("nan")]))
        return 1e3 * times[min(len(times) - 1, int(share * len(times)))]


@dataclass
class Round:
    """One round of the measurement. `waits_s`: from creation to start of accepted jobs; `lost`: accepted, not done."""

    capacity: float
    idle: Seen
    loaded: Seen
    flood: dict
    #: Part of all cores that others had meanwhile, who are no part of this.
    others: float
    waits_s: list[float]
    lost: int

    def most_wait_s(self) -> float:
        held = MAX_QUEUED_COST + COST + WORKERS * 64 * COST
        return SLACK * held / COST / self.capacity


def main() -> int:
    if sys.argv[1:2] == ["flood"]:
        port, rate, seconds = sys.argv[2:]
        uvloop.run(flood(int(port), float(rate), float(seconds)))
        return 0
    asked = argparse.ArgumentParser()
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--times", type=float, default=10.0)
    asked.add_argument("--seconds", type=float, default=15.0)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="overload-") as folder:
        port = processes.free_port()
        bound = {"ATTRIBUTOR_STORE__MAX_QUEUED_COST": str(MAX_QUEUED_COST)}
        server = serve(port, Path(folder), bound)
        try:
            processes.wait_until(lambda: ready(port), server, 120)
            rounds = [uvloop.run(measure(server, given.times, given.seconds)) for _ in range(given.rounds)]
        finally:
            server.stop()
            print((Path(folder) / "log").read_text(errors="replace")[-2000:], end="")
    return report(rounds, given.times)


async def measure(server: processes.Server, times: float, seconds: float) -> Round:
    [port] = server.ports
    await closed_loop(port, 1.0)
    capacity = await closed_loop(port, CAPACITY_S)
    idle = await probed(port, 5.0)
    began = time.time()
    words = [sys.executable, "-m", "benchmarks.overload", "flood", str(port), str(times * capacity), str(seconds)]
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    await asyncio.sleep(2.0)  # by then the queue is full
    before = taken_s(server)
    loaded = await probed(port, seconds - 3.0)
    all_s, ours_s, cores_s = (b - a for a, b in zip(before, taken_s(server), strict=True))
    said, _ = await process.communicate()
    jobs = await ended(port, began)
    waits = [_seconds(job["started_at"]) - _seconds(job["created_at"]) for job in jobs if job["state"] == "succeeded"]
    flooded = json.loads(said)
    return Round(
        capacity,
        idle,
        loaded,
        flooded,
        (all_s - ours_s) / cores_s,
        sorted(waits),
        flooded["statuses"].get("202", 0) - len(waits),
    )


def taken_s(server: processes.Server) -> tuple[float, float, float]:
    """Processor time so far: of the machine, of the service and the load, and all that there was."""
    times = psutil.cpu_times()
    load = [psutil.Process(), *psutil.Process().children(recursive=True)]
    used = 0.0
    for process in {*server.tree(), *load}:
        with suppress(psutil.Error):
            spent = process.cpu_times()
            used += spent.user + spent.system
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice, used, sum(times)


async def closed_loop(port: int, seconds: float) -> float:
    """Jobs a second that the service does when it is never without work."""
    end, done, waiting = time.perf_counter() + seconds, 0, iter(bodies())

    async def client() -> None:
        nonlocal done
        connection = Connection(port)
        while time.perf_counter() < end:
            body = next(waiting, None) or random.choice(_BODIES)
            status, _, text = await connection.ask(f"POST {ATTRIBUTIONS}", body, "Prefer: wait=60\r\n")
            if status != 200:
                raise RuntimeError(f"{status} {text[:300]!r}")
            done += time.perf_counter() < end

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / seconds


async def probed(port: int, seconds: float) -> Seen:
    """Polls of jobs old and new, and predictions, each at its own steady times."""
    seen, ids, picture = Seen(), await listed(port), bodies()[0]
    prediction = json.dumps({"inputs": json.loads(picture)["inputs"][:1]}).encode()

    async def renew(connection: Connection) -> None:
        ids[:] = await listed(port, connection)

    async def poll(connection: Connection) -> None:
        began = time.perf_counter()
        status, headers, _ = await connection.ask(f"GET {ATTRIBUTIONS}/{random.choice(ids)}")
        seen.add("poll", began, status, headers)

    async def predict(connection: Connection) -> None:
        began = time.perf_counter()
        status, headers, _ = await connection.ask(f"POST {PREDICT}", prediction)
        seen.add(f"prediction {status}", began, status, headers)

    async with asyncio.TaskGroup() as tasks:
        for work, rate in ((poll, POLLS_PER_S), (predict, PREDICTIONS_PER_S), (renew, 1.0)):
            tasks.create_task(steadily(port, work, rate, seconds))
    return seen


async def steadily(port: int, work: Callable[[Connection], Awaitable[None]], rate: float, seconds: float) -> None:
    """Begun at fixed times, whether those before have ended or not."""
    free: list[Connection] = []

    async def once() -> None:
        connection = free.pop() if free else Connection(port)
        await work(connection)
        free.append(connection)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.create_task(once())


async def listed(port: int, connection: Connection | None = None) -> list[str]:
    """The newest jobs."""
    _, _, body = await (connection or Connection(port)).ask(f"GET {ATTRIBUTIONS}?limit=100")
    return [job["id"] for job in json.loads(body)["attributions"]]


async def flood(port: int, rate: float, seconds: float) -> None:
    """Jobs at fixed times, asynchronously; prints what was answered."""
    seen, waiting = Seen(), bodies()

    async def submit(connection: Connection) -> None:
        began = time.perf_counter()
        body = waiting[random.randrange(BODIES)]
        status, headers, _ = await connection.ask(f"POST {ATTRIBUTIONS}", body)
        seen.add("submit", began, status, headers)
        seen.add(str(status), began, status, headers)

    began = time.perf_counter()
    await steadily(port, submit, rate, seconds)
    statuses = {str(status): n for (what, status), n in seen.statuses.items() if what == "submit"}
    told = {
        "statuses": statuses,
        "sent_per_s": sum(statuses.values()) / (time.perf_counter() - began),
        "without_retry_after": seen.without_retry_after,
        "p99_ms": {status: seen.ms(status, 0.99) for status in statuses},
    }
    print(json.dumps(told))


async def ended(port: int, since: float) -> list[dict]:
    """The jobs created since, once none waits or runs."""
    connection = Connection(port)
    for state in ("queued", "running"):
        while json.loads((await connection.ask(f"GET {ATTRIBUTIONS}?limit=1&state={state}"))[2])["attributions"]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    jobs, path = [], f"{ATTRIBUTIONS}?limit=100"
    while True:
        page = json.loads((await connection.ask(f"GET {path}"))[2])
        new = [job for job in page["attributions"] if _seconds(job["created_at"]) >= since]
        jobs += new
        if not page.get("next_cursor") or len(new) < len(page["attributions"]):
            return jobs
        path = f"{ATTRIBUTIONS}?limit=100&cursor={page['next_cursor']}"


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def bodies() -> list[bytes]:
    """Jobs of pictures that nobody has asked for before, always the same ones."""
    if not _BODIES:
        draw = random.Random(0)
        for _ in range(BODIES):
            rows = [[round(draw.random(), 3) for _ in range(64)] for _ in range(PICTURES)]
            inputs = [{"image": {"shape": [1, 8, 8], "datatype": "FP32", "data": row}} for row in rows]
            job = {"model": "digits", "inputs": inputs, "rule": "right_riemann", "n_steps": STEPS}
            _BODIES.append(json.dumps(job).encode())
    return _BODIES


_BODIES: list[bytes] = []


def report(rounds: list[Round], times: float) -> int:
    print(f"{API_PROCESSES} API processes, {WORKERS} workers; jobs of {COST} evaluations; bound {MAX_QUEUED_COST:,}")
    head = ["round", "done/s", "sent/s", "accepted, refused", "p99 ms: accepted, refused"]
    head += ["poll p50 / p99 ms: idle, loaded", "prediction p50 / p99 ms: idle, loaded", "predictions refused"]
    head += ["wait s p50 / most (bar)", "others, of all cores"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    missed = []
    for number, each in enumerate(rounds, 1):
        statuses, p99 = each.flood["statuses"], each.flood["p99_ms"]
        refused = sum(statuses.get(str(status), 0) for status in REFUSED)
        bad = sum(statuses.values()) - statuses.get("202", 0) - refused
        predicted = sum(n for (what, _), n in each.loaded.statuses.items() if what.startswith("prediction"))
        ill = predicted - each.loaded.statuses["prediction 200", 200]
        cells = [
            str(number),
            f"{each.capacity:.1f}",
            f"{each.flood['sent_per_s']:.0f} ({times:g} x)",
            f"{statuses.get('202', 0)}, {refused}",
            f"{p99.get('202', float('nan')):.0f}, {p99.get('503', p99.get('429', float('nan'))):.0f}",
            ", ".join(f"{seen.ms('poll', 0.5):.1f} / {seen.ms('poll', 0.99):.1f}" for seen in (each.idle, each.loaded)),
            ", ".join(
                f"{seen.ms('prediction 200', 0.5):.1f} / {seen.ms('prediction 200', 0.99):.1f}"
                for seen in (each.idle, each.loaded)
            ),
            f"{ill} of {predicted}",
            f"{statistics.median(each.waits_s):.2f} / {each.waits_s[-1]:.2f} ({each.most_wait_s():.1f})",
            f"{each.others:.0%}",
        ]
        print("| " + " | ".join(cells) + " |")
        bars = {
            "polls": each.loaded.ms("poll", 0.99) <= MOST_POLL_MS,
            "statuses": not bad and not each.flood["without_retry_after"] and not each.loaded.without_retry_after,
            "accepted jobs lost": each.lost == 0,
            "waits": each.waits_s[-1] <= each.most_wait_s(),
        }
        missed += [f"round {number}: {name}" for name, met in bars.items() if not met]
    print("all bars met" if not missed else f"missed: {', '.join(missed)}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
