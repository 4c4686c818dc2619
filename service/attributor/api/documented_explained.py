"""Attributions in the terms of what was given, as they are documented in OpenAPI."""

from typing import Annotated, Literal

from pydantic import Field

from attributor.api.documented import Document


class ExplainedToken(Document):
    """A token of a text."""

    token: str = Field(description="As the tokenizer writes it.")
    start: int = Field(description="Where it begins in its text, in characters (code points), from 0.")
    end: int = Field(description="Where it has ended.")
    segment: int = Field(description="Number of its text, 0 or 1.")
    word: int | None = Field(description="Its word's place in `words`; null for special tokens.")
    attribution: float


class ExplainedWord(Document):
    """A word of a text: the tokens that the tokenizer made of it."""

    text: str = Field(description="The characters from `start` to `end`.")
    start: int
    end: int
    segment: int
    attribution: float = Field(description="The sum over its tokens.")


class ExplainedText(Document):
    """A text, or a pair. `words` and `special` add up to the attribution of the token ids."""

    kind: Literal["text"]
    texts: list[str]
    tokens: list[ExplainedToken]
    words: list[ExplainedWord]
    special: float = Field(description="The sum over special tokens and padding, which belong to no word.")


class ExplainedId(Document):
    """A position of a list of token ids."""

    id: int
    attribution: float


class ExplainedTokens(Document):
    """Token ids that were sent in place of a text."""

    kind: Literal["tokens"]
    tokens: list[ExplainedId]


class ExplainedColumn(Document):
    """A column of a table."""

    name: str
    unit: str | None
    value: float | str | None = Field(
        description="A number or a category; null where a one-hot column of the tensor that was sent is no category."
    )
    attribution: float = Field(description="Of a one-hot column the sum over its categories.")


class ExplainedGroup(Document):
    """A set of columns that the manifest names."""

    name: str
    attribution: float = Field(description="The sum over its columns.")


class ExplainedTable(Document):
    """A table's columns. They add up to the input's attribution; a column may be in several groups, or in none."""

    kind: Literal["table"]
    columns: list[ExplainedColumn]
    groups: list[ExplainedGroup]


class ExplainedAtom(Document):
    """An atom, in the order of the SMILES."""

    index: int
    symbol: str
    attribution: float = Field(description="The sum over its features.")


class ExplainedBond(Document):
    """A bond between two atoms, by their `index`."""

    begin: int
    end: int
    type: str = Field(description="single, double, triple or aromatic.")
    attribution: float = Field(description="The sum over both directions and all bond types.")


class ExplainedMolecule(Document):
    """A molecule. `atoms`, `bonds` and `rest` add up to the attributions of its tensors."""

    kind: Literal["molecule"]
    smiles: str
    atoms: list[ExplainedAtom]
    bonds: list[ExplainedBond]
    rest: float = Field(description="What padding and pairs of atoms without a bond got.")


class GivenPictureDocument(Document):
    """A picture that was not of the model's size."""

    width: int = Field(description="As given, pixels.")
    height: int
    box: Annotated[list[float], Field(min_length=4, max_length=4)] = Field(
        description="Left, top, right and bottom of what the model saw, in pixels of the picture as given."
    )


class ExplainedImage(Document):
    """An image. Its pixels are those of the tensor in `attributions`, summed over channels."""

    kind: Literal["image"]
    shape: list[int] = Field(description="Height and width as the model sees it.")
    picture: GivenPictureDocument | None = Field(
        description="Where the model's pixels lie in the picture that was given; null where it was of the model's size."
    )


Explained = ExplainedText | ExplainedTokens | ExplainedTable | ExplainedMolecule | ExplainedImage
