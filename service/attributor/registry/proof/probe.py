"""The proof at load: does a module keep what its manifest says, and what batching across requests rests on?

Knows torch and one module. Knows nothing of requests; what it finds is a sentence for the operator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from attributor.errors import RequestError
from attributor.jobs.model import ModelInfo, OutputKind, Tensors
from attributor.registry.foreign import describe
from attributor.registry.loader import LoadedBundle
from attributor.registry.proof.paths import check_paths
from attributor.registry.proof.places import Batch, places_of
from attributor.registry.proof.probe_rows import ROWS, baseline_row, most_positions, probe_rows, usual_positions
from attributor.registry.proof.probe_run import Failed, Run, Runner
from attributor.runtimes.layers import named_layers, submodule

#: The text of a check that found nothing; one that found something harmless begins with it.
PASSED = "passed"

#: In place of what is checked of gradients.
NO_GRADIENTS = "no gradients: perturbation methods only"

#: Largest relative L1 difference between two float32 runs of the same row. Ours: ten times the 1e-5 that we promise
#: on well-conditioned nets (design.md, section 5); a model whose rows see each other is off by far more.
_ROW_TOLERANCE = 1e-4

#: How far probabilities may miss adding up to 1. Ours: a thousand float32 roundings.
_SUM_TOLERANCE = 1e-4

#: How near to 1 the outputs of every row must add up to be taken for probabilities. Ours: ten float32 roundings.
_LOOKS_LIKE_ONE = 1e-6


@dataclass(frozen=True, slots=True)
class Proof:
    """What each check found, in order. `problem`: why the model must not serve, None if it may.

    Measured on the way, None where a check failed before: `seconds_per_evaluation` of one forward and backward pass (of
    a model without gradients, forward) of one row, `seconds_in_batch` the same per row of the largest batch tried, both
    medians; `peak_bytes` of the device's memory, on CUDA only.
    """

    checks: Mapping[str, str]
    problem: str | None
    seconds_per_evaluation: float | None = None
    seconds_in_batch: float | None = None
    peak_bytes: int | None = None


def prove(loaded: LoadedBundle, info: ModelInfo, references: Tensors, device: str = "cpu") -> Proof:
    """Runs all checks on random rows of the declared domain, up to the first that fails. Never raises."""
    checks: dict[str, str] = {}
    trial = _Trial(loaded, info, references, Runner(loaded.module, info, torch.device(device)))
    if trial.runner.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(trial.runner.device)
    try:
        for check, finding in trial.checks():
            checks[check] = finding
    except Failed as failed:
        checks.pop(failed.check, None)  # one that passed on other rows before
        return Proof({**checks, failed.check: str(failed)}, str(failed))
    except Exception as error:  # what a bundle's code may raise is not ours to list
        problem = f"The model raised on inputs as declared ({trial.declared()}): {describe(error)}."
        return Proof({**checks, "runs": problem}, problem)
    alone, in_batch = trial.runner.seconds_per_row(1), trial.runner.seconds_per_row(ROWS)
    return Proof(checks, None, alone, in_batch, _peak_bytes(trial.runner.device))


def layers(module: nn.Module) -> dict[str, str]:
    """A module's layers, by name: the type of each, as it says itself (`layer_type`) or by its class."""
    return {
        name: str(getattr(part, "layer_type", "") or type(part).__name__) for name, part in named_layers(module).items()
    }


