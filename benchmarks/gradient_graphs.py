"""Whether a gradient graph in onnxruntime beats our torch passes on a CPU: scores and the gradient by the input.

The graph is traced from forward and `autograd.grad` (make_fx), exported by torch.export and torch.onnx, with free rows;
the target is a weight per class, so that one graph serves all of them. "torch, plain" is the bare module; "torch,
chosen" what attributor.runtimes.transforms makes of it; graphs are made of the module with its norms folded, whole and
behind the affine prefix. All compute probabilities of classes and the gradient of the weighted one. One process, one
thread; processor time, interleaved, medians; each at its best batch. Seeded weights. Figures are kept in RESULTS.md.
Run: .venv/bin/python -m benchmarks.gradient_graphs [net ...] [--repeats N] (needs onnxscript, of the extra `dev`)
"""

import argparse
import io
import logging
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from attributor.runtimes.transforms.choosing import transformed
from attributor.runtimes.transforms.copying import replaced_copy
from attributor.runtimes.transforms.folding import fold_norms
from attributor.runtimes.transforms.prefix import Bounds, Prefix, find_cut
from attributor.runtimes.transforms.proving import Sample
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.quadrature_nets.nets import digits_cnn
from benchmarks.residual_net import ResNet18
from benchmarks.transforms import Encoder, Net, some, with_statistics

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from onnx_nets import ResidualCnn

NETS = {
    "digits": Net(digits_cnn, (1, 8, 8), (1, 8, 100, 400)),
    "cnn64": Net(lambda: ResidualCnn(32), (3, 64, 64), (1, 8, 32)),
    "resnet": Net(ResNet18, (3, 224, 224), (1, 8, 16)),
    "encoder": Net(Encoder, (64, 384), (1, 4, 8, 16)),
}

OPSET = 20
#: Rows of the traced example. A number that is no size of a net: equal sizes are taken for the same one and frozen.
TRACED_ROWS = 11
COMPARED_ROWS = 4
aten = torch.ops.aten

#: Points and weights per class -> probabilities and gradients by the points.
Pass = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table. `enter` maps x to what the pass takes, `leave` its gradients to those by x."""

    run: Pass
    enter: Callable[[Tensor], Tensor] = lambda x: x
    leave: Callable[[Tensor], Tensor] = lambda gradient: gradient
    build_s: float | None = None


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    arguments = argparse.ArgumentParser()
    arguments.add_argument("nets", nargs="*", default=list(NETS))
    arguments.add_argument("--repeats", type=int, default=7)
    given = arguments.parse_args()
    print("| net | passes | ms per point by batch | best | times plain | times chosen | difference | build, s |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.nets:
        measure(name, NETS[name], given.repeats)


def measure(name: str, net: Net, repeats: int) -> None:
    """Prints the rows of one net."""
    torch.manual_seed(0)
    module = with_statistics(net.build(), net.shape).eval().requires_grad_(False)
    rows = entries(module, net.shape)
    seconds = {row: dict.fromkeys(net.batches, 0.0) for row in rows}
    for batch in net.batches:
        for row, taken in interleaved(module, rows, some(net.shape, batch), repeats).items():
            seconds[row][batch] = taken / batch
    _, expected = gradients(module, rows["torch, plain"], some(net.shape, COMPARED_ROWS))
    best = {row: min(taken.values()) for row, taken in seconds.items()}
    chosen = next(taken for row, taken in best.items() if row.startswith("torch, chosen"))
    for row, entry in rows.items():
        _, found = gradients(module, entry, some(net.shape, COMPARED_ROWS))
        apart = float((found - expected).norm() / expected.norm())
        by_batch = ", ".join(f"{batch}: {taken * 1e3:.3g}" for batch, taken in seconds[row].items())
        at = min(net.batches, key=lambda batch: seconds[row][batch])
        ratios = f"{best['torch, plain'] / best[row]:.2f} | {chosen / best[row]:.2f}"
        built = "" if entry.build_s is None else f"{entry.build_s:.0f}"
        print(f"| {name} | {row} | {by_batch} | {at} | {ratios} | {apart:.0e} | {built} |", flush=True)


def entries(module: nn.Module, shape: tuple[int, ...]) -> dict[str, Entry]:
    """By name. Graphs take the module as the exact transforms leave it, without those of torch's own kernels."""
    sample = Sample((some(shape, 1),), (0,))
    found = {"torch, plain": Entry(by_torch(module))}
    chosen = transformed(module, sample)
    name = f"torch, chosen: {' + '.join(chosen.applied) or 'nothing'}"
    found[name] = behind(chosen.prefix, by_torch) if chosen.prefix else Entry(by_torch(chosen.module))
    folded, _ = fold_norms(module, sample.rows(2))
    found["graph"] = built(folded, shape, n_classes_of(module, shape))
    if chosen.prefix is not None and (cut := find_cut(folded, [sample.rows(2)], 0, Bounds())) is not None:
        prefix = Prefix(folded, cut, channels_last=False)
        # Prefix.outputs asks z for its length: a constant to a trace. The prefixes of these nets are plain chains.
        chain = [cut.last, *(part for part, _ in cut.skipped)]
        rest = replaced_copy(folded, {part: Copied() for part in chain})
        inner = built(rest, cut.shape, n_classes_of(module, shape))
        found["graph behind the prefix"] = behind(prefix, lambda _: inner.run, inner.build_s)
    return found


