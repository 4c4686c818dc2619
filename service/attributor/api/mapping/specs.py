"""Requests to jobs: puts together what the other modules of `mapping` read."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import BaseModel

from attributor.api.mapping.baselines import baselines
from attributor.api.mapping.budget import DEFAULT_STEPS, require_budget, require_prediction
from attributor.api.mapping.cost import prediction_cost
from attributor.api.mapping.lengths import require_lengths
from attributor.api.mapping.paths import gammas, layer, layer_names, saturation
from attributor.api.mapping.seeds import seed_for
from attributor.api.mapping.targets import require_positions, targets
from attributor.api.rules_of_methods import require_sensible, samples_of
from attributor.api.schemas.bodies import AttributionBody, PredictionBody, Priority
from attributor.api.schemas.pictures import VisualizationBody
from attributor.errors import InvalidRequest, UnsupportedVisualization
from attributor.inputs.decode import decode_inputs
from attributor.inputs.together import decode_tensors
from attributor.jobs.explanation import Explanation, Smoothing
from attributor.jobs.given import NOTHING_GIVEN, Given
from attributor.jobs.job import JobKind, JobSpec, Quadrature, RuleName, Visualization
from attributor.jobs.model import InputSpec, ModelInfo, Tensors
from attributor.ports import SourceReader
from attributor.rendering.draw import drawable_kinds, drawn_input

#: Of a model that is given tensors only.
NO_SOURCES: Mapping[str, SourceReader] = MappingProxyType({})
#: The trapezoid rule needs both ends.
FEWEST_TRAPEZOID_STEPS = 2
#: Drawn anew for every answer, up to a tenth of a second each. Ours: one picture of each of the most inputs.
MOST_PICTURES = 64
#: As JobSpec counts them. Predictions are of the first.
PRIORITIES: Mapping[Priority, int] = MappingProxyType({Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2})


def fingerprint(body: BaseModel, *context: str) -> str:
    """sha256 of a validated body: equal for requests that mean the same. Raises InvalidRequest for absurd nesting."""
    try:
        return hashlib.sha256(_canonical([*context, body.model_dump(mode="json")])).hexdigest()
    except (ValueError, RecursionError):  # nothing that we read is nested so deeply, but ignored keys may be
        raise InvalidRequest("the body is nested too deeply") from None


def _canonical(document: list[Any]) -> bytes:
    try:
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits and lone surrogates are JSON, but not to orjson
        return json.dumps(document, sort_keys=True).encode()


def attribution_spec(
    body: AttributionBody,
    info: ModelInfo,
    *,
    tenant: str,
    layers: Collection[str] | None = None,
    comparators: bool = True,
    sources: Mapping[str, SourceReader] = NO_SOURCES,
) -> JobSpec:
    """The job that a request asks for. `layers`: the model's, None while no worker has told. `comparators`: whether the
    worker can run their methods. `sources`: the readers of the model's sources. Its cost and its
    fingerprint are left to whoever queues it: the one only the queue needs, the other takes as long as all the rest,
    and only requests that may be sent again need one.

    Raises RequestErrors that name the field.
    """
    require_sensible(body, info, comparators=comparators)
    explanation = _explanation(body, info, layers, sources)
    _require_drawable(body, len(explanation.targets))
    require_budget(body, explanation, info)
    inputs, given = decoded(body.inputs, info, sources)
    require_lengths(body, explanation, info, inputs)
    require_positions(explanation.targets, info, inputs)
    return JobSpec(
        kind=JobKind.ATTRIBUTION,
        model=info.name,
        version=info.version,
        digest=info.digest,
        declared=info.inputs,
        inputs=inputs,
        given=given,
        fingerprint="",
        explanation=explanation,
        quadrature=_quadrature(body),
        visualizations=tuple(_visualization(v, i, info) for i, v in enumerate(body.visualizations)),
        tenant=tenant,
        priority=PRIORITIES[body.priority],
        deadline_s=body.deadline_s,
    )


def prediction_spec(
    body: PredictionBody, info: ModelInfo, *, tenant: str, sources: Mapping[str, SourceReader] = NO_SOURCES
) -> JobSpec:
    """The job behind a prediction: first in the queue, for somebody waits on the line. `sources`: as above."""
    require_prediction(len(body.inputs), info)
    inputs, given = decoded(body.inputs, info, sources)
    return JobSpec(
        kind=JobKind.PREDICTION,
        model=info.name,
        version=info.version,
        digest=info.digest,
        declared=info.inputs,
        inputs=inputs,
        given=given,
        fingerprint=fingerprint(body, info.ref),
        tenant=tenant,
        priority=PRIORITIES[Priority.HIGH],
        cost=prediction_cost(len(inputs)),
    )


def decoded(
    items: Sequence[Mapping[str, Any]], info: ModelInfo, sources: Mapping[str, SourceReader]
) -> tuple[tuple[Tensors, ...], tuple[Given, ...]]:
    """The inputs as tensors, and what was given in their place: empty where all were tensors, tables or pictures of the
    model's size. Raises InvalidInput, InvalidShape, InvalidImage and their kin, naming `inputs.<i>...`."""
    together = decode_tensors(info.inputs, items)
    if together is not None:
        return tuple(together), ()
    found = [decode_inputs(info.inputs, sources, item, field=f"inputs.{i}") for i, item in enumerate(items)]
    given = tuple(each for _, each in found)
    return tuple(tensors for tensors, _ in found), () if all(each == NOTHING_GIVEN for each in given) else given


