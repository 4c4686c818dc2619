from dataclasses import replace

import pytest
from attributor.api.mapping.paths import layer, layer_names, path_kinds, saturation
from attributor.api.schemas.bodies import AttributionBody
from attributor.api.schemas.explanation import LayerBody, SaturationBody
from attributor.errors import InvalidRequest, InvalidShape, UnknownLayer, UnsupportedByModel
from attributor.jobs.explanation import Gamma, GammaKind, Layer, Quantity
from attributor.jobs.model import DeclaredLayer
from unit.api.models import DIGITS, HOUSE, IMAGE, LAYERS, PATIENTS, PIXELS, PRICES, REVIEWS, TOKENS, spec
from unit.api.models import PHOTO as PHOTO_INPUT
from unit.api.models import RECORD as RECORD_INPUT

PHOTO = {"shape": [1, 2, 2], "data": [0, 0, 0, 0]}
RECORD = {"age": 1, "weight": 2}


def gamma(name: str, path) -> dict[str, Gamma]:
    return dict(spec(name, path=path).explanation.gamma)


def test_a_straight_path_is_no_path_to_speak_of():
    assert gamma("digits", None) == gamma("digits", {"kind": "straight"}) == {}
    assert gamma("photo-and-record", {"record": {"kind": "straight"}}) == {}


def test_a_polyline_is_of_all_inputs_or_of_one():
    made = gamma("photo-and-record", {"kind": "polyline", "points": [{"photo": PHOTO, "record": RECORD}] * 2})
    assert {name: (each.kind, len(each.points)) for name, each in made.items()} == {
        "photo": (GammaKind.POLYLINE, 2),
        "record": (GammaKind.POLYLINE, 2),
    }
    one = gamma("photo-and-record", {"record": {"kind": "polyline", "points": [RECORD]}})
    assert one["record"].points[0].tolist() == [1, 2]
    tokens = gamma("reviews", {"tokens": {"kind": "polyline", "points": [[1, 2], [3]]}})
    assert [point.tolist()[:2] for point in tokens["tokens"].points] == [[1, 2], [3, 0]]
    assert list(gamma("masked", {"kind": "polyline", "points": [{"tokens": [1]}]})) == ["tokens"]


def test_a_blur_starts_at_a_fifth_of_the_longer_side():
    assert gamma("large", {"kind": "blur"})["image"].sigma == pytest.approx(44.8)
    assert gamma("digits", {"image": {"kind": "blur", "sigma": 2}}) == {"image": Gamma(GammaKind.BLUR, sigma=2)}


def test_guided_and_registered_paths_carry_their_numbers():
    made = gamma("digits", {"kind": "guided", "steps": 5, "fraction": 0.5})["image"]
    assert (made.kind, made.steps, made.fraction) == (GammaKind.GUIDED, 5, 0.5)
    plain = gamma("prices", {"kind": "guided"})["house"]
    assert (plain.steps, plain.fraction) == (20, 0.25)
    assert gamma("prices", {"kind": "registered", "name": "spiral"})["house"].name == "spiral"


#: (model, path, error, field)
REFUSED = {
    "blurred table": ("prices", {"kind": "blur"}, UnsupportedByModel, "path.kind"),
    "blurred input": ("photo-and-record", {"record": {"kind": "blur"}}, UnsupportedByModel, "path.record.kind"),
    "guided inputs": ("photo-and-record", {"kind": "guided"}, UnsupportedByModel, "path.kind"),
    "guided tokens": ("reviews", {"kind": "guided"}, UnsupportedByModel, "path.kind"),
    "guided beside another": (
        "photo-and-record",
        {"record": {"kind": "guided"}},
        UnsupportedByModel,
        "path.record.kind",
    ),
    "unregistered": ("prices", {"kind": "registered", "name": "zigzag"}, UnsupportedByModel, "path.name"),
    "registered without a name": ("prices", {"kind": "registered"}, InvalidRequest, "path.name"),
    "no points": ("digits", {"kind": "polyline"}, InvalidRequest, "path.points"),
    "points of a blur": ("digits", {"kind": "blur", "points": [{}]}, InvalidRequest, "path.points"),
    "steps of a line": ("digits", {"kind": "straight", "steps": 5}, InvalidRequest, "path.steps"),
    "sigma by input": ("digits", {"image": {"kind": "straight", "sigma": 5}}, InvalidRequest, "path.image.sigma"),
    "a point of another shape": (
        "digits",
        {"kind": "polyline", "points": [{"image": PIXELS | {"shape": [8, 8]}}]},
        InvalidShape,
        "path.points.0.image.shape",
    ),
    "a value of another shape": (
        "digits",
        {"image": {"kind": "polyline", "points": [PIXELS, PIXELS | {"shape": [8, 8]}]}},
        InvalidShape,
        "path.image.points.1.shape",
    ),
    "a point that is none": ("digits", {"kind": "polyline", "points": [5]}, InvalidRequest, "path.points.0"),
    "unknown input": ("digits", {"picture": {"kind": "straight"}}, InvalidRequest, "path.picture"),
    "never explained": ("masked", {"mask": {"kind": "straight"}}, InvalidRequest, "path.mask"),
    "unequal polylines": (
        "photo-and-record",
        {
            "photo": {"kind": "polyline", "points": [PHOTO]},
            "record": {"kind": "polyline", "points": [RECORD, RECORD]},
        },
        InvalidRequest,
        "path",
    ),
    "a blur beside a polyline": (
        "photo-and-record",
        {"photo": {"kind": "blur"}, "record": {"kind": "polyline", "points": [RECORD]}},
        InvalidRequest,
        "path.photo",
    ),
}


