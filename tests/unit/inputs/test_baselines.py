from dataclasses import replace

import numpy as np
import pytest
from attributor.engine.baselines import resolve_baselines
from attributor.errors import UnsupportedByModel
from attributor.inputs.baselines import check_baseline, shapley_features
from attributor.jobs.explanation import BaselineKind, BaselinePart, BaselineSpec
from attributor.jobs.model import OutputKind
from baseline_cases import BARE_TEXT, BOUNDED, EXAMPLE, HELD, PICTURE, REFERENCE, SIGNAL, TABLE, TEXT, info, part, spec

KINDS_MADE = [kind for kind in BaselineKind if kind is not BaselineKind.OTHER_CLASS]
INPUTS = [TABLE, BOUNDED, PICTURE, SIGNAL, TEXT, BARE_TEXT]


def refusal(call):
    try:
        call()
    except UnsupportedByModel as error:
        return error
    return None


def both(asked, declared, reference):
    """What the check and the engine say of one baseline of one input."""
    model = info(declared, reference=reference)
    example, rows = {declared.name: EXAMPLE[declared.name]}, REFERENCE if reference else {}
    rng = np.random.default_rng(0)
    return (
        refusal(lambda: check_baseline(asked, model)),
        refusal(lambda: resolve_baselines([asked], example, model, rows, lambda: rng)),
    )


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("declared", INPUTS, ids=lambda declared: declared.name)
@pytest.mark.parametrize("kind", KINDS_MADE)
def test_the_check_refuses_what_the_engine_refuses(kind, declared, reference):
    checked, resolved = both(spec(kind, declared), declared, reference)
    assert (checked is None) == (resolved is None)
    for error in filter(None, (checked, resolved)):
        assert error.field == "baseline"
        assert f"'{declared.name}'" in error.detail


INCOMPLETE = [
    BaselinePart(BaselineKind.TENSOR),
    BaselinePart(BaselineKind.NAMED, np.zeros((7,), np.float32)),
    BaselinePart(BaselineKind.CONSTANT),
    BaselinePart(BaselineKind.GAUSSIAN),
    BaselinePart(BaselineKind.GAUSSIAN, sigma=0.0),
    BaselinePart(BaselineKind.BLUR, sigma=-1.0),
    BaselinePart(BaselineKind.BLUR, sigma=float("nan")),
]


@pytest.mark.parametrize("incomplete", INCOMPLETE, ids=lambda incomplete: incomplete.kind)
def test_a_part_without_what_it_needs_is_refused_by_both(incomplete):
    asked = BaselineSpec("b", {"picture": incomplete})
    assert all(error and "'picture'" in error.detail for error in both(asked, PICTURE, reference=True))


def test_an_attributed_input_without_a_part_is_refused_by_both():
    asked = BaselineSpec("b", {})
    assert all(error and "'signal'" in error.detail for error in both(asked, SIGNAL, reference=True))


def test_inputs_that_are_not_attributed_need_no_baseline():
    check_baseline(spec(BaselineKind.ZERO, SIGNAL), info(SIGNAL, HELD))


def test_what_would_fit_is_said():
    with pytest.raises(UnsupportedByModel, match="zero_embedding"):
        check_baseline(spec(BaselineKind.ZERO, TEXT), info(TEXT))
    with pytest.raises(UnsupportedByModel, match="uniform"):
        check_baseline(spec(BaselineKind.BLACK, SIGNAL), info(SIGNAL))
    with pytest.raises(UnsupportedByModel, match="reference set"):
        check_baseline(spec(BaselineKind.MEAN, SIGNAL), info(SIGNAL, reference=False))


def test_another_class_takes_numbers_classes_and_a_reference_set():
    asked = spec(BaselineKind.OTHER_CLASS, SIGNAL)
    check_baseline(asked, info(SIGNAL))
    check_baseline(asked, info(SIGNAL, output=OutputKind.SEQUENCE))
    for model in (info(SIGNAL, reference=False), info(SIGNAL, output=OutputKind.VALUES)):
        with pytest.raises(UnsupportedByModel):
            check_baseline(asked, model)
    with pytest.raises(UnsupportedByModel):
        check_baseline(spec(BaselineKind.OTHER_CLASS, TEXT), info(TEXT))


def test_another_class_is_asked_of_all_inputs_or_none():
    parts = {"signal": part(BaselineKind.OTHER_CLASS, SIGNAL), "table": part(BaselineKind.ZERO, TABLE)}
    with pytest.raises(UnsupportedByModel, match="all inputs at once"):
        check_baseline(BaselineSpec("b", parts), info(SIGNAL, TABLE))


def test_shapley_features_are_pixels_columns_and_positions_of_what_is_attributed():
    assert shapley_features(info(PICTURE, TABLE, TEXT, HELD)) == 4 * 5 + 2 + 5


VARIABLE = replace(TEXT, variable=True)


@pytest.mark.parametrize("kind", KINDS_MADE)
def test_of_an_input_of_variable_length_both_refuse_the_same(kind):
    checked, resolved = both(spec(kind, VARIABLE), VARIABLE, reference=True)
    assert (checked is None) == (resolved is None)
    assert (kind in (BaselineKind.MODE, BaselineKind.REFERENCE)) <= (checked is not None)


NORMALISED = replace(PICTURE, value_range=None, normalise=((0.5, 0.2),) * 3)


@pytest.mark.parametrize("kind", KINDS_MADE)
def test_a_normalised_picture_can_have_what_any_picture_can(kind):
    checked, resolved = both(spec(kind, NORMALISED), NORMALISED, reference=False)
    plain, _ = both(spec(kind, PICTURE), PICTURE, reference=False)
    assert (checked is None) == (resolved is None) == (plain is None)
