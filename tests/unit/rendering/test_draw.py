from dataclasses import replace

import pytest
from attributor.errors import UnsupportedVisualization
from attributor.jobs.job import Visualization, VisualizationKind
from attributor.jobs.model import InputKind
from attributor.rendering.draw import draw, drawable_kinds
from attributor.rendering.subject import Subject


def test_every_kind_that_is_offered_can_be_drawn_in_every_form(digit: Subject, table: Subject) -> None:
    for subject in (digit, table):
        assert drawable_kinds(subject.input_spec)
        for kind in drawable_kinds(subject.input_spec):
            drawing = draw(Visualization(kind), subject)
            assert drawing.payload()["kind"] == kind.value
            assert drawing.svg().startswith("<svg")
            assert drawing.png().startswith(b"\x89PNG")


def test_every_kind_that_is_not_offered_is_refused_with_those_that_are(digit: Subject, table: Subject) -> None:
    with pytest.raises(UnsupportedVisualization, match="heatmap, overlay"):
        draw(Visualization(VisualizationKind.BARS), digit)
    for kind in (VisualizationKind.HEATMAP, VisualizationKind.OVERLAY):
        with pytest.raises(UnsupportedVisualization, match="drawn as bars"):
            draw(Visualization(kind), table)


@pytest.mark.parametrize("kind", list(VisualizationKind))
def test_a_bare_tensor_has_no_picture(table: Subject, kind: VisualizationKind) -> None:
    subject = replace(table, input_spec=replace(table.input_spec, kind=InputKind.TENSOR))
    with pytest.raises(UnsupportedVisualization, match="cannot be drawn"):
        draw(Visualization(kind), subject)
