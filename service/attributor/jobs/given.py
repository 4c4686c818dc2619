"""What a person gave for an input, as far as an answer must speak of it: text, molecule, picture.

Frozen values that travel with the job, so that attributions come back in these terms after the bundle is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its text as the tokenizer writes it, and where it stands.

    `start`, `end`: offsets in characters (code points) of the text number `segment`, 0 or 1. `word`: number of the word
    that it belongs to, in its text; None for special tokens, which stand for no characters (start = end = 0).
    """

    text: str
    start: int
    end: int
    segment: int
    word: int | None


@dataclass(frozen=True, slots=True)
class GivenText:
    """A text, or a pair of them, and all its tokens in the order of the ids."""

    texts: tuple[str, ...]
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Atom:
    """An atom in the order of the SMILES: element symbol, formal charge, whether it is aromatic."""

    symbol: str
    charge: int
    aromatic: bool


@dataclass(frozen=True, slots=True)
class Bond:
    """A bond between two atoms, by their numbers; `kind` is single, double, triple or aromatic."""

    begin: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class GivenMolecule:
    """A molecule without its hydrogens."""

    smiles: str
    atoms: tuple[Atom, ...]
    bonds: tuple[Bond, ...]


@dataclass(frozen=True, slots=True)
class GivenPicture:
    """A picture of another size than the model's: what of it the model saw.

    `width`, `height`: of the picture as given, pixels. `box`: left, top, right, bottom of the part that the model's
    pixels cover, in pixels of the given picture.
    """

    width: int
    height: int
    box: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """All of it for one entry of a request's `inputs`: by the names of sources, and of image inputs."""

    texts: Mapping[str, GivenText]
    molecules: Mapping[str, GivenMolecule]
    pictures: Mapping[str, GivenPicture]


NOTHING_GIVEN = Given({}, {}, {})
