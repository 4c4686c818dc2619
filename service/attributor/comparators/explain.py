"""A job for a comparator, from its specification to its answer: targets, baselines, one call each, warnings.

Knows torch, one loaded model and the methods; knows no process, no bundle.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attributor.comparators.coverage import look
from attributor.comparators.methods import TRAITS, Task, Trait, compute, read_options
from attributor.comparators.scores import TargetScores, let_tokens_vanish
from attributor.engine.answer import path_results
from attributor.engine.baselines import NamedBaseline, resolve_baselines
from attributor.engine.faults import of_the_model
from attributor.engine.outcome import Line, Outcome, deviation, mean, total
from attributor.engine.work import Costs, Question
from attributor.errors import NonFiniteScore, UnsupportedByModel
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec, Target
from attributor.jobs.fitting import cannot_explain
from attributor.jobs.job import JobSpec
from attributor.jobs.lengths import output_at
from attributor.jobs.model import InputKind, InputSpec, ModelInfo, OutputKind, OutputScale, Tensors
from attributor.jobs.result import AttributionResult, PathResult, ResultWarning
from attributor.runtimes.guarding import require_example
from attributor.runtimes.targets import check_target, resolved_target

Vectors = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model of this process's own, which may be changed: module on `device`, description, reference set."""

    module: nn.Module
    info: ModelInfo
    reference: Tensors
    device: torch.device

    @property
    def attributed(self) -> tuple[InputSpec, ...]:
        """The inputs that get attributions."""
        return tuple(each for each in self.info.inputs if each.attributed)

    @property
    def fixed(self) -> tuple[InputSpec, ...]:
        """The inputs that are held at the example's values."""
        return tuple(each for each in self.info.inputs if not each.attributed)

    def batch(self, declared: Sequence[InputSpec], values: Tensors) -> tuple[Tensor, ...]:
        """Those inputs, each of shape (1, *input shape): float32, token ids int64."""
        return tuple(
            torch.tensor(
                values[each.name],
                dtype=torch.int64 if each.kind is InputKind.TOKENS else torch.float32,
                device=self.device,
            ).unsqueeze(0)
            for each in declared
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """One input: what is asked of it, and what was spent."""

    question: Question
    costs: Costs


def explain(loaded: Loaded, spec: JobSpec) -> AttributionResult:
    """Every input in every target. Changes the module: activations no longer work in place, tokens may be absent.

    Raises UnsupportedByModel, NonFiniteScore, NonFiniteGradient, ModelError.
    """
    _prepare(loaded, spec)
    return AttributionResult(
        tuple(result for number in range(len(spec.inputs)) for result in _of_input(loaded, spec, number))
    )


def _prepare(loaded: Loaded, spec: JobSpec) -> None:
    if reason := cannot_explain(spec.explanation.method, loaded.info):
        raise UnsupportedByModel(reason, field="method")
    for part in loaded.module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False  # type: ignore[assignment]
    let_tokens_vanish(loaded.module, loaded.info.inputs)


def _of_input(loaded: Loaded, spec: JobSpec, number: int) -> tuple[PathResult, ...]:
    """The answers for one input, a target each. The counts are of all its targets, as the engine's are."""
    began = time.perf_counter()
    work = _Work(Question(number, spec, loaded.info), Costs())
    trait = TRAITS[spec.explanation.method]
    require_example(loaded.info.inputs, work.question.example)
    noticed = tuple(_unseen(loaded, trait, work))
    outputs = _outputs(loaded, work)
    targets = _targets(loaded, trait, work, outputs)
    baselines = _baselines(loaded, work) if trait.has_baseline else []
    found = [_of_target(loaded, work, target, baselines) for target in targets]
    outcome = Outcome(
        targets=targets,
        predicted=tuple(_predicted(loaded, outputs, target) for target in targets),
        scores=tuple(each.score for each in found),
        attributions=tuple(mean(each.vectors) for each in found),
        incomplete=trait.incomplete,
        lines=tuple(
            Line(
                baseline, tuple(each.baseline_scores[i] for each in found), _gaps(found, i) if _adds_up(trait) else None
            )
            for i, baseline in enumerate(baselines)
        ),
        spreads=tuple(deviation(each.vectors) for each in found) if len(baselines) > 1 else None,
    )
    answers = path_results(work.question, work.costs, outcome, time.perf_counter() - began)
    return tuple(
        replace(answer, warnings=(*noticed, *_scale_changed(asked, target), *answer.warnings))
        for answer, asked, target in zip(answers, spec.explanation.targets, targets, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Of one target: F(x), F(x') per baseline, and the attributions per baseline (once where there is none)."""

    score: float
    baseline_scores: tuple[float, ...]
    vectors: tuple[Vectors, ...]


def _of_target(loaded: Loaded, work: _Work, target: Target, baselines: Sequence[NamedBaseline]) -> _Found:
    attributed, fixed = loaded.attributed, loaded.fixed
    places = [each.name for each in (*attributed, *fixed)]
    scores = TargetScores(
        loaded.module, loaded.info.output, target, [places.index(each.name) for each in loaded.info.inputs]
    ).to(loaded.device)
    inputs, held = loaded.batch(attributed, work.question.example), loaded.batch(fixed, work.question.example)
    starts = [loaded.batch(attributed, baseline.tensors) for baseline in baselines]
    options = read_options(work.question.explanation.options)
    sized = tuple(replace(each, shape=work.question.example[each.name].shape) for each in attributed)
    vectors = []
    with of_the_model():
        score = _score(scores, (*inputs, *held), "the example")
        baseline_scores = tuple(_score(scores, (*start, *held), "a baseline") for start in starts)
        for start in starts or [()]:
            task = Task(scores, inputs, start, held, sized, options, work.question.explanation.seed)
            vectors.append(_named(attributed, compute(work.question.explanation.method, task)))
    work.costs.forwards += scores.forwards
    work.costs.backwards += scores.backwards
    work.costs.evaluations += scores.backwards
    return _Found(score, baseline_scores, tuple(vectors))


def _score(scores: TargetScores, tensors: Sequence[Tensor], place: str) -> float:
    with torch.no_grad():
        found = float(scores(*tensors))
    if not np.isfinite(found):
        raise NonFiniteScore(f"the model's score at {place} is not finite")
    return found


def _named(declared: Sequence[InputSpec], found: Sequence[Tensor]) -> Vectors:
    return {each.name: values.detach().cpu().double().numpy()[0] for each, values in zip(declared, found, strict=True)}


def _outputs(loaded: Loaded, work: _Work) -> NDArray[np.float32]:
    """The outputs at the example, of the output's shape."""
    with torch.no_grad(), of_the_model():
        found: NDArray[np.float32] = (
            loaded.module(*loaded.batch(loaded.info.inputs, work.question.example))[0].cpu().numpy()
        )
    work.costs.forwards += 1
    return found


def _targets(loaded: Loaded, trait: Trait, work: _Work, outputs: NDArray[np.float32]) -> tuple[Target, ...]:
    """Resolved; on the scale that the method explains."""
    output = output_at(loaded.info.output, loaded.info.inputs, work.question.example)
    targets = []
    for asked in work.question.explanation.targets:
        check_target(asked, output)
        target = resolved_target(asked, output, outputs)
        if trait.logit_only and output.kind is not OutputKind.VALUES:
            target = replace(target, scale=OutputScale.LOGIT)
        targets.append(target)
    return tuple(targets)


def _predicted(loaded: Loaded, outputs: NDArray[np.float32], target: Target) -> int | None:
    """The class predicted at the target's position; None for regression."""
    return None if loaded.info.output.kind is OutputKind.VALUES else int(_row(outputs, target).argmax())


def _row(outputs: NDArray[np.float32], target: Target) -> NDArray[np.float32]:
    return outputs if target.position is None else outputs[target.position]


def _baselines(loaded: Loaded, work: _Work) -> list[NamedBaseline]:
    info, question = work.question.info, work.question
    return [
        baseline
        for n, spec in enumerate(question.explanation.baselines or (_default(info),))
        for baseline in resolve_baselines(
            [spec], question.example, info, loaded.reference, partial(question.generator, "baselines", 0, n)
        )
    ]


def _default(info: ModelInfo) -> BaselineSpec:
    tensors = info.baselines[info.default_baseline].tensors
    return BaselineSpec(
        info.default_baseline, {name: BaselinePart(BaselineKind.NAMED, values) for name, values in tensors.items()}
    )


def _adds_up(trait: Trait) -> bool:
    return trait.incomplete is None


def _gaps(found: Sequence[_Found], i: int) -> tuple[float, ...]:
    """|sum of attributions - (F(x) - F(x'))| of baseline number `i`, per target."""
    return tuple(abs(total(each.vectors[i]) - (each.score - each.baseline_scores[i])) for each in found)


def _scale_changed(asked: Target, explained: Target) -> Iterator[ResultWarning]:
    if explained.scale is OutputScale.LOGIT and asked.scale is not OutputScale.LOGIT:
        yield ResultWarning(
            "explains_logit",
            f"this method propagates the model's raw output, so it explains the logit, not the {asked.scale}: score "
            "and attributions are in logits",
        )


def _unseen(loaded: Loaded, trait: Trait, work: _Work) -> Iterator[ResultWarning]:
    """What the method treats only as a module, and the model does otherwise. Raises UnsupportedByModel for reuse."""
    if trait.covers is None:
        return
    method = work.question.explanation.method
    inputs = loaded.batch(loaded.info.inputs, work.question.example)
    for tensor in inputs:
        if tensor.is_floating_point():
            tensor.requires_grad_(True)
    with of_the_model():
        seen = look(loaded.module, inputs, trait.covers)
    work.costs.forwards += 1
    if trait.no_reuse and seen.reused:
        raise UnsupportedByModel(
            f"{method} needs a module for each step, and {', '.join(seen.reused)} runs more than once in a pass.",
            field="method",
        )
    if uncovered := sorted(seen.uncovered & trait.calls):
        yield ResultWarning(
            "functional_activations_not_covered",
            f"the model calls {', '.join(uncovered)} outside the modules that {method} treats in its own way: there it "
            "has plain gradients, and the attributions are not those of the method",
        )
