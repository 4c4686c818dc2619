"""That the guide and the schema say the same."""

import re
from pathlib import Path

import pytest
from attributor.registry.manifest import parse
from attributor.registry.schema.inputs import FeatureTable, InputTable, NormaliseTable
from attributor.registry.schema.manifest_table import ManifestTable
from attributor.registry.schema.output import BaselineTable, LayerTable, OutputTable, PathTable
from attributor.registry.schema.sources import SourceTable

GUIDE = (Path(__file__).parents[4] / "models" / "README.md").read_text(encoding="utf-8")
TABLES = (
    ManifestTable,
    InputTable,
    FeatureTable,
    NormaliseTable,
    OutputTable,
    BaselineTable,
    LayerTable,
    PathTable,
    SourceTable,
)


@pytest.mark.parametrize("table", TABLES)
def test_the_guide_shows_every_key(table):
    missing = [key for key in table.model_fields if not re.search(rf"\b{key}\b(?= ?=|`|\.|\]|,)", GUIDE)]
    assert missing == []


def test_the_guides_manifest_is_one():
    text = GUIDE.partition("```toml\n")[2].partition("   ```")[0]
    assert text.startswith("   schema_version")
    files = "".join(
        f'"{name}" = {{ sha256 = "{"0" * 64}", size_bytes = 1 }}\n' for name in ("model.py", "reference.npy")
    )
    info = parse(f"{text}\n[files]\n{files}".encode()).info
    assert info.ref == "breast-cancer@1"
    assert [feature.unit for feature in info.inputs[0].features] == ["mm", None]
