"""What each exact transform gains and changes: forward and input gradient per point, against plain torch passes.

One process, one thread; processor time, interleaved, medians; each at its best batch. "Plain" is the bare pass of the
bare module, forward and `autograd.grad` by its input; all others also do what a path costs in the runtime: points
between two ends, the slope, and a copy of the vectors. Seeded weights; the encoder takes embeddings.
Run: .venv/bin/python -m benchmarks.transforms [net ...] [--repeats N] [--compile]
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from attributor.runtimes.transforms.attention import fuse_attention
from attributor.runtimes.transforms.choosing import transformed
from attributor.runtimes.transforms.folding import fold_norms
from attributor.runtimes.transforms.memory_format import channels_last
from attributor.runtimes.transforms.pooling import pool_first
from attributor.runtimes.transforms.precision import bfloat16
from attributor.runtimes.transforms.prefix import Bounds, Prefix, find_cut
from attributor.runtimes.transforms.proving import Sample, differentiated, gradients_of
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from benchmarks.quadrature_nets.inception import GoogLeNet
from benchmarks.quadrature_nets.nets import digits_cnn, tumour_mlp
from benchmarks.residual_net import ResNet18

#: No bound but that there is one: the table is to show where a prefix loses, too.
_ANYWHERE = Bounds(most_bytes=2**40, least_work=0.0)
_CPU = torch.device("cpu")
_COMPARED_ROWS = 4


@dataclass(frozen=True, slots=True)
class Net:
    """What is measured: the shape of one point, and batches of which the best counts."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batches: tuple[int, ...]


