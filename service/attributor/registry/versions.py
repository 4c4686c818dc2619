"""`<model>/versions.toml`: which version a bare name means, and aliases. May be absent.

Knows TOML and the form of this file. Knows no bundles: whether the versions exist is the catalog's to say.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from attributor.errors import BundleError
from attributor.registry.files import require_plain_file
from attributor.registry.schema.base import Table, Version
from attributor.registry.schema.manifest_table import validation_sentences
from attributor.registry.toml_text import read_toml

#: The file's name; a version's folder cannot have it, because it is a file.
VERSIONS = "versions.toml"

#: Ours: hundreds of aliases. Whatever is larger is not this file, which is read at every look.
MOST_BYTES = 16_384

#: Begins with a letter, so that it does not look like a number of a version; no `@`, which stands before it.
_Alias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64)]


@dataclass(frozen=True, slots=True)
class Declared:
    """What the file says. `default`: the version of a bare name; None: the highest that is proven."""

    default: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)

    def problem(self, versions: Collection[str]) -> str | None:
        """What it says of versions that are not served, given those that are; None if nothing is wrong."""
        found = []
        if self.default is not None and self.default not in versions:
            found.append(f"default is version {self.default!r}, which is not served")
        for alias, version in self.aliases.items():
            if alias in versions:
                found.append(f"alias {alias!r} is the name of a version, which it cannot stand for")
            elif version not in versions:
                found.append(f"alias {alias!r} stands for version {version!r}, which is not served")
        return "; ".join(found) + "." if found else None


class _VersionsTable(Table):
    default: Version | None = None
    aliases: dict[_Alias, Version] = Field(default_factory=dict)


def read_declared(folder: Path) -> Declared:
    """What the file in a model's folder says; nothing where there is none.

    Raises BundleError if it is a link or a folder, too large, not TOML or of another form, OSError if it cannot be
    read.
    """
    path = folder / VERSIONS
    if not path.is_symlink() and not path.exists():
        return Declared()
    require_plain_file(path)
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BundleError(f"{VERSIONS} is larger than {MOST_BYTES} bytes.", field=VERSIONS)
    try:
        table = _VersionsTable.model_validate(read_toml(data, VERSIONS))
    except ValidationError as error:
        raise BundleError(f"{VERSIONS} is wrong: {validation_sentences(error)}.", field=VERSIONS) from None
    return Declared(table.default, dict(table.aliases))
