"""Of inputs of variable length: whether the baselines and vertices that a request sends are as long as its examples.

Known only once both are read, and before a job is queued.
"""

from collections.abc import Iterator, Sequence
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
    for name, field, values in _sent(body, explanation):
        for i, example in enumerate(inputs if name in variable else ()):
            if len(values) != len(example[name]):
                raise InvalidShape(
                    f"has {len(values)} positions, and inputs.{i}.{name} has {len(example[name])}: a baseline or point "
                    "that is sent needs exactly as many as the input; one that is named, such as zero_embedding, fits "
                    "any length",
                    field=field,
                )


def _sent(body: AttributionBody, explanation: Explanation) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Input, field and values of everything that came as values, as a text or the like."""
    several = isinstance(body.baseline, list)
    for i, baseline in enumerate(explanation.baselines):
        for name, part in baseline.parts.items():
            if part.kind is BaselineKind.TENSOR and part.values is not None:
                yield name, f"baseline.{i}.{name}" if several else f"baseline.{name}", part.values
    for name, gamma in explanation.gamma.items():
        for i, point in enumerate(gamma.points):
            of_all = isinstance(body.path, PathBody)
            yield name, f"path.points.{i}.{name}" if of_all else f"path.{name}.points.{i}", point
