"""Trains the nets and writes their weights. Knows the data and the modules, nothing of scores or quadrature.

Run as `python -m benchmarks.quadrature_nets.train [name ...]`; without names, all but the GoogLeNet, whose weights
are not committed and which takes minutes (`load` trains it where they are missing). Seeded and single-threaded:
the same versions on the same processor write the same bytes.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from .data import classifier_rows, classifier_split
from .molecules import molecule_split, padded
from .nets import BUILDERS

WEIGHTS = Path(__file__).parent / "weights"
SEED = 0
ON_DEMAND = "googlenet"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how a net is trained; found by hand, ours, only so that each net clearly learns."""

    epochs: int
    peak_learning_rate: float
    batch: int = 64
    weight_decay: float = 1e-4


RECIPES = {
    "mlp": Recipe(epochs=60, peak_learning_rate=1e-3),
    "digits_cnn": Recipe(epochs=20, peak_learning_rate=2e-3),
    "inception": Recipe(epochs=6, peak_learning_rate=4e-3),
    "googlenet": Recipe(epochs=4, peak_learning_rate=2e-3, batch=32),
    "lstm": Recipe(epochs=40, peak_learning_rate=4e-3),
    "transformer": Recipe(epochs=40, peak_learning_rate=3e-3),
    "graph": Recipe(epochs=30, peak_learning_rate=4e-3),
}


def trained(name: str) -> nn.Module:
    """The net in evaluation mode with frozen weights, trained now if its weights file is missing."""
    path = weights_path(name)
    if not path.exists():
        print(f"{path.name} is missing: training {name}, which may take some minutes", file=sys.stderr, flush=True)
        train(name)
    module = BUILDERS[name]()
    module.load_state_dict(load_file(path))
    # Nearly halves the cost of the inception nets' convolutions on a CPU, and changes none of the others.
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def weights_path(name: str) -> Path:
    return WEIGHTS / f"{name}.safetensors"


def train(name: str) -> None:
    """Trains one net from its seed and writes its weights."""
    with _one_thread():
        torch.manual_seed(SEED)
        module = BUILDERS[name]().train()
        rows, loss = _task(name, module)
        _descend(module, rows, loss, RECIPES[name])
    unfinished = weights_path(name).with_suffix(".part")
    save_file(module.state_dict(), unfinished)
    # The library makes files that only their owner reads.
    unfinished.chmod(0o644)
    unfinished.replace(weights_path(name))


def _task(name: str, module: nn.Module) -> tuple[int, Callable[[Tensor], Tensor]]:
    """The number of training rows, and the loss of a choice of them."""
    if name == "graph":
        atoms, bonds, present, log_p = padded(molecule_split().train)
        return len(log_p), lambda rows: functional.mse_loss(
            module(atoms[rows], bonds[rows], present[rows]), log_p[rows]
        )
    inputs, labels = classifier_rows(name, classifier_split(name).train)
    return len(labels), lambda rows: functional.cross_entropy(module(inputs[rows]), labels[rows])


def _descend(module: nn.Module, rows: int, loss: Callable[[Tensor], Tensor], recipe: Recipe) -> None:
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.peak_learning_rate, weight_decay=recipe.weight_decay)
    # The last, smaller batch is left out: batch norm of a handful of rows is noise.
    batches = rows // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.peak_learning_rate, total_steps=recipe.epochs * batches
    )
    for _ in range(recipe.epochs):
        for batch in torch.randperm(rows)[: batches * recipe.batch].split(recipe.batch):
            optimiser.zero_grad()
            loss(batch).backward()
            optimiser.step()
            schedule.step()


@contextmanager
def _one_thread() -> Iterator[None]:
    # The order of a sum over threads, and so its rounding, would depend on the machine's cores.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or [name for name in BUILDERS if name != ON_DEMAND]:
        train(chosen)
        print(f"{weights_path(chosen).name} {weights_path(chosen).stat().st_size} bytes", flush=True)
