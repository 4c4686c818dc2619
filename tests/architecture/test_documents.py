"""What is written about the service, held to the service: OpenAPI, error codes, settings."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from architecture import errors_page, settings_page
from attributor import errors
from attributor.api.problems import MEDIA_TYPE, STATUS
from attributor.bootstrap.openapi import openapi_bytes

ROOT = Path(__file__).resolve().parents[2]
#: It never reaches HTTP: a bundle's fault is told on the command line, and in the reason of `model_not_ready`.
NEVER_OVER_HTTP = {errors.BundleError.code}


@pytest.fixture(scope="module")
def document() -> dict:
    return json.loads(openapi_bytes())


def operations(document: dict) -> Iterator[tuple[str, dict]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_openapi_document_of_the_repository_is_the_applications():
    assert (ROOT / "openapi" / "openapi.json").read_bytes() == openapi_bytes(), "run `attributor openapi`"


def test_every_operation_is_described(document):
    found = dict(operations(document))
    assert len(found) >= 10
    for name, operation in found.items():
        assert operation.get("summary"), name
        assert operation.get("description"), name


def test_every_request_body_has_an_example(document):
    bodies = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for _, operation in operations(document)
        if "requestBody" in operation
    }
    assert bodies == {"AttributionBody", "PredictionBody"}
    for body in bodies:
        assert document["components"]["schemas"][body]["examples"], body


def test_every_parameter_is_described(document):
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "path":
                assert parameter.get("description") or parameter["schema"].get("description"), (name, parameter["name"])


def test_errors_are_problem_documents_and_nothing_else(document):
    seen = 0
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if int(status) >= 400 and "/health/" not in name:
                assert list(response["content"]) == [MEDIA_TYPE], (name, status)
                assert response["content"][MEDIA_TYPE]["schema"]["$ref"].endswith("/Problem")
                assert response["description"], (name, status)
                seen += 1
    assert seen > 20


def all_errors(kind: type[errors.AttributorError] = errors.AttributorError) -> Iterator[type[errors.AttributorError]]:
    for child in kind.__subclasses__():
        yield child
        yield from all_errors(child)


def test_every_error_has_a_status_and_every_status_is_an_error_or_the_frameworks():
    codes = {error.code for error in all_errors() if "code" in vars(error)}
    assert codes - STATUS.keys() == NEVER_OVER_HTTP
    frameworks = {"malformed_json", "not_found", "method_not_allowed", "body_too_large", "unsupported_media_type"}
    assert STATUS.keys() - codes == frameworks


def test_no_two_errors_share_a_code():
    codes = [error.code for error in all_errors() if "code" in vars(error)]
    assert len(codes) == len(set(codes))


def test_every_code_is_in_the_tree_that_opens_the_module():
    tree = errors.__doc__ or ""
    for error in all_errors():
        assert error.__name__ in tree
        assert error.code in tree or "code" not in vars(error)


def test_the_page_on_errors_has_every_code_with_its_status_and_no_other():
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| \S.* \| \S.* \|$", text, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code: status for code, (status, _) in STATUS.items()}
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert named == STATUS.keys() | NEVER_OVER_HTTP


def test_the_page_on_errors_is_made_from_the_codes():
    assert errors_page.PAGE.read_text() == errors_page.page(), "run tests/architecture/errors_page.py"


def test_the_page_on_settings_is_made_from_the_settings():
    assert settings_page.PAGE.read_text() == settings_page.page(), "run tests/architecture/settings_page.py"


def test_every_setting_has_a_sentence():
    rows = re.findall(r"^\| `(ATTRIBUTOR_\w+)` \|.*\|([^|]*)\|$", settings_page.page(), re.MULTILINE)
    assert len(rows) > 20
    for variable, sentence in rows:
        assert len(sentence.split()) >= 3, variable
