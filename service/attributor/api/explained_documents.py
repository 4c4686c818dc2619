"""Attributions in the terms of what was given: words, columns, atoms and bonds. Sums only; nothing is estimated.

What stands here of an input adds up, in float64, to the sum of its attributions. Knows the job and its result, and
needs no bundle.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from attributor.jobs.columns import columns
from attributor.jobs.given import NOTHING_GIVEN, GivenMolecule, GivenPicture, GivenText, Token
from attributor.jobs.job import JobSpec
from attributor.jobs.model import InputKind, InputSpec, Part, Tensors
from attributor.jobs.once import once

Document = dict[str, Any]
_Sums = NDArray[np.float64]


def explained_documents(attributions: Tensors, number: int, spec: JobSpec) -> dict[str, Document]:
    """Of the job's input of that number: by the name of the source that was given, else of the input, in the declared
    order; without what has no better terms than its tensor. Not of a layer, whose units nobody gave."""
    given = spec.given[number] if spec.given else NOTHING_GIVEN
    example = spec.inputs[number]
    shares = {each.name: each for each in spec.declared if each.attributed and each.name in attributions}
    found: dict[str, Document] = {}
    for name, declared in shares.items():
        values, source = attributions[name].astype(np.float64), declared.source or ""
        if source in given.texts:
            if declared.part is Part.IDS:
                found[source] = text_document(given.texts[source], values)
        elif source in given.molecules:
            of_source = {each.part: attributions[each.name] for each in shares.values() if each.source == source}
            found[source] = molecule_document(given.molecules[source], of_source)
        elif document := _of_input(declared, example[name], values, given.pictures.get(name)):
            found[name] = document
    return found


def explained_texts(attributions: Tensors, numbers: Sequence[int], spec: JobSpec) -> list[bytes]:
    """The JSON of `explained_documents` for several of the job's inputs; `attributions` of all, shape (inputs, *input
    shape). Tables of numbers are written at once."""
    rows = [dict(zip(attributions, values, strict=True)) for values in zip(*attributions.values(), strict=True)]
    tables = [each for each in spec.declared if each.name in attributions]
    if spec.given or not all(_around_numbers(each) and not each.groups for each in tables):
        made = (explained_documents(row, number, spec) for row, number in zip(rows, numbers, strict=True))
        return [orjson.dumps(each) for each in made]
    whole = explained_documents(rows[0], numbers[0], spec)
    own = []
    for each in tables:
        whole[each.name]["columns"] = orjson.Fragment(b"\x00")  # which no JSON holds
        examples = np.concatenate([spec.inputs[number][each.name] for number in numbers])
        written = _side_by_side(examples, attributions[each.name].astype(np.float64).ravel())
        size = 2 * len(each.elements)
        own.append([tuple(written[at : at + size]) for at in range(0, len(written), size)])
    around = orjson.dumps(whole).replace(b"%", b"%%").replace(b"\x00", b"%b")
    columns = [_around_numbers(each) or b"" for each in tables]
    return [around % tuple(map(bytes.__mod__, columns, row)) for row in zip(*own, strict=True)]


def _of_input(
    declared: InputSpec, example: NDArray[Any], values: _Sums, picture: GivenPicture | None
) -> Document | None:
    """Of what was given by itself; None for a tensor."""
    if declared.kind is InputKind.IMAGE:
        return _image(declared, picture)
    if declared.kind is InputKind.TABULAR:
        return _table(declared, example, values)
    return _ids(example, values) if declared.kind is InputKind.TOKENS else None


def text_document(given: GivenText, attributions: _Sums) -> Document:
    """A text's tokens and words (ExplainedText). `attributions` of the ids, shape (positions,); what lies beyond the
    tokens is padding."""
    shares = attributions[: len(given.tokens)]
    words = _words(given.tokens)
    places = {key: place for place, key in enumerate(words)}
    return {
        "kind": "text",
        "texts": given.texts,
        "tokens": [
            {
                "token": token.text,
                "start": token.start,
                "end": token.end,
                "segment": token.segment,
                "word": places.get((token.segment, token.word)),
                "attribution": share,
            }
            for token, share in zip(given.tokens, shares.tolist(), strict=True)
        ],
        "words": [_word(given, [given.tokens[i] for i in own], float(shares[own].sum())) for own in words.values()],
        "special": float(
            sum(share for token, share in zip(given.tokens, shares.tolist(), strict=True) if token.word is None)
            + attributions[len(given.tokens) :].sum()
        ),
    }


def _words(tokens: Sequence[Token]) -> dict[tuple[int, int | None], list[int]]:
    """By text and number of the word, the positions of its tokens."""
    words: dict[tuple[int, int | None], list[int]] = {}
    for position, token in enumerate(tokens):
        if token.word is not None:
            words.setdefault((token.segment, token.word), []).append(position)
    return words


def _word(given: GivenText, tokens: Sequence[Token], attribution: float) -> Document:
    segment, start, end = tokens[0].segment, min(t.start for t in tokens), max(t.end for t in tokens)
    text = given.texts[segment][start:end]
    word = text.strip() or text  # some tokenizers count the space before a word as its first character
    start += text.index(word)
    return {
        "text": word,
        "start": start,
        "end": start + len(word),
        "segment": segment,
        "attribution": attribution,
    }


def molecule_document(given: GivenMolecule, parts: Mapping[Part | None, NDArray[Any]]) -> Document:
    """A molecule's atoms and bonds (ExplainedMolecule). `parts`: the attributions of its tensors, as `Part` has their
    shapes; an atom's place in the mask counts as the atom."""
    left = {part: values.astype(np.float64) for part, values in parts.items()}
    rows = [left[part] for part in (Part.ATOMS, Part.ATOM_MASK) if part in left]
    atoms = [sum(_taken(values, i) for values in rows) for i in range(len(given.atoms))]
    pairs = left.get(Part.BONDS, np.zeros((len(given.atoms), len(given.atoms), 1)))
    bonds = [_taken(pairs, (bond.begin, bond.end)) + _taken(pairs, (bond.end, bond.begin)) for bond in given.bonds]
    return {
        "kind": "molecule",
        "smiles": given.smiles,
        "atoms": [
            {"index": i, "symbol": atom.symbol, "attribution": float(share)}
            for i, (atom, share) in enumerate(zip(given.atoms, atoms, strict=True))
        ],
        "bonds": [
            {"begin": bond.begin, "end": bond.end, "type": bond.kind, "attribution": share}
            for bond, share in zip(given.bonds, bonds, strict=True)
        ],
        "rest": float(sum(values.sum() for values in left.values())),
    }


