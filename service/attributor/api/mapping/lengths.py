"""Of inputs of variable length: whether the baselines and vertices that a request sends are as long as its examples.

Known only once both are read, and before a job is queued.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from attributor.api.schemas.bodies import AttributionBody
from attributor.api.schemas.paths import PathBody
from attributor.errors import InvalidShape
from attributor.jobs.explanation import BaselineKind, Explanation
from attributor.jobs.model import ModelInfo, Tensors


def require_lengths(
    body: AttributionBody, explanation: Explanation, info: ModelInfo, inputs: Sequence[Tensors]
) -> None:
    """Raises InvalidShape, naming `baseline...` or `path...`, unless every value that is sent for an input of variable
    length has as many positions as every example. Kinds and declared baselines fit any length."""
    variable = {spec.name for spec in info.inputs if spec.variable}
    sources = {spec.name: spec.source for spec in info.inputs if spec.source}
    for sent in _sent(body, explanation, sources):
        for i, example in enumerate(inputs if sent.input in variable else ()):
            if len(sent.values) != len(example[sent.input]):
                called = _called(sent.input, body.inputs[i], sources)
                raise InvalidShape(
                    f"has {_counted(sent.values, sent.unit)}, and inputs.{i}.{called} has "
                    f"{_counted(example[sent.input], _unit(sent.input, called))}: a baseline or point that is sent "
                    "needs exactly as many as the input; one that is named, such as zero_embedding, fits any length",
                    field=sent.field,
                )


@dataclass(frozen=True, slots=True)
class _Sent:
    """Values for an input, and the field that they came in. `unit`: one of what it has as many of as values."""

    input: str
    field: str
    unit: str
    values: NDArray[Any]


def _sent(body: AttributionBody, explanation: Explanation, sources: Mapping[str, str]) -> Iterator[_Sent]:
    """Everything that came as values, as a text or the like. `sources`: by the input that may be made from one."""
    several = isinstance(body.baseline, list)
    given = body.baseline if isinstance(body.baseline, list) else [body.baseline]
    for i, baseline in enumerate(explanation.baselines):
        for name, part in baseline.parts.items():
            if part.kind is BaselineKind.TENSOR and part.values is not None:
                called = _called(name, given[i], sources)
                yield _of(name, called, f"baseline.{i}" if several else "baseline", part.values)
    for name, gamma in explanation.gamma.items():
        for i, point in enumerate(gamma.points):
            if isinstance(body.path, PathBody):
                called = _called(name, (body.path.points or ())[i], sources)
                yield _of(name, called, f"path.points.{i}", point)
            else:
                yield _Sent(name, f"path.{name}.points.{i}", _unit(name, name), point)


def _of(name: str, called: str, place: str, values: NDArray[Any]) -> _Sent:
    return _Sent(name, f"{place}.{called}", _unit(name, called), values)


def _unit(name: str, called: str) -> str:
    return "position" if called == name else "token"


def _counted(values: NDArray[Any], unit: str) -> str:
    return f"{len(values)} {unit}{'' if len(values) == 1 else 's'}"


def _called(name: str, given: object, sources: Mapping[str, str]) -> str:
    """What the client sent an input as: itself, or the source that it was made from."""
    source = sources.get(name)
    return source if source is not None and isinstance(given, Mapping) and name not in given else name
