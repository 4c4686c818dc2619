"""A bundle drafted from a folder that `transformers` or sentence-transformers saved.

Knows the manifest's tables. What the folder says is found by `formats.huggingface_facts`; no weights are loaded.
"""

from collections.abc import Mapping
from pathlib import Path

from attributor.errors import BundleError
from attributor.jobs.model import NO_TOKEN
from attributor.registry.formats.huggingface_config import IDS, SEGMENTS, SEQUENCE_CLASSIFICATION
from attributor.registry.formats.huggingface_facts import TOKENIZER, HuggingFaceFacts, describe_huggingface
from attributor.registry.scaffold.drafts import Draft, Wishes
from attributor.registry.scaffold.manifest_text import Table

#: The name by which a request gives the text.
_SOURCE = "text"
_KINDS = {
    "sentence-embedding": "values",
    "sequence-classification": "classes",
    "token-classification": "sequence",
    "causal-lm": "sequence",
}


def draft_huggingface(folder: Path, wishes: Wishes, task: str | None = None) -> Draft:
    """A draft of a bundle of this folder. `task`: what for; None: what its weights were saved for.

    Texts keep their own length, so that nothing is filled up and no mask is needed. Raises BundleError for a folder
    that could not be served, or that does not say how long a text may be.
    """
    facts = describe_huggingface(folder, task)
    positions = _positions(facts, wishes)
    has_tokenizer = TOKENIZER in facts.files
    baselines, values = {}, {SEGMENTS: 0} if _has_segments(facts) else {}
    if facts.pad_id is not None:
        baselines["padding"] = (
            "The padding token everywhere, in place of special tokens too.",
            {IDS: facts.pad_id, **values},
        )
    baselines["nothing"] = ("No token anywhere: in place of each, an embedding of zero.", {IDS: NO_TOKEN, **values})
    return Draft(
        head=_head(facts),
        sources={_SOURCE: {"kind": "text", "tokenizer": TOKENIZER}} if has_tokenizer else {},
        inputs=_inputs(facts, positions, from_text=has_tokenizer),
        output=_output(facts, positions, wishes),
        baselines=baselines,
        files={name: folder / name for name in facts.files},
        remarks=[] if has_tokenizer else [_WITHOUT_TOKENIZER],
    )


_WITHOUT_TOKENIZER = (
    f"there is no {TOKENIZER}, so requests must give ids; "
    "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes one"
)


def _positions(facts: HuggingFaceFacts, wishes: Wishes) -> int:
    if unknown := [name for name in wishes.shapes if name != IDS]:
        raise BundleError(f"--shape is for {IDS} here, not for {unknown[0]}: the other inputs are as long.")
    given = wishes.shapes.get(IDS)
    if given is None and facts.most_positions is None:
        raise BundleError(f"The folder does not say how many tokens a text may have: add --shape {IDS}=N.")
    if given is not None and (len(given) != 1 or given[0] > (facts.most_positions or given[0])):
        raise BundleError(f"--shape {IDS}=N takes one number, the most tokens: at most {facts.most_positions} here.")
    return given[0] if given is not None else int(facts.most_positions or 0)


def _head(facts: HuggingFaceFacts) -> Table:
    head: dict[str, object] = {"framework": "huggingface", "task": facts.task}
    if facts.pooling is not None:
        head["pooling"] = facts.pooling
    if facts.unit_length:
        head["unit_length"] = True
    return head


def _has_segments(facts: HuggingFaceFacts) -> bool:
    """Only a classifier is asked about pairs of texts, which segments tell apart."""
    return facts.task == SEQUENCE_CLASSIFICATION and SEGMENTS in facts.inputs


def _inputs(facts: HuggingFaceFacts, positions: int, *, from_text: bool) -> list[Table]:
    common: dict[str, object] = {"kind": "tokens", "shape": [positions], "variable": True}
    ids: dict[str, object] = {"name": IDS, **common, "vocabulary": facts.vocabulary, "embedding": facts.embedding}
    special: Mapping[str, int | None] = {"pad_id": facts.pad_id, "mask_id": facts.mask_id}
    ids |= {name: number for name, number in special.items() if number is not None}
    tables = [(ids, "ids")]
    if _has_segments(facts):
        tables.append(({"name": SEGMENTS, **common, "attributed": False, "vocabulary": 2}, "segments"))
    return [table | ({"source": _SOURCE, "part": part} if from_text else {}) for table, part in tables]


def _output(facts: HuggingFaceFacts, positions: int, wishes: Wishes) -> Table:
    kind = "values" if facts.regression else _KINDS[facts.task]
    labels = wishes.labels or facts.labels
    if wishes.labels and len(labels) != facts.n_outputs:
        raise BundleError(f"There are {len(labels)} labels; the model returns {facts.n_outputs} numbers.")
    table: dict[str, object] = {"name": "embedding" if facts.task == "sentence-embedding" else "logits", "kind": kind}
    if kind == "sequence":
        table["positions"] = positions
    return {**table, **({"labels": list(labels)} if labels else {"classes": facts.n_outputs})}
