import json

from attributor import __version__
from attributor.bootstrap.openapi import openapi_bytes


def test_the_document_needs_no_store_and_is_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = openapi_bytes()
    assert document == openapi_bytes()
    assert document.endswith(b"}\n")
    assert json.loads(document)["info"]["version"] == __version__
    assert list(tmp_path.iterdir()) == []


def test_the_document_does_not_depend_on_the_environment(monkeypatch):
    plain = openapi_bytes()
    monkeypatch.setenv("ATTRIBUTOR_API__MAX_INPUTS", "3")
    monkeypatch.setenv("ATTRIBUTOR_MODELS_DIR", "/nowhere")
    assert openapi_bytes() == plain
