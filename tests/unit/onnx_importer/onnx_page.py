"""Makes docs/onnx.md, from the operators and the refused cases: `python tests/unit/onnx_importer/onnx_page.py`."""

import sys
import textwrap
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "onnx.md"
REFUSED = Path(__file__).with_name("refused_node_cases.txt")
#: ONNX's numbers of the types that count as floats, and of what may stand beside them.
FLOATS, WITH_FLOATS = {1, 10, 11, 16}, {6, 7, 9}

HEAD = """\
# ONNX files

A file becomes a torch module by an importer of our own (`service/attributor/onnx_importer`), and is differentiated as
any other. It is data, not code, so it is the one format fit for files that you do not trust: before a worker loads a
file, a process that may die tries it, within bounds on memory and time (`worker.trial_memory_bytes`,
`worker.trial_timeout_s`).

In that process it is **held against onnxruntime** on random inputs and on the golden example at batches of 1, 2 and 5
(within 1e-4 of the largest output; the refusal names the first node that differs), and its gradient in float64
**against finite differences** in five random directions. `GET /v1/models/{name}` and `attributor models check` say
what was found.

What is not known is refused, never guessed: a file with an operator, a version of an operator's schema, an attribute
or a data type that is not proven is turned away with the list of all such nodes.

- **Opsets** 7 to 28 of `ai.onnx`, 1 to 5 of `ai.onnx.ml`; in practice as new as onnxruntime knows (26 in 1.31), as
  there is no reference beyond it. Functions in the file, and operators that are defined by others, are inlined.
- **Types**: float32, float64, float16, bfloat16, int64, int32, int16, int8, uint8, bool.
- **Batch**: a free batch axis is used as it is. A file that was exported for a batch of one, in its inputs or inside,
  is mapped over the rows (`torch.func.vmap`; row by row where that has no rule, as for an LSTM).
- **Layers**: the modules that torch's exporters wrote down (`encoder.layer.0`), and every tensor by its name, and so
  is the output: `tensor` in `[output]` may name any tensor, such as the logits before a softmax.
- **Weights in other files** of the bundle are read if they are listed in its manifest; never any other file.
- **Sizes follow from shapes**: a graph that takes a size, a branch or the turns of a loop from the values of its inputs
  is refused, as one request could then cost a million times as much as another. Lengths of an RNN's rows are fine.
- **Bounds**: 2 GiB for the file itself, 2^27 elements of a tensor for each row of a batch, 100,000 turns of all loops
  of a pass together, 1,000 characters of a name.
- **Not differentiable** operators have no path for gradients, and the proof says so if nothing reaches an input. Tree
  ensembles and the like: `gradients = false` in the manifest, and methods that perturb
  ([models](../models/README.md)).
"""


def refused() -> dict[str, str]:
    """By the name of a node case, words of its refusal."""
    lines = (line for line in REFUSED.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {name: words for name, _, words in (line.partition("\t") for line in lines)}


def page() -> str:
    """The whole page."""
    from attributor.onnx_importer import all_operators  # noqa: F401 - declares them
    from attributor.onnx_importer.node import OPERATORS

    parts = [HEAD, "## Operators\n"]
    for domain, title in (("", "ai.onnx"), ("ai.onnx.ml", "ai.onnx.ml")):
        names = sorted(op_type for each, op_type in OPERATORS if each == domain)
        parts.append(textwrap.fill(f"**{title}** ({len(names)}): {', '.join(names)}.", 120) + "\n")
    parts.append(
        "Some of these refuse what they cannot do exactly: quantisation to whole numbers (its derivative is zero "
        "everywhere), training modes, some modes of Resize. The refusal says which.\n"
    )
    parts.append("## Conformance\n")
    parts.append(_shares())
    return "\n".join(textwrap.fill(p, 120, break_on_hyphens=False) + "\n" if p.startswith("Some") else p for p in parts)


def _shares() -> str:
    from onnx_cases import node_cases

    counts: Counter[tuple[str, bool]] = Counter()
    for name, case in node_cases().items():
        kinds = {v.type.tensor_type.elem_type for v in (*case.model.graph.input, *case.model.graph.output)}
        passed = name not in refused()
        counts[("all", passed)] += 1
        counts[("floats", passed)] += kinds <= FLOATS | WITH_FLOATS and bool(kinds & FLOATS)
    shown = {}
    for kind in ("all", "floats"):
        n, total = counts[(kind, True)], counts[(kind, True)] + counts[(kind, False)]
        shown[kind] = f"{n:,} of {total:,} ({int(1000 * n / total) / 10} %)"
    text = (
        f"Of the node cases of the onnx package, {shown['all']} pass; of those whose inputs and outputs are floats, "
        f"with or without int32, int64 and bool beside them, {shown['floats']}. The others are refused, each with its "
        "reason "
        "(`tests/unit/onnx_importer/refused_node_cases.txt`); none gives another value than it should. float16 and "
        "bfloat16 are compared to some units in the last place."
    )
    return textwrap.fill(text, 120, break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    PAGE.write_text(page(), encoding="utf-8")