def _explanation(
    body: AttributionBody, info: ModelInfo, layers: Collection[str] | None, sources: Mapping[str, SourceReader]
) -> Explanation:
    gamma = gammas(body, info, sources)
    smoothing = body.smoothing
    made = Explanation(
        method=body.method,
        baselines=baselines(body, info, gamma, sources),
        gamma=gamma,
        targets=targets(body.target, info.output),
        layer=layer(body.layer, info, layers),
        smoothing=Smoothing(smoothing.form, smoothing.samples, smoothing.noise) if smoothing else None,
        interior_alphas=tuple(body.interior.alphas) if body.interior else (),
        saturation=saturation(body.saturation, info, layers),
        samples=samples_of(body),
        absolute=body.absolute,
        options=body.options,
        layer_names=layer_names(body, info),
        precision=body.precision,
    )
    return replace(made, seed=seed_for(body.seed, made))


def _quadrature(body: AttributionBody) -> Quadrature:
    n_steps = body.n_steps
    if body.rule is RuleName.ADAPTIVE:
        if n_steps is not None:
            raise InvalidRequest(
                "goes with a fixed rule; the adaptive rule takes tolerance and max_evaluations", field="n_steps"
            )
    elif n_steps is None:
        n_steps = DEFAULT_STEPS
    elif body.rule is RuleName.TRAPEZOID and n_steps < FEWEST_TRAPEZOID_STEPS:
        raise InvalidRequest("the trapezoid rule needs at least 2 nodes", field="n_steps")
    return Quadrature(
        rule=body.rule,
        tolerance=body.tolerance,
        absolute_tolerance=body.absolute_tolerance,
        attribution_tolerance=body.attribution_tolerance,
        max_evaluations=body.max_evaluations,
        n_steps=n_steps,
    )


def _require_drawable(body: AttributionBody, n_targets: int) -> None:
    if len(body.inputs) * n_targets * len(body.visualizations) > MOST_PICTURES:
        raise InvalidRequest(
            f"at most {MOST_PICTURES} pictures in one answer, inputs times targets times visualizations; draw the "
            "others later, from the stored result",
            field="visualizations",
        )
    if body.layer and body.visualizations:
        raise UnsupportedVisualization("a layer's units cannot be drawn", field="visualizations")


def _of(declared: InputSpec | None) -> str:
    return f"the {declared.kind} input '{declared.name}'" if declared else "any input of this model"


def _visualization(body: VisualizationBody, i: int, info: ModelInfo) -> Visualization:
    declared = drawn_input(info.inputs, body.input, field=f"visualizations.{i}.input", kind=body.kind)
    known = drawable_kinds(declared) if declared else ()
    if body.kind not in known:
        raise UnsupportedVisualization(
            f"'{body.kind}' cannot be drawn of {_of(declared)}; it can be drawn as {', '.join(known) or 'nothing'}",
            field=f"visualizations.{i}.kind",
        )
    return Visualization(**body.model_dump())