class Encoder(nn.Module):
    """Six layers of width 384 over embeddings, as MiniLM has: (n, 64, 384) to (n, 2)."""

    def __init__(self) -> None:
        super().__init__()
        config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        config._attn_implementation = "eager"  # as the registry loads such models
        self.network = BertModel(config, add_pooling_layer=False)
        self.head = nn.Linear(384, 2)

    def forward(self, embeddings: Tensor) -> Tensor:
        mask = torch.ones(embeddings.shape[:2], dtype=torch.long)
        return self.head(self.network(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state.mean(1))


NETS = {
    "mlp": Net(tumour_mlp, (30,), (200, 800)),
    "digits": Net(digits_cnn, (1, 8, 8), (100, 400)),
    "resnet": Net(ResNet18, (3, 224, 224), (8, 16)),
    "googlenet": Net(GoogLeNet, (3, 224, 224), (8, 16)),
    "encoder": Net(Encoder, (64, 384), (4, 8)),
}

#: Does one pass over a batch.
Pass = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table: a pass for a batch, and the gradient by x for rows of x."""

    of_batch: Callable[[int], Pass]
    gradient: Callable[[Tensor], Tensor]


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    arguments = argparse.ArgumentParser()
    arguments.add_argument("nets", nargs="*", default=list(NETS))
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--compile", action="store_true", help="also torch.compile (needs a C++ compiler)")
    given = arguments.parse_args()
    print("| net | passes | best batch | ms per point | times plain | L1 difference of gradient | worst of 4 |")
    print("|---|---|---|---|---|---|---|")
    for name in given.nets:
        measure(name, NETS[name], given.repeats, compiled=given.compile)


def measure(name: str, net: Net, repeats: int, *, compiled: bool) -> None:
    """Prints the rows of one net."""
    torch.manual_seed(0)
    module = with_statistics(net.build(), net.shape).eval().requires_grad_(False)
    rows = entries(module, net.shape)
    if compiled:
        rows["torch.compile"] = whole(torch.compile(module), net.shape)
    seconds: dict[tuple[str, int], list[float]] = {}
    for batch in net.batches:
        passes = {row: entry.of_batch(batch) for row, entry in rows.items()}
        for run in passes.values():
            run()
        for _ in range(repeats):
            for row, run in passes.items():
                began = time.process_time()
                run()
                seconds.setdefault((row, batch), []).append((time.process_time() - began) / batch)
    expected = rows["plain"].gradient(some(net.shape, _COMPARED_ROWS))
    best = {row: min(net.batches, key=lambda batch: statistics.median(seconds[row, batch])) for row in rows}
    plain = statistics.median(seconds["plain", best["plain"]])
    for row, entry in rows.items():
        taken = statistics.median(seconds[row, best[row]])
        found = entry.gradient(some(net.shape, _COMPARED_ROWS))
        apart = (found - expected).abs().flatten(1).sum(1) / expected.abs().flatten(1).sum(1)
        times = f"{taken * 1e3:.3g} | {plain / taken:.2f}"
        print(
            f"| {name} | {row} | {best[row]} | {times} | {float(apart.median()):.0e} | {float(apart.max()):.0e} |",
            flush=True,
        )


def entries(module: nn.Module, shape: tuple[int, ...]) -> dict[str, Entry]:
    """By name, each transform alone where the net has it, all that the rules choose, and these in bfloat16."""
    sample = Sample((some(shape, 1),), (0,))
    found = {"plain": Entry(lambda batch: bare(module, some(shape, batch)), whole(module, shape).gradient)}
    found["plain along a path"] = whole(module, shape)
    folded, n_folded = fold_norms(module, sample.rows(2))
    if n_folded:
        found[f"{n_folded} norms folded"] = whole(folded, shape)
    if (moved := pool_first(module, sample.rows(2))) is not None:
        found["pooled before ReLU"] = whole(moved, shape)
    if (turned := channels_last(module, sample.rows(1), 1)) is not None:
        found["channels-last"] = whole(turned, shape)
    if (fused := fuse_attention(module)) is not None:
        found["fused attention"] = whole(fused, shape)
    if (cut := find_cut(module, [sample.rows(2)], 0, _ANYWHERE)) is not None:
        found["affine prefix out"] = halves(Prefix(module, cut, channels_last=False), sample)
    chosen = transformed(module, sample)
    name = " + ".join(chosen.applied) or "nothing"
    for narrow, row in ((False, f"chosen: {name}"), (True, "chosen, bfloat16")):
        prefix = chosen.narrow_prefix if narrow else chosen.prefix
        made = chosen.narrow if narrow else chosen.module
        found[row] = whole(made, shape, narrow=narrow) if prefix is None else halves(prefix, sample, narrow=narrow)
    return found


def whole(module: nn.Module, shape: tuple[int, ...], *, narrow: bool = False) -> Entry:
    """A module that takes x."""
    call = narrowed(module) if narrow else module
    sample = Sample((some(shape, 1),), (0,))
    gradient = differentiated(_Called(call), sample)
    return Entry(
        lambda batch: along(call, some(shape, batch), some(shape, batch, seed=1)), lambda rows: gradient([rows])[1][0]
    )


def halves(prefix: Prefix, sample: Sample, *, narrow: bool = False) -> Entry:
    """A prefix, whose z the path runs in."""
    call = narrowed(prefix.outputs) if narrow else prefix.outputs
    shape = tuple(sample.inputs[0].shape[1:])

    def of_batch(batch: int) -> Pass:
        with torch.no_grad():
            return along(call, prefix(some(shape, batch)), prefix(some(shape, batch, seed=1)))

    def gradient(rows: Tensor) -> Tensor:
        with torch.no_grad():
            z = prefix(rows)
        (by_z,) = gradients_of(call(z.requires_grad_()), [z])
        return prefix.pull_back(by_z)

    return Entry(of_batch, gradient)


class _Called(nn.Module):
    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._call = call

    def forward(self, rows: Tensor) -> Tensor:
        return self._call(rows)


def narrowed(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(rows: Tensor) -> Tensor:
        with bfloat16(_CPU):
            return call(rows).float()

    return run


def bare(module: nn.Module, points: Tensor) -> Pass:
    """Forward and gradient by the input, as a user of torch writes it."""

    def run() -> Tensor:
        leaf = points.detach().requires_grad_()
        return torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)[0]

    return run


def along(call: Callable[[Tensor], Tensor], starts: Tensor, ends: Tensor) -> Pass:
    """The same at points between two ends, with slopes and kept vectors."""
    alphas = torch.linspace(0, 1, len(starts)).view(-1, *[1] * (starts.dim() - 1))

    def run() -> object:
        delta = ends - starts
        leaf = (starts + alphas * delta).requires_grad_()
        (gradient,) = torch.autograd.grad(call(leaf)[:, 0].sum(), leaf)
        return (gradient * delta).reshape(len(delta), -1).sum(1, dtype=torch.float64), gradient.clone()

    return run


def some(shape: Sequence[int], n_rows: int, seed: int = 0) -> Tensor:
    return torch.rand(n_rows, *shape, generator=torch.Generator().manual_seed(seed))


def with_statistics(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A net whose norms have the statistics of some points, as training would leave them."""
    if any(isinstance(part, nn.BatchNorm2d) for part in module.modules()):
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None  # the mean of what it sees
        with torch.no_grad():
            module.train()(some(shape, 8))
    return module


if __name__ == "__main__":
    main()