@pytest.mark.parametrize(("name", "path", "error", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_a_path_that_cannot_be_is_refused(name, path, error, field):
    with pytest.raises(error) as refused:
        spec(name, path=path)
    assert (type(refused.value), refused.value.field) == (error, field), refused.value.detail


def test_the_kinds_of_path_are_those_that_an_input_can_have():
    plain = [GammaKind.STRAIGHT, GammaKind.POLYLINE]
    assert path_kinds(IMAGE, DIGITS) == [*plain, GammaKind.BLUR, GammaKind.GUIDED]
    assert path_kinds(TOKENS, REVIEWS) == plain
    assert path_kinds(HOUSE, PRICES) == [*plain, GammaKind.GUIDED, GammaKind.REGISTERED]
    assert path_kinds(PHOTO_INPUT, PATIENTS) == [*plain, GammaKind.BLUR]
    assert path_kinds(RECORD_INPUT, PATIENTS) == plain


def test_one_input_alone_can_be_guided_by_its_name():
    assert gamma("digits", {"image": "guided"}) == gamma("digits", "guided") == gamma("digits", {"kind": "guided"})


def test_what_cannot_be_is_answered_with_what_can():
    for path in ({"kind": "blur"}, {"house": "blur"}, {"kind": "registered", "name": "zigzag"}):
        with pytest.raises(UnsupportedByModel, match="can be straight, polyline, guided, registered"):
            spec("prices", path=path)
    with pytest.raises(UnsupportedByModel, match=r"the path can be straight, polyline$"):
        spec("photo-and-record", path={"photo": "guided"})


def test_a_layer_is_one_of_the_models():
    made = spec(layer={"name": "classifier.1", "quantity": "conductance"}).explanation.layer
    assert made == Layer("classifier.1", Quantity.CONDUCTANCE)
    assert spec(layer={"name": "classifier.1"}).explanation.layer.quantity is Quantity.LAYER_IG


@pytest.mark.parametrize(
    ("fields", "field", "hint"),
    [
        ({"layer": {"name": "convolution.2"}}, "layer.name", "convolutions.2"),
        ({"layer": {"name": "xyz"}}, "layer.name", "it has"),
        ({"saturation": {"layers": ["classifier.1", "clasifier.2"]}}, "saturation.layers.1", "classifier.2"),
    ],
)
def test_an_unknown_layer_is_refused_with_what_is_there(fields, field, hint):
    with pytest.raises(UnknownLayer) as refused:
        spec(**fields)
    assert (refused.value.field, hint in refused.value.detail) == (field, True)


STEM = replace(DIGITS, layers={"stem": DeclaredLayer("stem", "convolutions.2"), "head": DeclaredLayer("head", "x.y")})


def test_a_name_of_the_manifest_stands_for_its_module():
    asked = LayerBody(name="stem")
    assert layer(asked, STEM, LAYERS) == layer(asked, STEM, None) == Layer("convolutions.2")
    assert layer(LayerBody(name="convolutions.2"), STEM, LAYERS) == Layer("convolutions.2")
    assert saturation(SaturationBody(layers=["classifier.1", "head"]), STEM, LAYERS).layers == ("classifier.1", "x.y")


def test_the_names_that_were_asked_by_are_kept_by_module():
    body = AttributionBody.model_validate(
        {
            "model": "digits",
            "inputs": [{"image": PIXELS}],
            "layer": {"name": "stem"},
            "saturation": {"layers": ["classifier.1", "head"]},
        }
    )
    assert layer_names(body, STEM) == {"convolutions.2": "stem", "x.y": "head"}
    assert layer_names(body, DIGITS) == {}


def test_names_of_the_manifest_are_suggested():
    with pytest.raises(UnknownLayer, match="stem"):
        layer(LayerBody(name="steam"), STEM, LAYERS)