def _taken(values: _Sums, at: int | tuple[int, int]) -> float:
    """The sum of what stands there, which is then zero: so that everything is counted once."""
    share = float(values[at].sum())
    values[at] = 0.0
    return share


def _image(declared: InputSpec, picture: GivenPicture | None) -> Document:
    return {
        "kind": "image",
        "shape": declared.shape[1:],
        "picture": None
        if picture is None
        else {"width": picture.width, "height": picture.height, "box": list(picture.box)},
    }


def _table(declared: InputSpec, example: NDArray[Any], attributions: _Sums) -> Document:
    around = _around_numbers(declared)
    return {
        "kind": "table",
        "columns": _of_numbers(around, example, attributions) if around else _of_each(declared, example, attributions),
        "groups": _of_groups(declared, attributions) if declared.groups else [],
    }


def _of_groups(declared: InputSpec, attributions: _Sums) -> list[Document]:
    shares = {column.feature.name: column.added_up(attributions) for column in columns(declared)}
    return [
        {"name": name, "attribution": float(sum(shares[each] for each in names))}
        for name, names in declared.groups.items()
    ]


def _of_each(declared: InputSpec, example: NDArray[Any], attributions: _Sums) -> list[Document]:
    return [
        {
            "name": column.feature.name,
            "unit": column.feature.unit,
            "value": column.value(example),
            "attribution": column.added_up(attributions),
        }
        for column in columns(declared)
    ]


def _of_numbers(around: bytes, example: NDArray[Any], attributions: _Sums) -> orjson.Fragment:
    """The columns as JSON: names and units, written once, around this example's numbers.

    Half as dear as a list of objects, which is most of what a small table's answer costs. float32 is written as the
    shortest decimal that it is.
    """
    return orjson.Fragment(around % tuple(_side_by_side(example, attributions)))


def _side_by_side(examples: NDArray[Any], attributions: _Sums) -> list[bytes]:
    """Each number, and its attribution after it; vectors of one length."""
    numbers: list[bytes] = [b""] * (2 * len(examples))
    numbers[::2], numbers[1::2] = _written(examples), _written(attributions)
    return numbers


@once
def _around_numbers(declared: InputSpec) -> bytes | None:
    """None: some columns are no numbers, or there are none."""
    if not declared.features or any(each.categories for each in declared.features):
        return None
    heads = (orjson.dumps({"name": each.name, "unit": each.unit})[:-1] for each in declared.features)
    return b"[%b]" % b",".join(head.replace(b"%", b"%%") + b',"value":%b,"attribution":%b}' for head in heads)


def _written(vector: NDArray[Any]) -> list[bytes]:
    return orjson.dumps(np.ascontiguousarray(vector), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def _ids(example: NDArray[Any], attributions: _Sums) -> Document:
    pairs = zip(example.tolist(), attributions.tolist(), strict=True)
    return {"kind": "tokens", "tokens": [{"id": token, "attribution": share} for token, share in pairs]}