class Copied(nn.Module):
    """In the place of a layer whose work is in z; a copy, for what goes on in place. onnxruntime leaves it out."""

    def forward(self, tensor: Tensor) -> Tensor:
        return tensor.clone()


def behind(prefix: Prefix, make: Callable[[Callable[[Tensor], Tensor]], Pass], build_s: float | None = None) -> Entry:
    """Passes over z."""

    def enter(x: Tensor) -> Tensor:
        with torch.no_grad():
            return prefix(x)

    return Entry(make(prefix.outputs), enter, prefix.pull_back, build_s)


def by_torch(call: Callable[[Tensor], Tensor]) -> Pass:
    def run(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        leaf = points.detach().requires_grad_()
        scores = call(leaf).softmax(1)
        (gradient,) = torch.autograd.grad((scores * weights).sum(), leaf)
        return scores.detach(), gradient

    return run


def built(call: Callable[[Tensor], Tensor], shape: tuple[int, ...], n_classes: int) -> Entry:
    """The same pass as one graph in onnxruntime."""
    began = time.perf_counter()
    session = in_onnxruntime(as_onnx(by_torch(call), some(shape, TRACED_ROWS), torch.rand(TRACED_ROWS, n_classes)))
    return Entry(session, build_s=time.perf_counter() - began)


def as_onnx(function: Pass, points: Tensor, weights: Tensor) -> bytes:
    """The serialized graph of a pass, with free rows."""
    rules: dict[Any, Any] = {**core_aten_decompositions(), **DECOMPOSITIONS}
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    with sdpa_kernel(SDPBackend.MATH):
        traced = make_fx(function, rules, tracing_mode="fake")(*(_free_rows(mode, each) for each in (points, weights)))
    rows = torch.export.Dim("rows", min=1, max=2**16)
    exported = torch.export.export(traced, (points, weights), dynamic_shapes=({0: rows}, {0: rows}), strict=False)
    program = torch.onnx.export(
        exported, input_names=["points", "weights"], output_names=["scores", "gradient"], opset_version=OPSET,
        dynamo=True, optimize=True, verbose=False,
    )  # fmt: skip
    file = io.BytesIO()
    program.save(file)
    return file.getvalue()


def _free_rows(mode: FakeTensorMode, tensor: Tensor) -> Tensor:
    """Stands for a tensor of any number of rows; other sizes are numbers, or the graph would compute with them."""
    sizes = [DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * (tensor.dim() - 1)
    return mode.from_tensor(tensor, symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))


def in_onnxruntime(graph: bytes) -> Pass:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        scores, gradient = session.run(None, {"points": points.numpy(), "weights": weights.numpy()})
        return torch.from_numpy(scores), torch.from_numpy(gradient)

    return run


def convolution_backward(  # noqa: PLR0913 - the operator's own arguments
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: Any, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int, output_mask: list[bool],
) -> tuple[Tensor | None, None, None]:  # fmt: skip
    """By the input alone, in two dimensions, as plain convolutions with the flipped kernel, for a stride of s one for
    each of the s * s phases of the input. A transposed one took onnxruntime 1.17 times as long (64 channels, 56x56).
    """
    if transposed or groups != 1 or set(dilation) != {1} or output_mask[1:] != [False, False] or len(stride) != 2:
        return NotImplemented
    if len(set(stride)) > 1:
        return NotImplemented
    kernel = weight.transpose(0, 1)
    step, sizes = stride[0], list(x.shape[2:])
    if step == 1:
        border = [size - 1 - pad for size, pad in zip(kernel.shape[2:], padding, strict=True)]
        return functional.conv2d(gradient, kernel.flip(2, 3), padding=border), None, None
    if any(size % step for size in sizes):
        return NotImplemented
    of = (sizes, padding)
    parts = [[_phase(gradient, kernel, step, (down, right), of) for right in range(step)] for down in range(step)]
    return _woven(parts), None, None


def _phase(
    gradient: Tensor, kernel: Tensor, step: int, place: tuple[int, int], of: tuple[list[int], list[int]]
) -> Tensor:
    """Rows and columns i of the input's gradient for which i % step is the place; `of`: sizes and padding.

    i + padding = q * step + r: the sum over j of gradient[q - j] * kernel[j * step + r], for a range of q.
    """
    sizes, padding = of
    residues = [(first + pad) % step for first, pad in zip(place, padding, strict=True)]
    starts = [(first + pad) // step for first, pad in zip(place, padding, strict=True)]
    part = kernel[:, :, residues[0] :: step, residues[1] :: step]
    down, right = (slice(start, start + size // step) for start, size in zip(starts, sizes, strict=True))
    if 0 in part.shape:
        return (gradient[:, :1] * 0).expand(-1, kernel.shape[0], -1, -1)
    return functional.conv2d(gradient, part.flip(2, 3), padding=[size - 1 for size in part.shape[2:]])[
        :, :, down, right
    ]


def max_pool_backward(  # noqa: PLR0913 - the operator's own arguments
    gradient: Tensor, x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int],
    ceil_mode: bool, indices: Tensor,
) -> Tensor:  # fmt: skip
    """By comparison with the maximum, the first place of equal ones: onnxruntime's pooling with indices is slow."""
    step = (stride or kernel)[0]
    if ceil_mode or set(dilation) != {1} or len(kernel) != 2 or len(set(stride or kernel)) > 1:
        return NotImplemented
    (high, wide), (above, left) = kernel, padding
    maxima = functional.max_pool2d(x, kernel, stride, padding)
    padded = _bordered(x, (above, above), (left, left), -math.inf)
    rows, columns = maxima.shape[2:]
    n_down, n_right = (-(-size // step) for size in padded.shape[2:])
    shares: dict[tuple[int, int], Tensor] = {}
    rest = gradient
    for i in range(high):
        for j in range(wide):
            seen = padded[:, :, i : i + step * (rows - 1) + 1 : step, j : j + step * (columns - 1) + 1 : step]
            hit = seen == maxima
            share, rest = torch.where(hit, rest, 0.0), torch.where(hit, 0.0, rest)
            (down, top), (right, start) = divmod(i, step)[::-1], divmod(j, step)[::-1]
            share = _bordered(share, (top, n_down - rows - top), (start, n_right - columns - start), 0.0)
            shares[down, right] = shares[down, right] + share if (down, right) in shares else share
    none = torch.zeros_like(next(iter(shares.values())))
    whole = _woven([[shares.get((i, j), none) for j in range(step)] for i in range(step)])
    return whole[:, :, above : above + x.shape[2], left : left + x.shape[3]]


def _bordered(maps: Tensor, rows: tuple[int, int], columns: tuple[int, int], value: float) -> Tensor:
    """Padded, without `functional.pad`, whose traces freeze the number of rows (torch 2.13)."""
    for axis, (before, after) in ((2, rows), (3, columns)):
        parts = [torch.full_like(maps.narrow(axis, 0, size), value) for size in (before, after)]
        maps = torch.cat([parts[0]] * bool(before) + [maps] + [parts[1]] * bool(after), axis)
    return maps


def _woven(phases: list[list[Tensor]]) -> Tensor:
    """Maps whose every s-th row and column are one of s * s given ones."""
    lines = [torch.stack(line, dim=-1).flatten(-2) for line in phases]
    return torch.stack(lines, dim=-2).flatten(-3, -2)


DECOMPOSITIONS: dict[Any, Any] = {
    aten.convolution_backward.default: convolution_backward,
    aten.max_pool2d_with_indices_backward.default: max_pool_backward,
}


def n_classes_of(module: nn.Module, shape: tuple[int, ...]) -> int:
    with torch.no_grad():
        return int(module(some(shape, 1)).shape[1])


def gradients(module: nn.Module, entry: Entry, x: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of rows of x, and the gradients by x of those of class 1."""
    weights = one_hot(module, x)
    scores, gradient = entry.run(entry.enter(x), weights)
    return scores, entry.leave(gradient)


def one_hot(module: nn.Module, x: Tensor) -> Tensor:
    weights = torch.zeros(len(x), n_classes_of(module, tuple(x.shape[1:])))
    weights[:, 1] = 1
    return weights


def interleaved(module: nn.Module, rows: dict[str, Entry], x: Tensor, repeats: int) -> dict[str, float]:
    """Median processor seconds of a pass of each."""
    weights = one_hot(module, x)
    points = {row: entry.enter(x) for row, entry in rows.items()}
    taken: dict[str, list[float]] = {row: [] for row in rows}
    for repeat in range(repeats + 1):
        for row, entry in rows.items():
            began = time.process_time()
            entry.run(points[row], weights)
            if repeat:
                taken[row].append(time.process_time() - began)
    return {row: statistics.median(each) for row, each in taken.items()}


if __name__ == "__main__":
    main()
