"""Drafts of bundles, on disk."""

from pathlib import Path

from attributor.registry.catalog import Bundle
from attributor.registry.scaffold.drafts import Draft, written
from attributor.registry.scaffold.placing import place


def placed(draft: Draft, root: Path, name: str, version: str = "1", source: str = "a test") -> Bundle:
    """The sealed bundle of a draft at `root/name/version`."""
    with written(draft, root, name, version, source) as bundle:
        return place(bundle, root)
