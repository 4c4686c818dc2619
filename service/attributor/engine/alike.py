"""Which inputs are alike: asked the same of the same model in the same way, so that their first rounds are one stack.

Integrated gradients on one straight path from a baseline that does not hang on the example, in one target, by the
adaptive rule: what nearly everyone asks of small models. Everything else has procedures (`explain.py`).
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

from attributor.core.asks import Asks, Curve
from attributor.core.first_round import even_asks, even_rule
from attributor.core.integrator import Tolerance
from attributor.core.spectral import Rule
from attributor.engine.baselines import NamedBaseline, resolve_baselines
from attributor.engine.integration import tolerance_of
from attributor.engine.sharing import path_spec
from attributor.errors import AttributorError
from attributor.jobs.explanation import BaselineKind, BaselineSpec, Explanation, Method, Precision, Target
from attributor.jobs.fitting import cannot_explain
from attributor.jobs.job import JobKind, JobSpec, Quadrature, RuleName
from attributor.jobs.model import ModelInfo, Tensors
from attributor.model_port import GradientModel

#: Baselines that are the same for every example.
_COMMON = frozenset(
    {
        BaselineKind.NAMED,
        BaselineKind.TENSOR,
        BaselineKind.ZERO,
        BaselineKind.CONSTANT,
        BaselineKind.BLACK,
        BaselineKind.WHITE,
        BaselineKind.MEAN,
        BaselineKind.MEDIAN,
        BaselineKind.MODE,
    }
)
#: Kinds of inputs that are remembered. Ours: what hundreds of clients ask, 16 kB of baseline each at most.
MOST_KINDS = 128
#: The one curve of a straight path: from vertex 1, the baseline, to vertex 0, the example.
STRAIGHT = Curve(1, 0)


@dataclass(frozen=True, slots=True)
class Alike:
    """What such inputs have in common; equal by `key`. `lane`: of their routes, by which passes are sized."""

    key: Hashable
    hashed: int = field(compare=False)
    info: ModelInfo = field(compare=False)
    explanation: Explanation = field(compare=False)
    quadrature: Quadrature = field(compare=False)
    target: Target = field(compare=False)
    baseline: NamedBaseline = field(compare=False)
    rule: Rule = field(compare=False)
    tolerance: Tolerance = field(compare=False)
    lane: Hashable = field(compare=False)

    def __hash__(self) -> int:
        """That of the key, which is long, and asked for again and again."""
        return self.hashed

    @property
    def n_points(self) -> int:
        """Of a first round: the nodes and the example. The baseline is one more for all."""
        return self.rule.n + 1

    def asks(self, rule: Rule) -> Asks:
        """What an integrator asks for that begins with this rule."""
        return even_asks(STRAIGHT, rule)


@dataclass(frozen=True, slots=True)
class _Met:
    """A kind, of this very model: another may have been loaded under its name. `asked`: by which it was found."""

    alike: Alike
    model: ReferenceType[GradientModel]
    asked: Explanation


class Kinds:
    """The kinds of inputs that were met lately. It keeps no model."""

    def __init__(self) -> None:
        #: By what is asked, as the object that jobs that ask the same share; it is kept, so that no other has its id.
        self._met: dict[Hashable, _Met] = {}
        #: By what is asked, word for word.
        self._known: dict[Hashable, _Met] = {}

    def of(self, spec: JobSpec, model: GradientModel, info: ModelInfo, reference: Tensors) -> Alike | None:
        """What a job's inputs have in common with others'; None where each needs a procedure of its own."""
        if spec.kind is not JobKind.ATTRIBUTION or not model.stacks:
            return None
        form = _form(spec.inputs[0])
        if any(_form(each) != form for each in spec.inputs[1:]):
            return None
        by_identity = id(spec.explanation), spec.ref, spec.digest, spec.quadrature, form
        met = self._met.get(by_identity)
        if met is not None and met.model() is model:
            return met.alike
        if not is_plain(spec.explanation, spec.quadrature):
            return None
        (asked,), (target,) = spec.explanation.baselines, spec.explanation.targets
        key = spec.ref, spec.digest, _words(asked), spec.explanation.seed, target, spec.quadrature, form
        met = self._known.get(key)
        found = met.alike if met and met.model() is model else _made(key, spec, model, info, reference)
        if found is not None:
            fresh = _Met(found, ref(model), spec.explanation)
            for kinds, word in ((self._met, by_identity), (self._known, key)):
                if len(kinds) >= MOST_KINDS:
                    kinds.clear()
                kinds[word] = fresh
        return found


def _made(key: Hashable, spec: JobSpec, model: GradientModel, info: ModelInfo, reference: Tensors) -> Alike | None:
    explanation, quadrature, example = spec.explanation, spec.quadrature, spec.inputs[0]
    tolerance = tolerance_of(quadrature)
    rule = even_rule(tolerance, quadrature.max_evaluations)
    if rule.every_other is None or cannot_explain(explanation.method, info):
        return None
    try:
        (baseline,) = resolve_baselines(explanation.baselines, example, info, reference, _no_chance)
    except AttributorError:
        return None  # the inputs say in their turn what is wrong with them
    (target,) = explanation.targets
    lane = model.lane(path_spec(explanation, example, (target,), 1))
    return Alike(key, hash(key), info, explanation, quadrature, target, baseline, rule, tolerance, lane)


def is_plain(explanation: Explanation, quadrature: Quadrature) -> bool:
    """Whether it is what nearly everyone asks, as far as the model has no say in it."""
    beside = explanation.gamma or explanation.layer or explanation.smoothing or explanation.saturation
    return (
        explanation.method is Method.INTEGRATED_GRADIENTS
        and not beside
        and not explanation.interior_alphas
        and explanation.precision is Precision.FLOAT32
        and len(explanation.targets) == 1
        and len(explanation.baselines) == 1
        and all(part.kind in _COMMON for part in explanation.baselines[0].parts.values())
        and quadrature.rule is RuleName.ADAPTIVE
        and quadrature.attribution_tolerance is None
    )


def _no_chance() -> np.random.Generator:
    raise RuntimeError("a baseline that is the same for all examples needs no random numbers. This is a bug.")


def _form(example: Tensors) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    return tuple([(name, values.shape, values.dtype.str) for name, values in example.items()])


def _words(spec: BaselineSpec) -> Hashable:
    """A baseline by its value."""
    return spec.name, *[(name, part.kind, part.value, _bytes(part.values)) for name, part in spec.parts.items()]


def _bytes(values: NDArray[Any] | None) -> Hashable:
    return None if values is None else (values.shape, values.dtype.str, values.tobytes())


def stacked(examples: list[Tensors]) -> Mapping[str, NDArray[Any]]:
    """Inputs of one form, by name, shape (examples, *input shape)."""
    return {name: np.stack([each[name] for each in examples]) for name in examples[0]}
