from pathlib import Path

import pytest
from attributor.settings import ApiSettings, Settings
from pydantic import ValidationError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    import os

    for name in os.environ:
        if name.startswith("ATTRIBUTOR_"):
            monkeypatch.delenv(name)


def test_a_variable_sets_one_value_and_leaves_its_neighbours(monkeypatch):
    monkeypatch.setenv("ATTRIBUTOR_API__PORT", "9000")
    monkeypatch.setenv("ATTRIBUTOR_MODELS_DIR", "/models")
    settings = Settings()
    assert (settings.api.port, settings.api.host) == (9000, ApiSettings().host)
    assert settings.models_dir == Path("/models")


def test_what_is_given_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("ATTRIBUTOR_API__PORT", "9000")
    monkeypatch.setenv("ATTRIBUTOR_API__HOST", "::1")
    settings = Settings(api={"port": 9001})
    assert (settings.api.port, settings.api.host) == (9001, "::1")


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("API__PORT", "0", ("api", "port")),
        ("API__PROT", "9000", ("api", "prot")),
        ("STORE__NAMESPACE", "a:b", ("store", "namespace")),
        ("LOG_LEVEL", "loud", ("log_level",)),
        ("WORKER__BEAT_S", "3", ()),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(monkeypatch, name, value, place):
    monkeypatch.setenv(f"ATTRIBUTOR_{name}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [error["loc"] for error in refused.value.errors()] == [place]


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().api.port = 1
