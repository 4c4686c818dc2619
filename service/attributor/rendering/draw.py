"""The way in: which pictures an input can have, and drawing one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from attributor.errors import UnsupportedVisualization
from attributor.jobs.job import Polarity, Visualization, VisualizationKind
from attributor.jobs.model import InputKind, InputSpec
from attributor.rendering.bars_drawing import draw_bars
from attributor.rendering.image_drawing import draw_image
from attributor.rendering.subject import Subject

_DRAWABLE: dict[InputKind, tuple[VisualizationKind, ...]] = {
    InputKind.IMAGE: (VisualizationKind.HEATMAP, VisualizationKind.OVERLAY),
    InputKind.TABULAR: (VisualizationKind.BARS,),
    InputKind.TENSOR: (),
    InputKind.TOKENS: (),
}


class Drawing(Protocol):
    """A picture in every form that it can be sent in."""

    def payload(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""

    def svg(self) -> str:
        """A page with its own background, head and legend; presentation attributes only, all text escaped."""

    def png(self) -> bytes:
        """The picture, as a file."""


def drawable_kinds(spec: InputSpec) -> tuple[VisualizationKind, ...]:
    """The pictures that can be drawn of an input."""
    return _DRAWABLE[spec.kind]


def drawn_input(
    specs: Sequence[InputSpec], name: str | None, *, field: str, kind: VisualizationKind | None = None
) -> InputSpec | None:
    """The input of that name that a picture is of; without a name the first attributed one that can be drawn as that
    kind, else the first that can be drawn, if any.

    Raises UnsupportedVisualization for a name that no attributed input has.
    """
    attributed = [spec for spec in specs if spec.attributed]
    if name is None:
        drawable = [spec for spec in attributed if drawable_kinds(spec)]
        fitting = [spec for spec in drawable if kind in drawable_kinds(spec)]
        return next(iter(fitting + drawable), None)
    for spec in attributed:
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in attributed)
    raise UnsupportedVisualization(f"no input '{name}' has attributions; there is {known}", field=field)


def draw(view: Visualization, subject: Subject) -> Drawing:
    """Raises UnsupportedVisualization, with the kinds that can be drawn."""
    possible = drawable_kinds(subject.input_spec)
    if view.kind not in possible:
        what = f'{subject.input_spec.kind.value} input "{subject.input_spec.name}"'
        can = f"it can be drawn as {', '.join(possible)}" if possible else "it cannot be drawn"
        raise UnsupportedVisualization(f"{view.kind.value} is no picture of the {what}; {can}", field="kind")
    if not subject.reading.signed:
        view = replace(view, polarity=Polarity.POSITIVE)  # there is no other sign that could be shown or hidden
    return draw_bars(view, subject) if view.kind is VisualizationKind.BARS else draw_image(view, subject)
