"""Requests to job specifications: every check that needs the model. No HTTP, no waiting."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import orjson
from pydantic import BaseModel

from attributor.api.schemas import AttributionBody, PredictionBody, TargetBody, VisualizationBody
from attributor.errors import InvalidRequest, UnknownBaseline, UnknownClass, UnsupportedVisualization
from attributor.inputs.decode import decode_inputs
from attributor.jobs.job import (
    JobKind,
    JobSpec,
    Quadrature,
    RuleName,
    Target,
    Visualization,
)
from attributor.jobs.model import ModelInfo, OutputScale, Tensors
from attributor.rendering.draw import drawable_kinds

#: Nodes of a fixed rule if the request does not say: what Captum and the TruLens practice start from.
DEFAULT_STEPS = 50
#: The trapezoid rule needs both ends.
FEWEST_TRAPEZOID_STEPS = 2
CUSTOM_BASELINE = "custom"
#: Drawn anew for every answer, up to a tenth of a second each. Ours: one picture of each of the most inputs.
MOST_PICTURES = 64


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


def attribution_spec(body: AttributionBody, info: ModelInfo, *, tenant: str) -> JobSpec:
    """The job that a request asks for. Raises RequestErrors that name the field."""
    if len(body.inputs) * len(body.visualizations) > MOST_PICTURES:
        raise InvalidRequest(
            f"at most {MOST_PICTURES} pictures in one answer, inputs times visualizations; draw the others later, "
            "from the stored result",
            field="visualizations",
        )
    name, baseline = _baseline(body.baseline, info)
    return JobSpec(
        kind=JobKind.ATTRIBUTION,
        model=info.name,
        version=info.version,
        digest=info.digest,
        declared=info.inputs,
        inputs=decoded(body.inputs, info),
        fingerprint=fingerprint(body),
        baseline_name=name,
        baseline=baseline,
        target=_target(body.target, info),
        quadrature=_quadrature(body),
        visualizations=tuple(_visualization(v, i, info) for i, v in enumerate(body.visualizations)),
        tenant=tenant,
    )


def prediction_spec(body: PredictionBody, info: ModelInfo, *, tenant: str) -> JobSpec:
    """The job behind a prediction: first in the queue, for somebody waits on the line."""
    return JobSpec(
        kind=JobKind.PREDICTION,
        model=info.name,
        version=info.version,
        digest=info.digest,
        declared=info.inputs,
        inputs=decoded(body.inputs, info),
        fingerprint=fingerprint(body, info.ref),
        target=Target(scale=OutputScale.LOGIT),
        tenant=tenant,
        priority=0,
    )


def decoded(items: Sequence[Mapping[str, Any]], info: ModelInfo) -> tuple[Tensors, ...]:
    """The inputs as tensors. Raises InvalidInput, InvalidShape, InvalidImage and their kin, naming `inputs.<i>...`."""
    return tuple(decode_inputs(info.inputs, item, field=f"inputs.{i}") for i, item in enumerate(items))


def _baseline(wanted: str | dict[str, Any] | None, info: ModelInfo) -> tuple[str, Tensors]:
    if isinstance(wanted, dict):
        return CUSTOM_BASELINE, decode_inputs(info.inputs, wanted, field="baseline")
    name = info.default_baseline if wanted is None else wanted
    if name not in info.baselines:
        known = ", ".join(info.baselines)
        raise UnknownBaseline(
            f"model '{info.name}' declares no baseline '{name}'; it declares {known}; or send one like an input",
            field="baseline",
        )
    return name, info.baselines[name].tensors


def _target(body: TargetBody, info: ModelInfo) -> Target:
    labels = info.output.labels
    wanted = body.class_
    if wanted is None:
        return Target(None, body.scale)
    if isinstance(wanted, int):
        if not 0 <= wanted < len(labels):
            raise UnknownClass(
                f"class {wanted} does not exist: the model has classes 0 to {len(labels) - 1}", field="target.class"
            )
        return Target(wanted, body.scale)
    if wanted not in labels:
        close = get_close_matches(wanted, labels, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f"; it has {', '.join(labels[:20])}"
        raise UnknownClass(f"the model has no class '{wanted}'{hint}", field="target.class")
    return Target(labels.index(wanted), body.scale)


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
    return Quadrature(body.rule, body.tolerance, body.absolute_tolerance, body.max_evaluations, n_steps)


def _visualization(body: VisualizationBody, i: int, info: ModelInfo) -> Visualization:
    known = drawable_kinds(info.inputs[0])
    if body.kind not in known:
        raise UnsupportedVisualization(
            f"'{body.kind}' cannot be drawn for this model's input; it can be drawn as {', '.join(known) or 'nothing'}",
            field=f"visualizations.{i}.kind",
        )
    return Visualization(**body.model_dump())
