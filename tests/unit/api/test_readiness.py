"""Which version a request gets, and what it is told where none can serve: on a real folder."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from attributor.api.readiness import Servable, read_aside, servable
from attributor.api.schemas.bodies import AttributionBody, PredictionBody
from attributor.errors import ModelNotReady
from attributor.jobs.model import ModelReport, Readiness, Source, SourceKind
from attributor.registry.catalog import FolderCatalog
from bundles import write_bundle
from unit.api.models import MODELS


class Fleet:
    """Tells what it was told."""

    def __init__(self, catalog: FolderCatalog, reasons: dict[str, str | None]) -> None:
        self._reports = {
            ref: ModelReport(
                ref, catalog.get(ref).digest, Readiness.FAILED if reason else Readiness.READY, reason, (), {}, 0.0
            )
            for ref, reason in reasons.items()
        }

    async def model_reports(self) -> dict[str, ModelReport]:
        return self._reports


@pytest.fixture
def folder(tmp_path):
    for version in ("1", "2"):
        write_bundle(tmp_path, "pear", version)
    return tmp_path


def deps(folder, reasons: dict[str, str | None]):
    catalog = FolderCatalog(folder)
    return SimpleNamespace(catalog=catalog, fleet=Fleet(catalog, reasons))


async def test_where_the_only_good_version_broke_the_cause_is_told_first(folder):
    (folder / "pear" / "1" / "model.py").write_text("")
    with pytest.raises(ModelNotReady) as caught:
        await servable(deps(folder, {"pear@2": "It mixes rows."}), "pear")
    said = caught.value.detail
    assert said.startswith("no version of model 'pear' can be served. pear@1: model.py has 0 bytes")
    assert said.endswith("And model 'pear@2' is not ready: It mixes rows.")
    with pytest.raises(ModelNotReady, match=r"^model 'pear@2' is not ready: It mixes rows\.$"):
        await servable(deps(folder, {"pear@2": "It mixes rows."}), "pear@2")


async def test_a_declared_default_that_failed_is_told_alone_where_another_version_serves(folder):
    write_bundle(folder, "pear", "3")
    (folder / "pear" / "1" / "model.py").write_text("")
    (folder / "pear" / "versions.toml").write_text('default = "2"')
    with pytest.raises(ModelNotReady, match=r"^model 'pear@2' is not ready: It mixes rows\.$"):
        await servable(deps(folder, {"pear@2": "It mixes rows.", "pear@3": None}), "pear")


async def test_a_good_version_serves_whatever_the_others_are(folder):
    found = await servable(deps(folder, {"pear@1": None, "pear@2": "It mixes rows."}), "pear")
    assert found.info.ref == "pear@1"


TENSOR = {"photo": {"shape": [1, 2, 2], "data": [0.0] * 4}, "record": {"age": 1, "smoker": 0}}


@pytest.mark.parametrize(
    ("body", "aside"),
    [
        (PredictionBody(inputs=[TENSOR]), False),
        (PredictionBody(inputs=[TENSOR, TENSOR | {"photo": "iVBO"}]), True),
        (AttributionBody(model="m", inputs=[TENSOR]), False),
        (AttributionBody(model="m", inputs=[TENSOR], baseline="zero"), False),
        (AttributionBody.model_validate({"model": "m", "inputs": [TENSOR], "baseline": {"photo": "iVBO"}}), True),
        (AttributionBody.model_validate({"model": "m", "inputs": [TENSOR], "baseline": ["zero"]}), True),
        (AttributionBody.model_validate({"model": "m", "inputs": [TENSOR], "path": "blur"}), True),
    ],
)
async def test_pictures_are_read_aside_and_numbers_at_once(body, aside):
    def where(read, *, tenant):
        assert (read, tenant) == (body, "t")
        return threading.current_thread()

    model = Servable(MODELS["photo-and-record"], None, {})
    found = await read_aside(model, where, body, tenant="t")
    assert (found is not threading.current_thread()) == aside


async def test_what_has_a_source_is_read_aside():
    text = {"text": Source("text", SourceKind.TEXT, "tokenizer.json")}
    model = Servable(replace(MODELS["photo-and-record"], sources=text), None, {})
    body = PredictionBody(inputs=[{"text": "a"}])
    found = await read_aside(model, lambda _: threading.current_thread(), body)
    assert found is not threading.current_thread()
