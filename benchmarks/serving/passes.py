"""The limit: forward and input-gradient passes in plain torch, in as many single-threaded processes as workers.

Each process is this module, given a bundle, a device, the batches to try, the seconds for each and when to begin; it
prints what it reached as JSON. All try the same batch at the same time.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.bundles import REPOSITORY

_LOADING_S = 20
BATCHES = {"cpu": (4, 8, 16, 32), "cuda": (16, 32, 64, 128, 256)}


@dataclass(frozen=True, slots=True)
class Limit:
    """The best batch, and what all processes together reach with it: gradient evaluations (a forward and a backward
    pass of one point) and forward passes alone, per second."""

    batch: int
    gradients_per_s: float
    forwards_per_s: float

    def share(self, gradients_per_s: float, forwards_per_s: float) -> float:
        """Which share of its capacity so many gradient evaluations and so many forward passes without one take."""
        return gradients_per_s / self.gradients_per_s + forwards_per_s / self.forwards_per_s


def limit(bundle: Path, n_processes: int, seconds: float, device: str = "cpu") -> Limit:
    """Tries the batches, and takes the one with the most gradient evaluations per second."""
    batches = BATCHES["cuda" if device.startswith("cuda") else "cpu"]
    begin = time.time() + _LOADING_S
    command = [sys.executable, "-m", "benchmarks.serving.passes", str(bundle), device, json.dumps(batches)]
    children = [
        subprocess.Popen(
            [*command, str(seconds), str(begin)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        )
        for _ in range(n_processes)
    ]
    found = [json.loads(child.communicate()[0]) for child in children]
    sums = [[sum(one[number][kind] for one in found) for kind in (0, 1)] for number in range(len(batches))]
    best = max(range(len(batches)), key=lambda number: sums[number][0])
    return Limit(batches[best], *sums[best])


def main(bundle: str, device: str, batches: str, seconds: float, begin: float) -> None:
    import torch

    os.environ |= {"PEER_BUNDLE": bundle, "PEER_THREADS": "1"}
    from benchmarks.serving.bundles import inputs
    from benchmarks.serving.peers.captum_part import Explainer

    explainer = Explainer()
    module = explainer.module.to(device)
    sizes = json.loads(batches)
    rows = torch.from_numpy(inputs(Path(bundle).parent.name, 4)).to(device)
    tokens = rows.dtype == torch.int64
    score = module.from_embeddings if tokens else module
    points = (module.embed(rows) if tokens else rows).detach()

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    def gradient(batch: torch.Tensor) -> None:
        at = batch.detach().requires_grad_(True)
        torch.autograd.grad(score(at).softmax(1)[:, 0].sum(), at)
        wait()

    def forward(batch: torch.Tensor) -> None:
        with torch.no_grad():
            score(batch).softmax(1)
        wait()

    found = []
    for number, size in enumerate(sizes):
        batch = points.repeat(-(-size // len(points)), *[1] * (points.dim() - 1))[:size].contiguous()
        rates = []
        for part, run in enumerate((gradient, forward)):
            start = begin + (2 * number + part) * seconds
            run(batch) if time.time() < start or number == part == 0 else None
            time.sleep(max(0.0, start - time.time()))
            rates.append(_rate(lambda run=run, batch=batch: run(batch), size, start + seconds))
        found.append(rates)
    print(json.dumps(found))


def _rate(run: Callable[[], None], size: int, until: float) -> float:
    """Points per second; at least one pass."""
    began, passes = time.time(), 0
    while passes == 0 or time.time() < until:
        run()
        passes += 1
    return passes * size / (time.time() - began)


if __name__ == "__main__":
    main(*sys.argv[1:4], float(sys.argv[4]), float(sys.argv[5]))
