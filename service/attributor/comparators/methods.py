"""The seven methods, each one call of Captum. Knows torch, Captum and a request's words; knows no job, no bundle."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from captum._utils.models.linear_model import SkLearnLinearModel
from captum.attr import LRP, Deconvolution, DeepLift, GuidedBackprop, KernelShap, Lime, Occlusion
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR
from torch import Tensor, nn

from attributor.comparators.coverage import JOINING_CALLS, NONLINEAR_CALLS, RELU_CALLS
from attributor.comparators.lrp import attach_rules, has_rule
from attributor.comparators.patches import patches, strides
from attributor.comparators.scores import TargetScores
from attributor.errors import UnsupportedByModel
from attributor.inputs.perturbing import default_samples, window_shape
from attributor.jobs.explanation import Method
from attributor.jobs.model import InputSpec

#: Perturbed inputs in one forward pass. Ours: within what was measured best for small nets and ResNets on a CPU core.
ROWS_PER_PASS = 32
#: Width of LIME's kernel in cosine distance, and the weight of its ridge regression: as in that package, for images.
LIME_KERNEL_WIDTH, LIME_RIDGE = 0.25, 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """Of the perturbing methods: `window`, `stride`, elements (see `patches`); `samples`, of those that draw.

    `spread_bias`: whether LRP hands on what reaches a bias (see `lrp`).
    """

    window: int | None = None
    stride: int | None = None
    samples: int | None = None
    spread_bias: bool = False


def read_options(given: Mapping[str, float]) -> Options:
    """The options of a request, which the API has held against its method."""
    counts = {name: int(value) for name, value in given.items() if name != "spread_bias"}
    return Options(**counts, spread_bias=given.get("spread_bias") == 1)


@dataclass(frozen=True, slots=True)
class Task:
    """One call: F, x and (where the method has one) x', each of shape (1, *input shape), and the inputs held fixed."""

    scores: TargetScores
    inputs: tuple[Tensor, ...]
    baselines: tuple[Tensor, ...]
    fixed: tuple[Tensor, ...]
    declared: tuple[InputSpec, ...]
    options: Options
    seed: int


@dataclass(frozen=True, slots=True)
class Trait:
    """What is to be known of a method.

    `has_baseline`: it compares with x'. `logit_only`: it propagates the raw output, whatever
    scale is asked for. `covers`: the modules that it treats in its own way, None where it only runs the model forward;
    `calls`: operations that it would treat so, had they come as such modules. `no_reuse`: a module may run only once.
    `incomplete`: why its attributions need not add up, None where they do.
    """

    compute: Callable[[Task], tuple[Tensor, ...]]
    has_baseline: bool = False
    logit_only: bool = False
    covers: Callable[[nn.Module], bool] | None = None
    calls: frozenset[str] = frozenset()
    no_reuse: bool = False
    incomplete: str | None = None


def compute(method: Method, task: Task) -> tuple[Tensor, ...]:
    """The attributions of every attributed input, each of shape (1, *input shape). Raises what Captum raises."""
    with warnings.catch_warnings():
        # Captum warns at every use that it sets hooks and wants gradients, which is what it is asked for.
        warnings.simplefilter("ignore", UserWarning)
        return TRAITS[method].compute(task)


def _deep_lift(task: Task) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = DeepLift(task.scores).attribute(
        task.inputs, task.baselines, additional_forward_args=task.fixed or None
    )
    return found


def _lrp(task: Task) -> tuple[Tensor, ...]:
    attach_rules(task.scores, spread_bias=task.options.spread_bias)
    found: tuple[Tensor, ...] = LRP(task.scores).attribute(task.inputs, additional_forward_args=task.fixed or None)
    return found


def _guided_backpropagation(task: Task) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = GuidedBackprop(task.scores).attribute(
        task.inputs, additional_forward_args=task.fixed or None
    )
    return found


def _deconvolution(task: Task) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = Deconvolution(task.scores).attribute(
        task.inputs, additional_forward_args=task.fixed or None
    )
    return found


def _occlusion(task: Task) -> tuple[Tensor, ...]:
    windows = tuple(window_shape(each, task.options.window) for each in task.declared)
    with torch.no_grad():
        found: tuple[Tensor, ...] = Occlusion(task.scores).attribute(
            task.inputs,
            windows,
            strides=tuple(strides(window, task.options.stride) for window in windows),
            baselines=task.baselines,
            additional_forward_args=task.fixed or None,
            perturbations_per_eval=ROWS_PER_PASS,
        )
    return found


