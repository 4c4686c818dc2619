from dataclasses import replace

import pytest
from attributor.errors import UnsupportedVisualization
from attributor.jobs.job import Visualization, VisualizationKind
from attributor.jobs.model import InputKind, InputSpec
from attributor.rendering.draw import draw, drawable_kinds, drawn_input
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


@pytest.mark.parametrize("bare", [InputKind.TENSOR, InputKind.TOKENS])
@pytest.mark.parametrize("kind", list(VisualizationKind))
def test_tensors_and_tokens_have_no_picture(table: Subject, kind: VisualizationKind, bare: InputKind) -> None:
    subject = replace(table, input_spec=replace(table.input_spec, kind=bare))
    with pytest.raises(UnsupportedVisualization, match="cannot be drawn"):
        draw(Visualization(kind), subject)


def test_the_input_that_is_drawn_is_the_first_that_can_be_or_the_one_named(digit: Subject, table: Subject) -> None:
    tensor = InputSpec("tensor", InputKind.TENSOR, (3,))
    mask = replace(digit.input_spec, name="mask", attributed=False)
    specs = [tensor, mask, table.input_spec, digit.input_spec]
    assert drawn_input(specs, None, field="input") is table.input_spec
    assert drawn_input(specs, "image", field="input") is digit.input_spec
    assert drawn_input([tensor, mask], None, field="input") is None
    for kind in (VisualizationKind.HEATMAP, VisualizationKind.OVERLAY):
        assert drawn_input(specs, None, field="input", kind=kind) is digit.input_spec
    assert drawn_input(specs[::-1], None, field="input", kind=VisualizationKind.BARS) is table.input_spec
    assert drawn_input([digit.input_spec], None, field="input", kind=VisualizationKind.BARS) is digit.input_spec
    for name in ("mask", "nothing"):
        with pytest.raises(UnsupportedVisualization, match="tensor, features, image") as refused:
            drawn_input(specs, name, field="input")
        assert refused.value.field == "input"
