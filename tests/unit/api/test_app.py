import json

from attributor.bootstrap.openapi import openapi_bytes


def test_forms_that_overlap_are_not_documented_as_excluding_each_other():
    text = openapi_bytes().decode()
    body = json.loads(text)["components"]["schemas"]["AttributionBody"]["properties"]
    assert len(body["baseline"]["anyOf"]) == 2
    assert '"oneOf"' not in text


def test_every_named_example_is_in_the_document():
    path = json.loads(openapi_bytes())["paths"]["/v1/attributions"]["post"]
    examples = path["requestBody"]["content"]["application/json"]["examples"]
    assert all(example["summary"] and example["description"] and example["value"] for example in examples.values())
    assert len(examples) > 40
