"""Which transforms a model gets: by fixed rules on its structure, each proven on an example before it is used.

Never by a measurement at run time: every worker must answer alike, so the choice follows from the model alone. What the
thresholds cost and gain is in benchmarks/transforms.py. Knows torch and one module; knows no paths, jobs or bundles.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from attributor.runtimes.memory import is_out_of_memory
from attributor.runtimes.padding import Buckets
from attributor.runtimes.transforms.attention import fuse_attention
from attributor.runtimes.transforms.folding import fold_norms
from attributor.runtimes.transforms.memory_format import channels_last
from attributor.runtimes.transforms.pooling import pool_first
from attributor.runtimes.transforms.prefix import Bounds, Prefix, find_cut
from attributor.runtimes.transforms.proving import (
    BATCHES,
    GRADIENTS_TOLERANCE,
    OUTPUTS_TOLERANCE,
    TOLERANCE_64,
    Difference,
    Differentiated,
    Sample,
    difference,
    differentiated,
    gradients_of,
)

FOLDED_NORMS = "folded_norms"
POOLED_FIRST = "pooled_first"
CHANNELS_LAST = "channels_last"
FUSED_ATTENTION = "fused_attention"
AFFINE_PREFIX = "affine_prefix"
LENGTH_BUCKETS = "length_buckets"

#: Places of the largest map that a convolution is given, from which channels-last pays, unless maps are pooled by
#: their maxima: then it always does. Measured (one core with AVX-512, times as fast): a small CNN on 8x8 0.9 to 1.2,
#: with pooling 1.1 to 1.4 (on 4x4 0.93 to 1.35), on 12x12, 16x16 and 28x28 1.2; depthwise convolutions on 16x16 and
#: 48x48 1.2; inception blocks on 32x32 2.2; GoogLeNet at 224x224 1.35; a ResNet-18 there 1.04 to 1.13.
_LEAST_PLACES = 12 * 12

#: Numbers of rows on which the prefix's chain must be the same.
_TRACED_BATCHES = (2, 3)

#: Numbers of rows in float64, whose convolutions are slow.
_BATCHES_64 = (2,)

#: Of x in the mixture on which a prefix is shown to be affine: ours, beyond both ends and no round number.
_PART = 1.3

#: Characters of a model's own words kept in a reason. Ours: a line's worth.
_SHOWN = 200

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class Transformed:
    """What passes run on. `module` takes the inputs of the plain one; `prefix`, if there is one, is of `module`.

    `narrow`, `narrow_prefix`: the same for passes in bfloat16. `applied`: names of transforms in the order of
    application. `differences`: of each, as proven against the plain module. `refused`: of what was tried and not used,
    why. `buckets`: up to which lengths examples are filled, in the passes of both; found elsewhere (`padding`). Layers
    are asked of the plain module alone.
    """

    module: nn.Module
    narrow: nn.Module
    prefix: Prefix | None = None
    narrow_prefix: Prefix | None = None
    applied: tuple[str, ...] = ()
    differences: Mapping[str, Difference] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    buckets: Buckets | None = None


def transformed(module: nn.Module, sample: Sample, bounds: Bounds | None = None) -> Transformed:
    """The transforms of a module in eval mode, on its device; whatever goes wrong with one only leaves it out.

    Costs passes over six rows per transform that is tried: 3 s for a ResNet-18 at 224x224 on a CPU core. Memory: the
    weights of convolutions once more, where norms are folded or maps are channels-last.
    """
    choice = _Choice(module, sample)
    choice.change(FOLDED_NORMS, _folded)
    choice.change(POOLED_FIRST, _pooled_first)
    choice.change(CHANNELS_LAST, _laid_out)
    before = choice.module
    choice.change(FUSED_ATTENTION, lambda now, _: fuse_attention(now))
    prefix = choice.cut(bounds or Bounds())
    # On a CPU torch's fused attention is the faster in float32 (1.05 to 1.14 times a whole encoder at 64 and 128
    # tokens, 1.1 at 256), but in bfloat16 the slower (0.7).
    on_cpu = all(given.device.type == "cpu" for given in sample.inputs)
    narrow = before if on_cpu else choice.module
    narrow_prefix = prefix if narrow is choice.module else None
    applied = tuple(choice.differences)
    return Transformed(choice.module, narrow, prefix, narrow_prefix, applied, choice.differences, choice.refused)


class _Choice:
    """The module as it stands, and what was found out on the way."""

    def __init__(self, module: nn.Module, sample: Sample) -> None:
        self.module = module
        self.differences: dict[str, Difference] = {}
        self.refused: dict[str, str] = {}
        self._sample = sample
        self._plain = _remembered(differentiated(module, sample))

    def change(self, name: str, make: Callable[[nn.Module, Sample], nn.Module | None]) -> None:
        """Goes on with what `make` gives of a module and its sample, if it is something and proven."""

        def function(module: nn.Module, sample: Sample) -> tuple[nn.Module, Differentiated] | None:
            made = make(module, sample)
            return None if made is None else (made, differentiated(made, sample))

        self.module = self._proven(name, function) or self.module

    def cut(self, bounds: Bounds) -> Prefix | None:
        """The prefix of the module as it stands, if it has one within the bounds that is proven."""
        if len(self._sample.attributed) != 1 or self._sample.embeddings or self._sample.lengths_vary:
            return None

        def function(module: nn.Module, sample: Sample) -> tuple[Prefix, Differentiated] | None:
            (place,) = sample.attributed
            batches = [sample.rows(n_rows) for n_rows in _TRACED_BATCHES]
            found = find_cut(module, batches, place, bounds)
            if found is None:
                return None
            prefix = Prefix(module, found, channels_last=CHANNELS_LAST in self.differences)
            if not is_affine(prefix, sample):
                self.refused[AFFINE_PREFIX] = "not affine on an example"
                return None
            return prefix, through(prefix, sample)

        return self._proven(AFFINE_PREFIX, function)

    def _proven(
        self, name: str, function: Callable[[nn.Module, Sample], tuple[Made, Differentiated] | None]
    ) -> Made | None:
        """What is made of the module as it stands, if it computes the same; None where it, or its proof, raises."""
        try:
            found = function(self.module, self._sample)
            if found is None:
                return None
            apart = difference(self._plain, found[1], self._sample)
            if not apart.within(OUTPUTS_TOLERANCE, GRADIENTS_TOLERANCE):
                self._decide_in_float64(function)
        except Exception as error:  # foreign code: whatever it raises
            if is_out_of_memory(error):
                raise  # is of the machine's moment, and the choice must not be
            self.refused[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:_SHOWN]}"
            return None
        self.differences[name] = apart
        return found[0]

    def _decide_in_float64(self, function: Callable[[nn.Module, Sample], tuple[Made, Differentiated] | None]) -> None:
        """Raises ValueError unless what is made of a copy in float64 computes what that copy computes.

        In float32 rounding can switch so many ReLUs and maxima of a net near its kinks that gradients differ by more
        than any tolerance that would tell right from wrong.
        """
        wide, sample = copy.deepcopy(self.module).double(), self._sample.double()
        found = function(wide, sample)
        if found is None:
            raise ValueError("not possible in float64")
        apart = difference(differentiated(wide, sample), found[1], sample, _BATCHES_64)
        if not apart.within(TOLERANCE_64, TOLERANCE_64):
            raise ValueError(f"outputs differ by {apart.outputs:.1e} in float64, gradients by {apart.gradients:.1e}")


def is_affine(prefix: Prefix, sample: Sample) -> bool:
    """Whether z(a x + (1 - a) y) = a z(x) + (1 - a) z(y) on rows of a sample, all of them, to rounding."""
    (place,) = sample.attributed
    for n_rows in BATCHES:
        x = sample.rows(n_rows)[place]
        y = -x.flip(0).roll(1, -1)  # so that mixtures lie on both sides of zero, where kinks mostly are
        with torch.no_grad():
            mixed = _PART * prefix(x) + (1 - _PART) * prefix(y)
            apart = prefix(_PART * x + (1 - _PART) * y) - mixed
            if not float(apart.norm()) <= OUTPUTS_TOLERANCE * float(mixed.norm()):
                return False
    return True


def through(prefix: Prefix, sample: Sample) -> Differentiated:
    """The two halves of a module one after the other, as the runtime goes: the gradient by z, pulled back."""
    (place,) = sample.attributed

    def run(rows: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        with torch.no_grad():
            z = prefix(rows[place])
        others = [row.clone() for number, row in enumerate(rows) if number != place]
        with torch.enable_grad():
            outputs = prefix.outputs(z.requires_grad_(), others)
        (by_z,) = gradients_of(outputs, [z])
        return outputs.detach(), [prefix.pull_back(by_z)]

    return run


def _remembered(function: Differentiated) -> Differentiated:
    """The plain module is held against every transform, on the same rows for each number of rows."""
    kept: dict[int, tuple[Tensor, Sequence[Tensor]]] = {}

    def run(rows: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        n_rows = len(rows[0])
        if n_rows not in kept:
            kept[n_rows] = function(rows)
        return kept[n_rows]

    return run


def _folded(module: nn.Module, sample: Sample) -> nn.Module | None:
    made, n_folded = fold_norms(module, sample.rows(2), *sample.other_lengths(2))
    return made if n_folded else None


def _pooled_first(module: nn.Module, sample: Sample) -> nn.Module | None:
    return pool_first(module, sample.rows(2), *sample.other_lengths(2))


def _laid_out(module: nn.Module, sample: Sample) -> nn.Module | None:
    return channels_last(module, sample.rows(1), _LEAST_PLACES)
