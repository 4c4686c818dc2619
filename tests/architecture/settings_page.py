"""docs/settings.md from the settings. Run it after a change: `python tests/architecture/settings_page.py`."""

from collections.abc import Iterator
from pathlib import Path

from attributor.settings import Settings
from pydantic import BaseModel
from pydantic.fields import FieldInfo

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"

HEAD = """\
# Settings

Each is an environment variable; the options of the command line (`attributor serve --help`) win over them. A variable
that names no setting is ignored at the top (`ATTRIBUTOR_FOO`), and refused within a group (`ATTRIBUTOR_API__FOO`).
`attributor serve` hands what it was given to the processes that it starts. Times are in seconds, sizes in bytes.

Written by `tests/architecture/settings_page.py`; a test compares.
"""

COLUMNS = "| variable | unit | default | what it is, and why so |\n|---|---|---|---|\n"
#: By the last part of a name.
UNITS = {"s": "seconds", "bytes": "bytes"}


def page() -> str:
    """The whole page."""
    parts = [HEAD, "\n## Everywhere\n\n", COLUMNS]
    groups = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            groups[name] = field.annotation
        else:
            parts.append(_row(f"ATTRIBUTOR_{name}", name, field))
    for name, group in groups.items():
        parts += [f"\n## {(group.__doc__ or '').rstrip('.')}\n\n", COLUMNS, *_rows(name, group)]
    return "".join(parts)


def _rows(group: str, fields: type[BaseModel]) -> Iterator[str]:
    for name, field in fields.model_fields.items():
        yield _row(f"ATTRIBUTOR_{group}__{name}", name, field)


def _row(variable: str, name: str, field: FieldInfo) -> str:
    default = "unset" if field.default is None else f"`{field.default}`"
    unit = UNITS.get(name.rpartition("_")[2], "")
    return f"| `{variable.upper()}` | {unit} | {default} | {field.description} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
