"""The differentiable scalar F of a classifier's logits: a class, read on its scale. Knows torch, no paths."""

from collections.abc import Sequence

import torch
from torch import Tensor

from attributor.jobs.model import OutputScale

#: Per row of a batch: which class, on which scale.
ClassTarget = tuple[int, OutputScale]


def class_scores(logits: Tensor, targets: Sequence[ClassTarget]) -> Tensor:
    """F per row. Logits (rows, classes), one target per row; scores float64, shape (rows,).

    float64 from here on, as residuals are small differences of scores. log p_c = z_c - log sum_k exp z_k.
    """
    wide = logits.double()
    classes = torch.tensor([[class_index] for class_index, _ in targets], device=logits.device)
    raw = wide.gather(1, classes).squeeze(1)
    log_probability = raw - wide.logsumexp(1)
    is_logit = _rows_on(OutputScale.LOGIT, targets, logits.device)
    is_probability = _rows_on(OutputScale.PROBABILITY, targets, logits.device)
    return torch.where(is_logit, raw, torch.where(is_probability, log_probability.exp(), log_probability))


def _rows_on(scale: OutputScale, targets: Sequence[ClassTarget], device: torch.device) -> Tensor:
    return torch.tensor([found == scale for _, found in targets], device=device)
