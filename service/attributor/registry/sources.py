"""The readers of a bundle's sources: what turns a text or a molecule into the inputs of its model.

Knows the files of a bundle and which reader a kind of source has. Never loads torch.
"""

from collections.abc import Mapping
from pathlib import Path

from attributor.errors import BundleError
from attributor.inputs.smiles import MoleculeReader
from attributor.inputs.text import TextReader
from attributor.jobs.model import Source, SourceKind
from attributor.ports import SourceReader
from attributor.registry.files import read_verified
from attributor.registry.manifest import Manifest


def readers(folder: Path, manifest: Manifest) -> Mapping[str, SourceReader]:
    """A reader for each declared source, by its name; empty without sources.

    Raises BundleError, its field `sources.<name>...`, if a file is missing, changed since the manifest was sealed, or
    no tokenizer, and if an input's shape is not what its source makes.
    """
    return {name: _reader(folder, manifest, source) for name, source in manifest.info.sources.items()}


def _reader(folder: Path, manifest: Manifest, source: Source) -> SourceReader:
    specs = [spec for spec in manifest.info.inputs if spec.source == source.name]
    try:
        if source.kind is SourceKind.SMILES:
            return MoleculeReader(source.elements, specs)
        file = source.file or ""
        if file not in manifest.files:
            raise BundleError(f"{file!r} is no file of the bundle.")
        return TextReader(read_verified(folder, file, manifest.files[file]), specs)
    except BundleError as error:
        error.field = error.field or f"sources.{source.name}"
        raise
