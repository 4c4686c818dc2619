"""What the doctor says of stores, models and workers; the commands are run as a user runs them."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from attributor.__main__ import app
from attributor.jobs.access import USUAL_SCOPES, new_key
from attributor.jobs.model import ModelReport, Readiness
from attributor.jobs.terms import Terms
from attributor.storage.connection import RedisStore
from attributor.storage.embedded import EmbeddedStore
from attributor.storage.redis_fleet import RedisFleet
from attributor.storage.redis_keys import RedisKeys
from typer.testing import CliRunner, Result

MODELS = Path(__file__).parents[3] / "models"


def doctor(*words: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, words)])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedStore]:
    server = EmbeddedStore(tmp_path / "data")
    assert server.start()
    yield server
    server.stop()


def test_before_the_first_start_it_says_what_would_be_started(tmp_path):
    found = doctor("--models", MODELS, "--data-dir", tmp_path / "data")
    assert found.exit_code == 0, found.output
    assert "ok       models: 2 in" in found.output
    assert "does not run now" in found.output
    assert not (tmp_path / "data").exists()


def test_a_store_without_workers_is_a_warning(server, tmp_path):
    found = doctor("--models", MODELS, "--data-dir", tmp_path / "data")
    assert found.exit_code == 0, found.output
    assert "warning  workers: none" in found.output
    assert "ok       rights" in found.output


async def test_a_service_that_asks_for_keys_and_has_none_is_a_warning(server, monkeypatch):
    async def said() -> str:
        return (await asyncio.to_thread(doctor, "--models", MODELS, "--redis-url", server.url)).output

    assert "keys:" not in await said()
    monkeypatch.setenv("ATTRIBUTOR_API__KEYS", "true")
    assert "warning  keys: none: every request is refused" in await said()
    async with RedisStore(server.url) as store:
        await RedisKeys(store).add(new_key("t", USUAL_SCOPES, 0.0, "", Terms())[1])
    assert "ok       keys: 1 API key\n" in await said()


async def test_workers_and_what_they_say_of_models_are_told(server):
    async with RedisStore(server.url) as store:
        fleet = RedisFleet(store)
        await fleet.beat_worker("w")
        await fleet.report_model(ModelReport("good@1", "d", Readiness.READY, None, (), {}, 0.0))
        await fleet.report_model(ModelReport("bad@1", "d", Readiness.FAILED, "weights differ", (), {}, 0.0))
    found = await asyncio.to_thread(doctor, "--models", MODELS, "--redis-url", server.url)
    assert found.exit_code == 1
    assert "ok       workers: 1 alive" in found.output
    assert "ok       models: good@1 is ready" in found.output
    assert "problem  models: bad@1 cannot be served: weights differ" in found.output


def test_a_store_that_is_not_there_is_a_problem_with_a_remedy(tmp_path):
    found = doctor("--models", MODELS, "--redis-url", f"unix://{tmp_path}/none.sock")
    assert found.exit_code == 1
    assert "problem  store:" in found.output
    assert "         -> is it running" in found.output
    assert "Traceback" not in found.output


def test_a_folder_of_models_that_is_not_there_or_is_broken_is_a_problem(tmp_path):
    assert "there is no folder" in doctor("--models", tmp_path / "none", "--data-dir", tmp_path).output
    (tmp_path / "models" / "net" / "1").mkdir(parents=True)
    (tmp_path / "models" / "net" / "1" / "manifest.toml").write_text("name = 1")
    found = doctor("--models", tmp_path / "models", "--data-dir", tmp_path)
    assert found.exit_code == 1
    assert "problem  models: net@1" in found.output


def test_a_data_directory_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    asked = os.access
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode, **more: not mode & os.W_OK and asked(path, mode, **more))
    found = doctor("--models", MODELS, "--data-dir", tmp_path / "data")
    assert (found.exit_code, "cannot be written to" in found.output) == (1, True)
