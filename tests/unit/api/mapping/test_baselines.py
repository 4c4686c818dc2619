import base64
import io

import numpy as np
import pytest
from attributor.api.mapping.baselines import BLUR_SHARE, CUSTOM_BASELINE, DEFAULT_DRAWS
from attributor.engine import baselines as engine
from attributor.errors import (
    InvalidBase64,
    InvalidImage,
    InvalidInput,
    InvalidRequest,
    InvalidShape,
    UnknownBaseline,
    UnsupportedByModel,
)
from attributor.jobs.explanation import BaselineKind
from PIL import Image
from unit.api.models import PIXELS, spec

PATIENT = {"photo": "black", "record": {"age": 50, "weight": 70}}


def png(size: int = 8) -> str:
    buffer = io.BytesIO()
    Image.new("L", (size, size), 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def only(name: str = "digits", **fields):
    (made,) = spec(name, **fields).explanation.baselines
    return made


def test_the_models_own_is_the_default_and_a_name():
    assert (only().name, only().parts["image"].kind) == ("black", BaselineKind.NAMED)
    assert only().parts["image"].values.max() == 0
    assert only(baseline="white").parts["image"].values.min() == 1


def test_a_name_that_the_model_declares_comes_before_a_kind():
    assert only(baseline="mean").parts["image"].kind is BaselineKind.NAMED
    assert only("prices", baseline="mean").parts["house"].kind is BaselineKind.MEAN
    with pytest.raises(UnsupportedByModel, match="reference set"):
        spec(baseline={"kind": "mean"})


def test_a_kind_goes_for_every_attributed_input():
    made = only("photo-and-record", baseline={"kind": "constant", "value": 0.5})
    assert {name: (part.kind, part.value) for name, part in made.parts.items()} == {
        "photo": (BaselineKind.CONSTANT, 0.5),
        "record": (BaselineKind.CONSTANT, 0.5),
    }
    assert made.name == "constant"
    assert list(only("masked", baseline="pad").parts) == ["tokens"]


@pytest.mark.parametrize(
    ("name", "form", "kind", "sigma", "samples"),
    [
        ("digits", "zero", BaselineKind.ZERO, None, 1),
        ("digits", {"kind": "blur", "sigma": 3}, BaselineKind.BLUR, 3, 1),
        ("digits", {"kind": "gaussian", "sigma": 0.5}, BaselineKind.GAUSSIAN, 0.5, DEFAULT_DRAWS),
        ("digits", {"kind": "uniform", "samples": 4}, BaselineKind.UNIFORM, None, 4),
        ("prices", "reference", BaselineKind.REFERENCE, None, DEFAULT_DRAWS),
        ("prices", {"kind": "reference", "samples": 50}, BaselineKind.REFERENCE, None, 50),
        ("prices", "mode", BaselineKind.MODE, None, 1),
        ("photo-and-record", "other_class", BaselineKind.OTHER_CLASS, None, 1),
        ("reviews", "mask", BaselineKind.MASK, None, 1),
        ("reviews", "zero_embedding", BaselineKind.ZERO_EMBEDDING, None, 1),
    ],
)
def test_a_kind_has_its_numbers(name, form, kind, sigma, samples):
    (part,) = {(p.kind, p.sigma, p.samples) for p in only(name, baseline=form).parts.values()}
    assert part == (kind, sigma, samples)


def test_a_baseline_is_sent_like_an_input():
    made = only(baseline={"image": PIXELS})
    assert (made.name, made.parts["image"].kind) == (CUSTOM_BASELINE, BaselineKind.TENSOR)
    assert made.parts["image"].values.tolist() == np.full((1, 8, 8), 0.5).tolist()
    assert only(baseline={"image": png()}).parts["image"].values.min() == 1
    assert only("reviews", baseline={"tokens": [9, 9]}).parts["tokens"].values.tolist() == [9, 9, 0, 0, 0, 0, 0, 0]


def test_every_input_has_its_own_form():
    made = only("photo-and-record", baseline=PATIENT)
    assert made.name == CUSTOM_BASELINE
    assert made.parts["photo"].kind is BaselineKind.BLACK
    assert made.parts["record"].values.tolist() == [50, 70]
    named = only("photo-and-record", baseline={"photo": "none", "record": "none"}).parts
    assert [part.kind for part in named.values()] == [BaselineKind.NAMED] * 2
    assert only("photo-and-record", baseline={"photo": "zero", "record": "zero"}).name == "zero"


def test_several_are_kept_in_order():
    made = spec(baseline=["white", {"kind": "uniform", "samples": 3}, {"image": PIXELS}]).explanation.baselines
    assert [(each.name, each.samples) for each in made] == [("white", 1), ("uniform", 3), (CUSTOM_BASELINE, 1)]


def test_expected_gradients_draws_from_the_reference_set_as_often_as_it_samples():
    made = only("prices", method="expected_gradients", samples=40)
    assert (made.name, made.samples) == ("reference", 40)
    assert only("prices", method="expected_gradients", samples=5_000).samples == 256
    assert only(method="expected_gradients").name == "black"
    assert spec("prices", method="expected_gradients").explanation.samples == 200


@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "lrp", "deconvolution", "guided_backpropagation"])
def test_methods_that_compare_with_nothing_have_no_baseline(method):
    assert spec(method=method).explanation.baselines == ()
    with pytest.raises(InvalidRequest) as refused:
        spec(method=method, baseline="white")
    assert refused.value.field == "baseline"


