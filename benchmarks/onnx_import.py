"""What an imported ONNX file costs: forward pass and gradient for the inputs, against the module that was exported.

One process, one thread; both are run in turns, so that whatever else the machine does meets both. Figures are kept in
RESULTS.md.  Run: .venv/bin/python -m benchmarks.onnx_import
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from attributor.onnx_importer.module import import_model
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from onnx_nets import NETS, Exporter, export, net

REPEATS = 31
BATCHES = (1, 16)


@dataclass(frozen=True, slots=True)
class Case:
    """A net of tests/onnx_nets.py in sizes that are worth measuring."""

    net: str
    sizes: dict[str, int]
    inputs: dict[str, int]
    files: tuple[tuple[Exporter, int], ...]


CASES = (
    Case("cnn", {"width": 32}, {}, (("torchscript", 17), ("dynamo", 20))),
    Case(
        "transformer",
        {"layers": 4, "hidden": 256},
        {"positions": 64, "hidden": 256},
        (("torchscript", 17), ("dynamo", 20), ("dynamo", 23)),
    ),
    Case("lstm", {"hidden": 64}, {"positions": 32}, (("torchscript", 17), ("dynamo", 20))),
)


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'net':<14}{'exporter':<14}{'opset':>6}{'batch':>7}{'original, ms':>14}{'imported, ms':>14}{'ratio':>8}")
    for case in CASES:
        module = net(case.net, **case.sizes)
        for exporter, opset in case.files:
            imported = import_model(export(module, NETS[case.net].inputs(3, 0, **case.inputs), exporter, opset))
            for rows in BATCHES:
                inputs = NETS[case.net].inputs(rows, 1, **case.inputs)
                first, second = interleaved(partial(passes, module, inputs), partial(passes, imported, inputs))
                figures = f"{first * 1e3:>14.2f}{second * 1e3:>14.2f}{second / first:>8.2f}"
                print(f"{case.net:<14}{exporter:<14}{opset:>6}{rows:>7}{figures}", flush=True)


def passes(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    first = inputs[0].detach().requires_grad_(True)
    torch.autograd.grad(module(first, *inputs[1:])[:, 0].sum(), first)


def interleaved(first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of each, run in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(REPEATS + 3):
        for run, kept in zip((first, second), times, strict=True):
            began = time.perf_counter()
            run()
            if repeat >= 3:
                kept.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
