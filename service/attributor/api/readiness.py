"""Whether a model can be served: what the workers reported, held against the bundle on disk."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from attributor.api.dependencies import Deps
from attributor.api.schemas.bodies import AttributionBody, PredictionBody
from attributor.errors import BundleError, ModelNotReady, RequestError
from attributor.jobs.job import JobSpec
from attributor.jobs.model import InputKind, ModelInfo, ModelReport, Readiness
from attributor.jobs.once import once
from attributor.ports import ModelCatalog, SourceReader

Body = TypeVar("Body", AttributionBody, PredictionBody)
Given = ParamSpec("Given")

#: Inputs that are read while everybody else waits. Ours: 50 microseconds for a table of 30 named columns, so 13 ms.
MOST_READ_AT_ONCE = 256

#: The newest report per `name@version`.
Reports = Mapping[str, ModelReport]


def _proven(reports: Reports) -> frozenset[str]:
    return frozenset(report.digest for report in reports.values() if report.readiness is Readiness.READY)


#: The digests of what workers serve: among these a bare name finds its version. All who ask within a quarter of a
#: second are given the same reports.
proven = once(_proven, most=1)


@dataclass(frozen=True, slots=True)
class Servable:
    """A model that a request may be queued for. `report`: what a worker found when it proved this very bundle; None
    while none has. `sources`: the readers of what a person may give in place of tensors."""

    info: ModelInfo
    report: ModelReport | None
    sources: Mapping[str, SourceReader]


async def servable(deps: Deps, ref: str) -> Servable:
    """The model that a request names; one still loading is. Raises UnknownModel, UnknownVersion, and ModelNotReady if
    it failed."""
    reports = await deps.fleet.model_reports()
    info = deps.catalog.get(ref, proven(reports))
    report = reports.get(info.ref)
    if report is None or report.digest != info.digest:
        report = None
    elif report.readiness is Readiness.FAILED:
        raise ModelNotReady(_why_not(deps.catalog, ref, report, reports))
    elif report.readiness is not Readiness.READY:
        report = None
    if not info.sources:
        return Servable(info, report, {})
    try:
        sources = await asyncio.to_thread(deps.catalog.sources, info)  # the first time it reads a tokenizer
    except BundleError as error:
        raise ModelNotReady(f"model '{info.ref}' is not ready: {error.detail}") from error
    return Servable(info, report, sources)


def _why_not(catalog: ModelCatalog, ref: str, failed: ModelReport, reports: Reports) -> str:
    """Why the version that `ref` stands for does not serve. Where no version does, and a bare name had to end at this
    one because others are broken, these come first: to mend them is what helps."""
    reason = f"model '{failed.ref}' is not ready: {failed.reason}"
    name, at, _ = ref.partition("@")
    served = proven(reports)
    if at or any(info.name == name and info.digest in served for info in catalog.all()):
        return reason
    broken = [f"{each}: {problem}" for each, problem in catalog.problems.items() if each.partition("@")[0] == name]
    return f"no version of model '{name}' can be served. {' '.join(broken)} And {reason}" if broken else reason


async def read_aside(
    model: Servable,
    read: Callable[Concatenate[Body, Given], JobSpec],
    body: Body,
    *args: Given.args,
    **kwargs: Given.kwargs,
) -> JobSpec:
    """What `read` makes of a request to this model. In a thread where pictures, texts, molecules or many inputs are to
    be read: that may take so long that nobody else should wait for it. Raises what `read` raises."""
    if model.info.sources or len(body.inputs) > MOST_READ_AT_ONCE or _may_hold_pictures(body, model.info):
        return await asyncio.to_thread(read, body, *args, **kwargs)
    return read(body, *args, **kwargs)


def _may_hold_pictures(body: AttributionBody | PredictionBody, info: ModelInfo) -> bool:
    images = [spec.name for spec in info.inputs if spec.kind is InputKind.IMAGE]
    if images and isinstance(body, AttributionBody) and (body.path or not isinstance(body.baseline, str | None)):
        return True
    return any(isinstance(item.get(name), str) for name in images for item in body.inputs)


def is_default(catalog: ModelCatalog, info: ModelInfo, reports: Reports) -> bool:
    """Whether the bare name stands for this version now."""
    try:
        return catalog.get(info.name, proven(reports)).version == info.version
    except RequestError:  # the declared default is not there
        return False
