"""Attributions that the quadratures are judged by: Gauss-Legendre on many equal panels. Knows no tested quadrature.

Results are kept under cache/, keyed by what they depend on; a run that was stopped goes on where it was. Run as
`python -m benchmarks.quadrature_nets.reference [name ...]` to compute all, or those named; it prints its progress.
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .cases import NAMES, Case, Net, load

CACHE = Path(__file__).parent / "cache"
# Cases that are computed a second time with twice the panels, to learn the reference's own error.
CHECKED = 5
SAVE_EVERY = 5


@dataclass(frozen=True, slots=True)
class Resolution:
    """Equal panels of `order` Gauss-Legendre nodes each, evaluated `batch` at a time."""

    panels: int
    order: int
    batch: int
    dtype: torch.dtype = torch.float64

    def nodes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Nodes in (0, 1), ascending, and their weights."""
        offsets, weights = np.polynomial.legendre.leggauss(self.order)
        nodes = (np.arange(self.panels)[:, None] + (offsets + 1) / 2) / self.panels
        return nodes.ravel(), np.tile(weights / 2 / self.panels, self.panels)

    def doubled(self) -> "Resolution":
        return Resolution(2 * self.panels, self.order, self.batch, self.dtype)


# A kink costs any rule about one node's weight times the kink's jump, whatever its order, so the kinked nets get
# many panels of few nodes, as many as one core does in minutes. The smooth ones reach 1e-4 with far fewer nodes; the
# transformer has steep stretches (32 nodes left one input 19 % off), so it gets more than most of its inputs need.
RESOLUTIONS = {
    "mlp": Resolution(panels=8192, order=4, batch=2048),
    "digits_cnn": Resolution(panels=2048, order=4, batch=128),
    "inception": Resolution(panels=2048, order=3, batch=64, dtype=torch.float32),
    "googlenet": Resolution(panels=512, order=3, batch=64, dtype=torch.float32),
    "lstm": Resolution(panels=32, order=8, batch=128),
    "minilm": Resolution(panels=12, order=8, batch=16),
    "transformer": Resolution(panels=64, order=8, batch=64),
    "graph": Resolution(panels=4, order=8, batch=64),
}


def reference(net: Net) -> list[NDArray[np.float64]]:
    """Attributions of every case, in the example's shape, from the cache where they are there."""
    stored = _complete(net)
    return [stored[f"case_{index}"] for index in range(len(net.cases))]


def reference_errors(net: Net) -> NDArray[np.float64]:
    """Relative L1 change of the first few cases' reference when its panels are doubled."""
    return _complete(net)["doubling_errors"]


def integrate(case: Case, resolution: Resolution) -> NDArray[np.float64]:
    """Integrated gradients of one case on the straight path, summed in float64."""
    nodes, weights = resolution.nodes()
    step = case.example - case.baseline
    total = torch.zeros_like(step, dtype=torch.float64)
    for first in range(0, len(nodes), resolution.batch):
        chunk = slice(first, first + resolution.batch)
        alphas = torch.tensor(nodes[chunk], dtype=step.dtype).view(-1, *(1,) * step.dim())
        points = (case.baseline + alphas * step).requires_grad_(True)
        (gradients,) = torch.autograd.grad(case.score(points).sum(), points)
        total += torch.tensordot(torch.tensor(weights[chunk]), gradients.double(), dims=1)
    return (total * step.double()).numpy()


def _complete(net: Net) -> dict[str, NDArray[np.float64]]:
    path = CACHE / f"{net.name}-{_fingerprint(net)}.npz"
    stored = _read(path)
    if "doubling_errors" in stored:
        return stored
    resolution = RESOLUTIONS[net.name]
    cases = load(net.name, resolution.dtype).cases
    for index, case in enumerate(cases):
        if f"case_{index}" not in stored:
            stored[f"case_{index}"] = integrate(case, resolution)
            if (index + 1) % SAVE_EVERY == 0:
                _write(path, stored)
                print(f"{net.name}: {index + 1} of {len(cases)} references", file=sys.stderr, flush=True)
    stored["doubling_errors"] = np.array(
        [_change(stored[f"case_{index}"], integrate(cases[index], resolution.doubled())) for index in range(CHECKED)]
    )
    _write(path, stored)
    return stored


def _change(coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> float:
    return float(np.abs(coarse - fine).sum() / np.abs(fine).sum())


def _fingerprint(net: Net) -> str:
    """Changes with the weights, the inputs and the resolution; the scores' code is not in it."""
    digest = hashlib.sha256(repr(RESOLUTIONS[net.name]).encode())
    tensors = [*net.module.state_dict().values(), *(end for case in net.cases for end in (case.example, case.baseline))]
    for tensor in tensors:
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path) -> dict[str, NDArray[np.float64]]:
    if not path.exists():
        return {}
    with np.load(path) as stored:
        return dict(stored)


def _write(path: Path, stored: dict[str, NDArray[np.float64]]) -> None:
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **stored)
    unfinished.replace(path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or NAMES:
        errors = reference_errors(load(chosen))
        print(f"{chosen}: doubling errors median {np.median(errors):.1e}, largest {errors.max():.1e}", flush=True)
