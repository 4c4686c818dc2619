"""Every example of the OpenAPI document is a request that is taken, and every field of a request has an example."""

import pytest
from attributor.api.example_requests import SHIPPED
from attributor.api.examples import EXAMPLES
from attributor.api.mapping.specs import attribution_spec
from attributor.api.schemas.bodies import AttributionBody
from attributor.jobs.explanation import GammaKind, Method, Quantity
from attributor.registry.catalog import FolderCatalog
from unit.api import explaining_page
from unit.api.models import GIVEN, LAYERS, MODELS, READERS

SERVED = {info.name: info for info in FolderCatalog(explaining_page.ROOT / "models").all()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_a_request_that_is_taken(name):
    body = AttributionBody.model_validate(EXAMPLES[name]["value"])
    info = (MODELS | GIVEN | SERVED)[body.model]
    attribution_spec(body, info, tenant="t", layers=LAYERS, sources=READERS.get(body.model, {}))
    assert EXAMPLES[name]["summary"]
    assert EXAMPLES[name]["description"]


def test_an_example_whose_model_is_not_here_says_so():
    assert SERVED.keys() == SHIPPED
    for example in EXAMPLES.values():
        assert ("model of yours" in example["summary"]) == (example["value"]["model"] not in SERVED)


def test_every_field_has_an_example():
    used = {field for example in EXAMPLES.values() for field in example["value"]}
    of_a_rule = {"absolute_tolerance"}
    assert AttributionBody.model_fields.keys() - used == of_a_rule


def test_every_method_path_and_quantity_has_an_example():
    values = [example["value"] for example in EXAMPLES.values()]
    assert {value.get("method", "integrated_gradients") for value in values} == set(Method)
    straight = {GammaKind.STRAIGHT}
    assert {value["path"].get("kind") for value in values if "path" in value} - {None} == set(GammaKind) - straight
    assert {value["layer"]["quantity"] for value in values if "layer" in value} == set(Quantity)


def test_the_page_on_explaining_is_made_from_the_examples():
    assert explaining_page.PAGE.read_text(encoding="utf-8") == explaining_page.page(), "run explaining_page.py"
