"""Does memory stay flat over 20,000 mixed jobs? The real service: HTTP, store, workers.

Two real bundles, one of texts of any length and one that raises; all methods of the engine, layers, several targets and
inputs, predictions, bad requests, failures, and cancellations at any moment. Prints the memory of each process after
2,000 and after 20,000 jobs, and ends with status 1 where one has grown by more than 5 %.

Run: make soak, or .venv/bin/python benchmarks/soak.py [--jobs N] [--workers N]
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
from typing import Any

import httpx
import psutil
from attributor.registry.seal import seal

MODELS = Path(__file__).resolve().parent.parent / "models"
#: The bar: memory after all jobs over that after the first ones.
FIRST, MOST_GROWTH = 2_000, 1.05
CLIENTS = 24
READY_WITHIN_S, QUIET_WITHIN_S = 120.0, 120.0
#: Longest text, tokens; and the vocabulary.
POSITIONS, VOCABULARY = 40, 100

WORDS = """
import torch
from torch import nn

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding(100, 16)
        self.recurrence = nn.LSTM(16, 24, batch_first=True)
        self.head = nn.Linear(24, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.4, generator=generator)

    def forward(self, ids):
        outputs, _ = self.recurrence(self.embedding(ids))
        return self.head(outputs.mean(1))

def build():
    return Words()
"""
WORDS_MANIFEST = """
[[inputs]]
name = "ids"
kind = "tokens"
shape = [40]
variable = true
vocabulary = 100
embedding = "embedding"
pad_id = 0

[output]
name = "logits"
labels = ["bad", "fair", "good"]

[baselines.padding]
description = "Nothing but padding."
values.ids = 0
"""
RAISES = """
import torch
from torch import nn

class Raises(nn.Module):
    def forward(self, x):
        if (x[:, 0] > 100).any():
            raise RuntimeError("more than a hundred")
        return torch.cat([x.sum(dim=1, keepdim=True).tanh(), x[:, :1]], dim=1)

def build():
    return Raises()
"""
RAISES_MANIFEST = """
[[inputs]]
name = "x"
kind = "tensor"
shape = [4]

[output]
name = "logits"
labels = ["no", "yes"]

[baselines.zero]
description = "Zero."
values.x = 0.0
"""
HEAD = """\
schema_version = 1
name = "{name}"
version = "1"
title = "A model of the soak"
description = "Small."
framework = "torch"
entry = "model:build"
licence = "none"
source = "benchmarks/soak.py"
default_baseline = "{baseline}"
"""


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
        write_model(models, "words", "padding", WORDS, WORDS_MANIFEST)
        write_model(models, "raises", "zero", RAISES, RAISES_MANIFEST)
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


def write_model(models: Path, name: str, baseline: str, code: str, manifest: str) -> None:
    folder = models / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(code)
    (folder / "manifest.toml").write_text(HEAD.format(name=name, baseline=baseline) + manifest)
    seal(folder)


@dataclass
class Wish:
    """A request. `cancelled_after_s`: when the client has had enough; `path`: where it goes."""

    kind: str
    body: dict[str, Any]
    status: int = 200
    state: str = "succeeded"
    cancelled_after_s: float | None = None
    path: str = "/v1/attributions"


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
    await asyncio.sleep(2)


def mixed(draw: random.Random, n: int) -> Iterator[Wish]:
    """Jobs of all kinds, always the same ones."""
    kinds = [
        (30, table), (14, picture), (14, text), (8, layer), (10, method), (6, several), (6, prediction),
        (4, failing), (4, cancelled), (4, bad),
    ]  # fmt: skip
    weights, makers = zip(*kinds, strict=True)
    for _ in range(n):
        yield draw.choices(makers, weights)[0](draw)


def table(draw: random.Random) -> Wish:
    return Wish("table", {"model": "breast-cancer", "inputs": [a_table(draw)], "tolerance": draw.choice([0.05, 0.01])})


def picture(draw: random.Random) -> Wish:
    more = draw.choice(
        [{}, {"baseline": "white"}, {"target": {"top": 3}}, {"path": "blur"}, {"target": {"class": "3"}}]
    )
    return Wish("picture", {"model": "digits", "inputs": [a_picture(draw)], "tolerance": 0.05, **more})


def text(draw: random.Random) -> Wish:
    return Wish("text", {"model": "words", "inputs": [a_text(draw)], "tolerance": 0.05})


def layer(draw: random.Random) -> Wish:
    asked = {"name": "convolutions", "quantity": draw.choice(["layer_ig", "conductance", "influence"])}
    return Wish("layer", {"model": "digits", "inputs": [a_picture(draw)], "tolerance": 0.05, "layer": asked})


def method(draw: random.Random) -> Wish:
    more = draw.choice(
        [
            {"method": "saliency"},
            {"method": "gradient_x_input"},
            {"method": "expected_gradients", "samples": 10, "baseline": {"kind": "reference"}},
            {"method": "shapley", "samples": 2},
            {"method": "saliency", "smoothing": {"samples": 5}},
            {"rule": "gauss_legendre", "n_steps": 20},
            {"path": "guided", "tolerance": 0.2},
            {"saturation": {"alphas": [0.5]}, "interior": {"alphas": [0.1, 1.0]}},
        ]
    )
    return Wish("method", {"model": "breast-cancer", "inputs": [a_table(draw)], **more})


def several(draw: random.Random) -> Wish:
    n = draw.randint(2, 16)
    made = draw.choice([("breast-cancer", a_table), ("digits", a_picture), ("words", a_text)])
    return Wish("several", {"model": made[0], "inputs": [made[1](draw) for _ in range(n)], "tolerance": 0.05})


def prediction(draw: random.Random) -> Wish:
    return Wish("prediction", {"inputs": [a_picture(draw)]}, path="/v1/models/digits:predict")


def failing(draw: random.Random) -> Wish:
    values = [draw.uniform(200, 300), *(draw.random() for _ in range(3))]
    return Wish("failing", {"model": "raises", "inputs": [{"x": tensor(values, 4)}]}, state="failed")


def cancelled(draw: random.Random) -> Wish:
    body = {"model": "digits", "inputs": [a_picture(draw) for _ in range(8)], "rule": "right_riemann", "n_steps": 500}
    return Wish("cancelled", body, cancelled_after_s=draw.uniform(0, 0.2))


def bad(draw: random.Random) -> Wish:
    body = {"model": "digits", "inputs": [{"image": tensor([draw.random()] * 9, 1, 3, 3)}]}
    return Wish("bad", body, status=422)


def a_table(draw: random.Random) -> dict[str, Any]:
    return {"features": tensor([draw.uniform(0, 30) for _ in range(30)], 30)}


def a_picture(draw: random.Random) -> dict[str, Any]:
    return {"image": tensor([draw.random() for _ in range(64)], 1, 8, 8)}


def a_text(draw: random.Random) -> dict[str, Any]:
    return {"ids": [draw.randrange(1, VOCABULARY) for _ in range(draw.randint(1, POSITIONS))]}


def tensor(values: list[float], *shape: int) -> dict[str, Any]:
    return {"shape": list(shape), "datatype": "FP32", "data": values}


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
