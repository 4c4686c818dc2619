"""Rules of layer-wise relevance propagation for Captum's LRP: which modules can have one, and two ways with biases.

Epsilon rule (Bach, Binder, Montavon, Klauschen, Mueller, Samek 2015, equation 58): a unit's relevance goes to its
inputs in proportion to z_ij = x_i w_ij, over z_j = sum_i z_ij + b_j; the bias keeps its share. Knows torch and Captum.
"""

from typing import Any

from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn

from attributor.errors import UnsupportedByModel

#: Linear in their input, or only another shape of it, so that the epsilon rule is exact; Captum knows no rule for them.
_ALSO_LINEAR = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.Conv1d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.AvgPool1d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.BatchNorm1d,
)


class SpreadBiasRule(EpsilonRule):  # type: ignore[misc]  # Captum takes rules by inheritance only, and has no types
    """The epsilon rule over z_j = sum_i z_ij: the bias passes its share on, in the same proportion.

    So relevance is conserved, and the figures for LRP of Sundararajan, Taly and Yan 2017 (appendix) come out. But where
    the contributions nearly cancel beside a large bias, single relevances become as large as one likes.
    """

    def forward_hook(self, module: nn.Module, inputs: Any, outputs: Tensor) -> Tensor:
        """As Captum's, which calls `_create_backward_hook_output` for the denominators."""
        self._bias = _bias(module, outputs)
        kept: Tensor = super().forward_hook(module, inputs, outputs)
        return kept

    def _create_backward_hook_output(self, outputs: Tensor) -> Any:
        contributions = outputs if self._bias is None else outputs - self._bias
        return super()._create_backward_hook_output(contributions)


def attach_rules(module: nn.Module, *, spread_bias: bool) -> None:
    """Set a rule on every leaf that wants one; Captum removes them after each use.

    Raises UnsupportedByModel, naming the module, where no rule is known.
    """
    for name, part in module.named_modules():
        if any(True for _ in part.children()) or type(part) in SUPPORTED_NON_LINEAR_LAYERS:
            continue
        if type(part) not in SUPPORTED_LAYERS_WITH_RULES and not isinstance(part, _ALSO_LINEAR):
            raise UnsupportedByModel(
                f"LRP knows no rule for {name or 'the model itself'} ({type(part).__name__}): it needs models that are "
                "made of linear layers, convolutions, poolings, batch norms, ReLU and tanh, all as modules."
            )
        part.rule = SpreadBiasRule() if spread_bias else EpsilonRule()


def has_rule(part: nn.Module) -> bool:
    """Whether relevance passes through this module by a rule."""
    return type(part) in {*SUPPORTED_LAYERS_WITH_RULES, *SUPPORTED_NON_LINEAR_LAYERS} or isinstance(part, _ALSO_LINEAR)


def _bias(module: nn.Module, outputs: Tensor) -> Tensor | None:
    """What the module adds to the weighted sum of its inputs, in the shape of `outputs` but for one row."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        offset: Tensor = module.forward(outputs.new_zeros((1, *outputs.shape[1:])))
        return offset.detach()
    bias = getattr(module, "bias", None)
    if not isinstance(bias, Tensor):
        return None
    over_positions = 0 if isinstance(module, nn.Linear) else outputs.dim() - 2
    return bias.detach().reshape(-1, *[1] * over_positions)
