"""Draws the hundred inputs of each net and writes inputs.json. Run once, before any quadrature was tuned.

Rows are drawn from those kept from training, by a seed and by nothing else: an input whose score hardly differs
from its baseline's stays in, and the benchmark reports such inputs apart. Run again, it writes the same bytes:
`python -m benchmarks.quadrature_nets.choose_inputs`.
"""

import json
from pathlib import Path

import numpy as np

from .data import CLASSIFIERS, classifier_split
from .molecules import molecule_split
from .sentences import draw_pairs

INPUTS = Path(__file__).parent / "inputs.json"
CASES = 100
SEED = 20


def choose() -> dict[str, list[int] | list[tuple[str, str]]]:
    """Row numbers by net (line numbers of RDKit's file for `graph`), and MiniLM's sentence pairs."""
    generator = np.random.default_rng(SEED)
    held_out = {name: classifier_split(name).held_out for name in CLASSIFIERS} | {"graph": molecule_split().held_out}
    rows = {name: generator.choice(kept, CASES, replace=False).tolist() for name, kept in held_out.items()}
    return rows | {"minilm": draw_pairs(CASES, SEED)}


if __name__ == "__main__":
    chosen = choose()
    lines = ",\n".join(f'"{name}": {json.dumps(inputs)}' for name, inputs in chosen.items())
    INPUTS.write_text("{\n" + lines.replace('"], ["', '"],\n  ["') + "\n}\n", encoding="utf-8")