def _peak_bytes(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


@dataclass(frozen=True, slots=True)
class _Trial:
    """A model, and the rows that it is tried on."""

    loaded: LoadedBundle
    info: ModelInfo
    references: Tensors
    runner: Runner

    def checks(self) -> Iterator[tuple[str, str]]:
        """Yields each check that passed with what it found; each rests on those before it. Raises Failed."""
        if any(part.training for part in self.loaded.module.modules()):
            raise Failed("eval_mode", "A submodule stays in training mode: its train() or eval() has to reach it.")
        yield "eval_mode", PASSED
        self._require_vocabularies()
        rows = self._rows(ROWS, usual_positions(self.info))
        outputs = self.runner.outputs(rows)
        yield "shapes", PASSED
        if self.info.gradients and any(spec.embedding for spec in self.info.inputs):
            self._places(rows)
            yield "embeddings", PASSED
        if not outputs.isfinite().all():
            raise Failed("finite_outputs", f"The model returns NaN or infinity for finite inputs. {self._hint()}")
        yield "finite_outputs", PASSED
        if self.info.output.kind in (OutputKind.CLASSES, OutputKind.PROBABILITIES):
            yield "output_scale", _output_scale(outputs.detach().double(), self.info.output.kind)
        together = self.runner.run(rows)
        yield "gradients", self._gradients(rows, together)
        _require_deterministic(together.difference(self.runner.run(rows)))
        yield "deterministic", PASSED
        for first, last in ((0, 1), (2, 3), (ROWS - 1, ROWS), (1, 3)):
            alone = self.runner.run(_taken(rows, first, last))
            _require_independent(alone.difference(together.rows(first, last)), last - first)
        yield "rows_independent", PASSED
        if most_positions(self.info) is not None:
            yield "lengths", self._lengths()
        if self.loaded.paths:
            if problem := check_paths(self.loaded.paths, self._places(rows)):
                raise Failed("paths", problem)
            yield "paths", PASSED

    def declared(self) -> str:
        """The inputs as they were tried."""
        rows = self._rows(ROWS, usual_positions(self.info))
        return ", ".join(f"{name}: {str(rows[name].dtype)[6:]} {list(rows[name].shape)}" for name in rows)

    def _rows(self, n_rows: int, positions: int | None) -> dict[str, Tensor]:
        found = probe_rows(self.info, self.references, n_rows, positions)
        return {name: tensor.to(self.runner.device) for name, tensor in found.items()}

    def _require_vocabularies(self) -> None:
        """Before any id reaches a device, whose process an id beyond a table would end."""
        for spec in self.info.inputs:
            if spec.embedding is None or not self.info.gradients:
                continue
            try:
                table = submodule(self.loaded.module, spec.embedding)
            except RequestError as error:
                raise _no_embedding(error) from error
            if isinstance(table, nn.Embedding) and table.num_embeddings < (spec.vocabulary or 0):
                raise Failed(
                    "embeddings",
                    f"The input {spec.name!r} declares a vocabulary of {spec.vocabulary}, and its embedding "
                    f"{spec.embedding!r} has {table.num_embeddings} rows: say vocabulary = {table.num_embeddings}.",
                )

    def _places(self, rows: Batch) -> Batch:
        try:
            return places_of(self.loaded.module, self.info, rows)
        except RequestError as error:
            raise _no_embedding(error) from error

    def _gradients(self, rows: Batch, together: Run) -> str:
        """Finite at random rows, and on the way to one from the default baseline."""
        if not self.info.gradients:
            return NO_GRADIENTS
        _require_finite(together, "at random inputs", self._hint())
        start = baseline_row(self.info, usual_positions(self.info))
        moved = {
            spec.name: torch.from_numpy(np.repeat(start[spec.name][None], ROWS, axis=0)).to(self.runner.device)
            for spec in self.info.inputs
            if spec.attributed
        }
        there, here = self._places({**rows, **moved}), self._places(rows)
        # The last row is the baseline itself, the others are half-way.
        on_the_way = {name: torch.cat([(there[name] + here[name])[:-1] / 2, there[name][-1:]]) for name in here}
        run = self.runner.run(rows, on_the_way)
        _require_finite(run.rows(0, ROWS - 1), "half-way from the default baseline to random inputs", self._hint())
        at_baseline = run.rows(ROWS - 1, ROWS)
        if not at_baseline.outputs.isfinite().all():
            raise Failed(
                "gradients", "The model returns NaN or infinity at the default baseline: declare another default."
            )
        if (name := at_baseline.not_finite()) is not None:
            return (
                f"{PASSED}; at the default baseline itself the gradient in {name!r} has NaN or infinity: the adaptive "
                "rule goes round it, fixed rules with a node there are refused"
            )
        return PASSED

    def _lengths(self) -> str:
        """One position, and the most: of what is declared nothing is believed."""
        most, usual = most_positions(self.info) or 1, usual_positions(self.info)
        for positions in sorted({1, most} - {usual}):
            where = f"with {positions} position{'s' * (positions > 1)}"
            rows = self._rows(2, positions)
            try:
                run = self.runner.run(rows)
            except Failed as failed:
                raise Failed("lengths", f"Of examples {where}: {failed}") from failed
            except Exception as error:
                raise Failed(
                    "lengths",
                    f"Of examples {where} the model raised {describe(error)}. Say how many it takes at most in shape, "
                    "or leave variable out if it takes one length only.",
                ) from error
            if not run.outputs.isfinite().all() or run.not_finite():
                raise Failed(
                    "lengths",
                    f"Of examples {where} the outputs or gradients have NaN or infinity. {self._hint()}",
                )
        return f"{PASSED}; tried 1, {usual} and {most} positions" if most > 1 else PASSED

    def _hint(self) -> str:
        """Where inputs came from that nothing declares the values of."""
        held = [spec.name for spec in self.info.inputs if not spec.attributed and spec.name not in self.references]
        if not held:
            return "Look for divisions, logarithms and roots at 0."
        return (
            f"Inputs that are not attributed ({', '.join(held)}) had the default baseline's values, or were all ones "
            "if masks: if these make no sense to the model, add a reference set. Else look for divisions, logarithms "
            "and roots at 0, and for a softmax over nothing but masked values."
        )


def _no_embedding(error: RequestError) -> Failed:
    return Failed("embeddings", f"The embedding of a token input cannot be used: {error.detail}")


def _taken(rows: Batch, first: int, last: int) -> dict[str, Tensor]:
    return {name: tensor[first:last] for name, tensor in rows.items()}


def _output_scale(outputs: Tensor, kind: OutputKind) -> str:
    """Outputs (rows, n), float64. Probabilities have to be some; logits that look like some are remarked on."""
    sums, smallest = outputs.sum(1), outputs.min().item()
    if kind is OutputKind.PROBABILITIES:
        off = float((sums - 1).abs().max())
        if smallest < 0 or off > _SUM_TOLERANCE:
            what = f"one of them is {smallest:.3g}" if smallest < 0 else f"a row misses adding up to 1 by {off:.1e}"
            raise Failed(
                "output_scale",
                f'The manifest says kind = "probabilities", and {what}. Say "classes" if the outputs are logits, '
                '"values" if they are neither.',
            )
    elif smallest >= 0 and float((sums - 1).abs().max()) <= _LOOKS_LIKE_ONE:
        return (
            f"{PASSED}; but the outputs of every row lie between 0 and 1 and add up to 1: if they are probabilities "
            'already, say kind = "probabilities", lest a softmax be taken of them'
        )
    return PASSED


def _require_finite(run: Run, where: str, hint: str) -> None:
    if not run.outputs.isfinite().all():
        raise Failed("gradients", f"The model returns NaN or infinity {where}. {hint}")
    if (name := run.not_finite()) is not None:
        raise Failed("gradients", f"The gradient has NaN or infinity {where}, in {name!r}. {hint}")


def _require_deterministic(change: float) -> None:
    if not change <= _ROW_TOLERANCE:
        raise Failed(
            "deterministic",
            f"The same batch, run twice, gave outputs or gradients that differ by {change:.1e} (relative): the model "
            "is not deterministic. Look for dropout that stays on, or noise.",
        )


def _require_independent(change: float, n_rows: int) -> None:
    if not change <= _ROW_TOLERANCE:
        alone = "the same row alone" if n_rows == 1 else f"the same rows in a batch of {n_rows}"
        raise Failed(
            "rows_independent",
            f"A row in a batch of {ROWS} and {alone} gave outputs or gradients that differ by {change:.1e} "
            "(relative): the rows of a batch influence each other, so requests could not share a batch. Look for "
            "statistics over the batch axis.",
        )