def _kernel_shap(task: Task) -> tuple[Tensor, ...]:
    masks, count = _feature_masks(task)
    if count == 1:
        raise UnsupportedByModel("KernelSHAP shares a score among features or patches, and there is one only.")
    samples = task.options.samples or default_samples(Method.KERNEL_SHAP, count)
    return _sampled(KernelShap(task.scores), task, masks, samples)


def _lime(task: Task) -> tuple[Tensor, ...]:
    masks, count = _feature_masks(task)
    model = SkLearnLinearModel("linear_model.Ridge", alpha=LIME_RIDGE)
    return _sampled(
        Lime(task.scores, model, _likeness), task, masks, task.options.samples or default_samples(Method.LIME, count)
    )


def _likeness(_: object, __: object, kept: Tensor, **___: object) -> float:
    """LIME's weight of a sample: exp(-(d / width)^2 / 2), d the cosine distance of what is kept from all of it."""
    distance = 1 - float(kept.float().mean()) ** 0.5
    return float(torch.exp(torch.tensor(-0.5 * (distance / LIME_KERNEL_WIDTH) ** 2)))


def _feature_masks(task: Task) -> tuple[tuple[Tensor, ...], int]:
    masks = tuple(mask.to(task.inputs[0].device) for mask in patches(task.declared, task.options.window))
    return masks, int(masks[-1].max()) + 1


def _sampled(method: KernelShap | Lime, task: Task, masks: Sequence[Tensor], samples: int) -> tuple[Tensor, ...]:
    """A patch's coefficient, shared evenly among its elements, so that attributions add up to those of the patches."""
    torch.manual_seed(task.seed)
    with torch.no_grad():
        found: tuple[Tensor, ...] = method.attribute(
            task.inputs,
            baselines=task.baselines,
            additional_forward_args=task.fixed or None,
            feature_mask=tuple(masks),
            n_samples=samples,
            perturbations_per_eval=ROWS_PER_PASS,
        )
    sizes = torch.bincount(torch.cat([mask.flatten() for mask in masks]))
    return tuple(values / sizes[mask] for values, mask in zip(found, masks, strict=True))


def _is_relu(part: nn.Module) -> bool:
    return isinstance(part, nn.ReLU)


def _is_deep_lift_nonlinearity(part: nn.Module) -> bool:
    return type(part) in SUPPORTED_NON_LINEAR


_GRADIENT_NOT_SHARES = "is a gradient with other signs at the ReLUs, which says nothing of how a difference is shared"
_FITTED = "fits a linear model to scores of perturbed inputs; what it does not fit is not shared out"

TRAITS: Mapping[Method, Trait] = {
    Method.DEEP_LIFT: Trait(
        _deep_lift,
        has_baseline=True,
        logit_only=True,
        covers=_is_deep_lift_nonlinearity,
        calls=NONLINEAR_CALLS,
        no_reuse=True,
    ),
    Method.LRP: Trait(
        _lrp,
        logit_only=True,
        covers=has_rule,
        calls=NONLINEAR_CALLS | JOINING_CALLS,
        no_reuse=True,
        incomplete="LRP has no baseline to compare with, and the biases keep their share of the relevance",
    ),
    Method.GUIDED_BACKPROPAGATION: Trait(
        _guided_backpropagation,
        logit_only=True,
        covers=_is_relu,
        calls=RELU_CALLS,
        incomplete=f"guided backpropagation {_GRADIENT_NOT_SHARES}",
    ),
    Method.DECONVOLUTION: Trait(
        _deconvolution,
        logit_only=True,
        covers=_is_relu,
        calls=RELU_CALLS,
        incomplete=f"deconvolution {_GRADIENT_NOT_SHARES}",
    ),
    Method.OCCLUSION: Trait(
        _occlusion,
        has_baseline=True,
        incomplete="occlusion takes each window away by itself: what they do together counts for all or none of them",
    ),
    Method.KERNEL_SHAP: Trait(
        _kernel_shap,
        has_baseline=True,
        incomplete=f"KernelSHAP {_FITTED}",
    ),
    Method.LIME: Trait(_lime, has_baseline=True, incomplete=f"LIME {_FITTED}"),
}
