"""Which version a request gets, and what it is told where none can serve: on a real folder."""

from types import SimpleNamespace

import pytest
from attributor.api.readiness import servable
from attributor.errors import ModelNotReady
from attributor.jobs.model import ModelReport, Readiness
from attributor.registry.catalog import FolderCatalog
from bundles import write_bundle


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
