"""Prints what each net is like: size, accuracy, cost of a gradient, and how far its scores are from its baselines'.

Run as `python -m benchmarks.quadrature_nets.check [name ...]`.
"""

import statistics
import sys
import time

import numpy as np
import torch

from .cases import NAMES, Case, Net, load
from .data import classifier_rows, classifier_split
from .molecules import molecule_split, padded

BATCH = 16
REPEATS = 5
# Below this difference of scores, a relative tolerance asks for more than the score means.
SMALL_GAP = 0.02
ROW = "{:12} {:7} {:>10} {:>14} {:>10} {:>8} {:>9} {:>10}"


def quality(net: Net) -> str:
    """Accuracy, or correlation for a regression, on rows kept from training."""
    if net.name == "minilm":
        return "pretrained"
    with torch.no_grad():
        if net.name == "graph":
            atoms, bonds, present, log_p = padded(molecule_split().held_out)
            return f"r = {np.corrcoef(net.module(atoms, bonds, present).numpy(), log_p.numpy())[0, 1]:.3f}"
        inputs, labels = classifier_rows(net.name, classifier_split(net.name).held_out)
        return f"{(net.module(inputs).argmax(1) == labels).float().mean().item():.1%}"


def milliseconds(case: Case) -> float:
    """Best time of one gradient (forward and backward) within a batch of 16, in ms."""
    alphas = torch.linspace(0, 1, BATCH).view(-1, *(1,) * case.example.dim())
    times_s = []
    for _ in range(REPEATS):
        points = torch.lerp(case.baseline, case.example, alphas).requires_grad_(True)
        start_s = time.perf_counter()
        torch.autograd.grad(case.score(points).sum(), points)
        times_s.append(time.perf_counter() - start_s)
    return 1000 * min(times_s) / BATCH


def row(net: Net) -> str:
    """One line of the table."""
    with torch.no_grad():
        ends = [case.score(torch.stack([case.example, case.baseline])).tolist() for case in net.cases]
    small = sum(abs(score - baseline) < SMALL_GAP for score, baseline in ends)
    return ROW.format(
        net.name,
        "smooth" if net.smooth else "kinked",
        f"{sum(weights.numel() for weights in net.module.parameters()):,}",
        quality(net),
        f"{statistics.median(milliseconds(case) for case in net.cases[:REPEATS]):.2f}",
        f"{statistics.median(score for score, _ in ends):.3f}",
        f"{statistics.median(baseline for _, baseline in ends):.3f}",
        f"{small / len(ends):.0%}",
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(ROW.format("net", "kind", "parameters", "held out", "ms / point", "score", "baseline", "gap < 0.02"))
    for name in sys.argv[1:] or NAMES:
        print(row(load(name)), flush=True)
