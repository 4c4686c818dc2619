"""The differentiable scalar F of a model's outputs: a weighted sum of outputs on a scale. Knows torch, no paths."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attributor.core.asks import Indices
from attributor.errors import UnsupportedByModel
from attributor.jobs.explanation import Target, Term
from attributor.jobs.fitting import SCALES
from attributor.jobs.model import OutputKind, OutputScale, OutputSpec

#: Scales that read an output as it stands.
_AS_IT_STANDS = (OutputScale.LOGIT, OutputScale.VALUE)


def check_target(target: Target, output: OutputSpec) -> None:
    """Raises UnsupportedByModel for a scale or position the output does not have; ValueError for an output or rank.

    `output`: as the example has it (`jobs.lengths.output_at`).
    """
    n = len(output.labels)
    for term in target.terms:
        if not 0 <= term.index < n:
            raise ValueError(f"The model has no output {term.index}. This is a bug.")
    if not target.terms and not 0 <= target.rank < n:
        raise ValueError(f"The model has no output of rank {target.rank}. This is a bug.")
    # A regression output is read as it stands, whatever the scale.
    if output.kind is not OutputKind.VALUES and target.scale not in SCALES[output.kind]:
        raise UnsupportedByModel(_no_scale(target.scale, output.kind), field="target.scale")
    if target.position is None:
        return
    if output.positions is None:
        raise UnsupportedByModel("This model's output has no positions; leave it out.", field="target.position")
    if not -output.positions <= target.position < output.positions:
        raise UnsupportedByModel(
            f"The output has positions 0 to {output.positions - 1}, or -{output.positions} to -1 from the end.",
            field="target.position",
        )


def _no_scale(scale: OutputScale, kind: OutputKind) -> str:
    what = "probabilities, of which no logits are known" if kind is OutputKind.PROBABILITIES else "logits"
    return f"This model's outputs are {what}; read them on the scale {' or '.join(SCALES[kind])}, not {scale}."


def resolved_target(target: Target, output: OutputSpec, at_example: NDArray[np.float32]) -> Target:
    """The target with its terms, given the outputs at the example (of the output's shape), and a position from 0.

    Equal outputs rank by index. Without a position, a sequence is read at its last one; regression outputs are read as
    they stand, whatever the scale.
    """
    position = None
    if output.positions is not None:
        position = (-1 if target.position is None else target.position) % len(at_example)
        at_example = at_example[position]
    terms = target.terms or (Term(int(np.argsort(-at_example, kind="stable")[target.rank])),)
    scale = OutputScale.VALUE if output.kind is OutputKind.VALUES else target.scale
    return replace(target, terms=terms, position=position, scale=scale)


def target_scores(
    outputs: Tensor, targets: Sequence[Target], kind: OutputKind, counts: Sequence[int] | None = None
) -> Tensor:
    """F per row. Outputs (rows, n) or (rows, positions, n); scores float64, shape (rows,). One resolved target per row,
    or, with `counts`, each for so many rows.

    float64 from here on, as residuals are small differences of scores. log p_c = z_c - log sum_k exp z_k; outputs that
    are probabilities are read as they stand, and by their logarithm, -inf at 0.
    """
    if kind is not OutputKind.PROBABILITIES and (scale := _common_scale(targets)) is not None:
        return _single_outputs(at_positions(outputs, targets, counts).double(), targets, scale, counts)
    # Few targets, many rows: what is per target is built once and looked up per row.
    of_row = _of_rows(range(len(targets)), counts, outputs.device)
    wide = at_positions(outputs, targets, counts).double()
    indexes, weights = _terms(targets, outputs.device)
    at = indexes.index_select(0, of_row)
    raw = wide.gather(1, at)
    if kind is OutputKind.PROBABILITIES:
        read = _of_probabilities(raw, targets, of_row)
    else:
        read = _on_scales(wide, at, targets, of_row)
    if weights is None:
        return read.squeeze(1)
    return (read * weights.index_select(0, of_row)).sum(1)


def _common_scale(targets: Sequence[Target]) -> OutputScale | None:
    """The scale of all targets, if each is one output as it is: by far the most frequent case."""
    scale = targets[0].scale
    for target in targets:
        if target.scale != scale or len(target.terms) > 1 or target.terms[0].weight != 1.0:
            return None
    return scale


def _single_outputs(
    wide: Tensor, targets: Sequence[Target], scale: OutputScale, counts: Sequence[int] | None
) -> Tensor:
    """One output per row, in as few operations as there can be: each costs a small net as much as a layer."""
    if scale == OutputScale.PROBABILITY:
        wide = wide.softmax(1)
    elif scale == OutputScale.LOG_PROBABILITY:
        wide = wide.log_softmax(1)
    index = _of_rows([target.terms[0].index for target in targets], counts, wide.device)
    return wide.gather(1, index[:, None]).squeeze(1)


def top_outputs(outputs: Tensor, targets: Sequence[Target], counts: Sequence[int] | None = None) -> Indices:
    """The index of the largest output per row, at its target's position; the first of equals."""
    found: Indices = at_positions(outputs, targets, counts).cpu().numpy().argmax(1)
    return found


def at_positions(outputs: Tensor, targets: Sequence[Target], counts: Sequence[int] | None = None) -> Tensor:
    """The outputs at each row's target's position, shape (rows, n); outputs without positions as they are."""
    if outputs.dim() == 2:
        return outputs
    positions = _of_rows([target.position or 0 for target in targets], counts, outputs.device)
    return outputs[torch.arange(len(outputs), device=outputs.device), positions]


def _of_rows(values: Sequence[int], counts: Sequence[int] | None, device: torch.device) -> Tensor:
    """A value per row, each standing for its count of rows."""
    of_each = np.array(values, np.intp)
    return torch.from_numpy(of_each if counts is None else of_each.repeat(counts)).to(device)


def _terms(targets: Sequence[Target], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Indexes and weights, both (targets, most terms); weights None where each target is one output as it is."""
    width = max(len(target.terms) for target in targets)
    # Filled up with an index of the target's own at weight 0: another output may be infinite.
    padded = [target.terms + (Term(target.terms[0].index, 0.0),) * (width - len(target.terms)) for target in targets]
    indexes = torch.tensor([[term.index for term in terms] for terms in padded], device=device)
    weights = [[term.weight for term in terms] for terms in padded]
    if all(row == [1.0] for row in weights):
        return indexes, None
    return indexes, torch.tensor(weights, dtype=torch.float64, device=device)


def _on_scales(wide: Tensor, at: Tensor, targets: Sequence[Target], of_row: Tensor) -> Tensor:
    """The outputs numbered `at` (rows, terms) among all outputs `wide`, each row on the scale of its target; to the bit
    as `_single_outputs` reads them, whoever shares the pass."""
    raw = wide.gather(1, at)
    scales = {target.scale for target in targets}
    if scales.issubset(_AS_IT_STANDS):
        return raw
    as_it_stands = None
    if not scales.isdisjoint(_AS_IT_STANDS):
        # Rows read as they stand stay out of what follows: where() hands a gradient of 0 * infinity on as NaN.
        as_it_stands = _mask([target.scale in _AS_IT_STANDS for target in targets], of_row)
        wide = wide.masked_fill(as_it_stands, 0.0)
    if OutputScale.LOG_PROBABILITY not in scales:
        read = wide.softmax(1).gather(1, at)
    else:
        read = wide.log_softmax(1).gather(1, at)
        if OutputScale.PROBABILITY in scales:
            probable = _mask([target.scale == OutputScale.PROBABILITY for target in targets], of_row)
            read = torch.where(probable, wide.softmax(1).gather(1, at), read)
    return read if as_it_stands is None else torch.where(as_it_stands, raw, read)


def _of_probabilities(raw: Tensor, targets: Sequence[Target], of_row: Tensor) -> Tensor:
    """Probabilities `raw` (rows, terms), each row on the scale of its target."""
    logarithms = [target.scale is OutputScale.LOG_PROBABILITY for target in targets]
    if not any(logarithms):
        return raw
    if all(logarithms):
        return raw.log()
    # Rows that are not read by their logarithm stay out of it, as above.
    logarithm = _mask(logarithms, of_row)
    return torch.where(logarithm, raw.masked_fill(~logarithm, 1.0).log(), raw)


def _mask(of_target: Sequence[bool], of_row: Tensor) -> Tensor:
    return torch.tensor(of_target, device=of_row.device).index_select(0, of_row)[:, None]