def test_a_blurred_input_needs_no_baseline():
    assert spec(path={"kind": "blur"}).explanation.baselines == ()
    by_input = {"photo": {"kind": "blur", "sigma": 1}}
    assert list(only("photo-and-record", path=by_input).parts) == ["record"]
    assert list(only("photo-and-record", path=by_input, baseline={"record": "mean"}).parts) == ["record"]


BLURRED = {"path": {"photo": {"kind": "blur"}}}
#: (model, fields, error, field)
REFUSED = {
    "no such name": ("digits", {"baseline": "nought"}, UnknownBaseline, "baseline"),
    "no name": ("digits", {"baseline": ""}, UnknownBaseline, "baseline"),
    "no such name in a list": ("digits", {"baseline": ["black", "nought"]}, UnknownBaseline, "baseline.1"),
    "no such name of an input": ("digits", {"baseline": {"image": "nought"}}, UnknownBaseline, "baseline.image"),
    "text of a table": ("prices", {"baseline": {"house": "x" * 100}}, UnknownBaseline, "baseline.house"),
    "no base64": ("digits", {"baseline": {"image": "!" * 100}}, InvalidBase64, "baseline.image"),
    "wrong size": ("digits", {"baseline": {"image": png(4)}}, InvalidImage, "baseline.image"),
    "wrong shape": ("digits", {"baseline": {"image": PIXELS | {"shape": [8, 8]}}}, InvalidShape,
                    "baseline.image.shape"),
    "unknown input": ("digits", {"baseline": {"picture": "black"}}, InvalidInput, "baseline.picture"),
    "missing input": ("photo-and-record", {"baseline": {"photo": "black"}}, InvalidInput, "baseline.record"),
    "never explained": ("masked", {"baseline": {"tokens": "pad", "mask": "zero"}}, InvalidInput, "baseline.mask"),
    "black table": ("prices", {"baseline": "black"}, UnsupportedByModel, "baseline"),
    "zero tokens": ("reviews", {"baseline": ["pad", "zero"]}, UnsupportedByModel, "baseline.1"),
    "no reference set": ("digits", {"baseline": "reference"}, UnsupportedByModel, "baseline"),
    "no class to look for": ("prices", {"baseline": "other_class"}, UnsupportedByModel, "baseline"),
    "no other class known": ("digits", {"baseline": "other_class"}, UnsupportedByModel, "baseline"),
    "mixed with other class": ("photo-and-record", {"baseline": {"photo": "other_class", "record": "mean"}},
                               UnsupportedByModel, "baseline"),
    "constant of what": ("digits", {"baseline": "constant"}, InvalidRequest, "baseline.value"),
    "noise of what width": ("digits", {"baseline": {"image": "gaussian"}}, InvalidRequest, "baseline.image.sigma"),
    "black table beside a photo": ("photo-and-record", {"baseline": {"photo": "black", "record": "black"}},
                                   UnsupportedByModel, "baseline.record"),
    "sigma of zero": ("digits", {"baseline": [{"kind": "zero", "sigma": 1}]}, InvalidRequest, "baseline.0.sigma"),
    "value of blur": ("digits", {"baseline": {"kind": "blur", "value": 1}}, InvalidRequest, "baseline.value"),
    "draws of black": ("digits", {"baseline": {"kind": "black", "samples": 2}}, InvalidRequest, "baseline.samples"),
    "unequal draws": ("photo-and-record", {"baseline": {
        name: {"kind": "gaussian", "sigma": 1, "samples": n} for name, n in (("photo", 2), ("record", 3))
    }}, InvalidRequest, "baseline"),
    "too many": ("digits", {"baseline": [{"kind": "uniform", "samples": 128}, {"kind": "uniform", "samples": 128},
                                         "black"]}, InvalidRequest, "baseline"),
    "blur and more": ("digits", {"path": {"kind": "blur"}, "baseline": "black"}, InvalidRequest, "baseline"),
    "blurred input": ("photo-and-record", BLURRED | {"baseline": PATIENT}, InvalidRequest, "baseline.photo"),
    "a search by Captum": ("photo-and-record", {"method": "occlusion", "baseline": "other_class"},
                           InvalidRequest, "baseline"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "error", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_a_baseline_that_cannot_be_is_refused(name, fields, error, field):
    with pytest.raises(error) as refused:
        spec(name, **fields)
    assert (type(refused.value), refused.value.field) == (error, field), refused.value.detail
    assert refused.value.detail


def test_a_misspelt_name_is_answered_with_the_nearest_and_with_what_fits_the_model():
    with pytest.raises(UnknownBaseline, match="did you mean white") as refused:
        spec(baseline="whit")
    with pytest.raises(UnknownBaseline) as of_a_table:
        spec("rates", baseline="whit")
    for kind in ("black", "named", "tensor", "reference", "pad"):
        assert kind not in of_a_table.value.detail
    assert "named" not in refused.value.detail
    with pytest.raises(UnsupportedByModel) as unfit:
        spec("rates", baseline="white")
    assert "named" not in unfit.value.detail
    assert "what fits: zero, constant, gaussian" in unfit.value.detail


def test_a_blur_without_a_width_is_of_the_width_that_the_engine_takes():
    assert BLUR_SHARE == engine.BLUR_SHARE
    for form in ("blur", {"kind": "blur"}, {"image": "blur"}, {"image": {"kind": "blur"}}):
        assert only(baseline=form).parts["image"].sigma == pytest.approx(0.8)
