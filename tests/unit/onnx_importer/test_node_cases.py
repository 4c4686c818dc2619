"""Every node case that the onnx package generates passes, or is refused for the reason in `refused_node_cases.txt`."""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto
from onnx_cases import node_cases, outcome

LIST = Path(__file__).with_name("refused_node_cases.txt")


@cache
def refused() -> dict[str, str]:
    """By name, words that the refusal holds."""
    lines = (line.partition("\t") for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {name: words for name, _, words in lines}


@pytest.mark.parametrize("name", node_cases())
def test_a_node_case_passes_or_is_refused_as_listed(name: str) -> None:
    found = outcome(node_cases()[name])
    if name not in refused():
        assert found == "passed"
    else:
        assert found.startswith("refused: ")
        assert refused()[name] in found


def test_the_list_names_cases_that_there_are() -> None:
    assert refused().keys() <= node_cases().keys()


def of_floats(model: ModelProto) -> bool:
    kinds = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    return bool(kinds) and kinds <= {1, 6, 7, 9, 10, 11, 16} and bool(kinds & {1, 10, 11, 16})


def test_the_share_that_passes_is_what_the_documentation_says() -> None:
    """docs/onnx.md gives both shares."""
    counts: Counter[tuple[str, bool]] = Counter()
    for name, case in node_cases().items():
        counts[("all", name not in refused())] += 1
        if of_floats(case.model):
            counts[("floats", name not in refused())] += 1
    text = (Path(__file__).parents[3] / "docs" / "onnx.md").read_text(encoding="utf-8")
    for kind in ("all", "floats"):
        passed, total = counts[(kind, True)], counts[(kind, True)] + counts[(kind, False)]
        assert f"{passed:,} of {total:,} ({np.floor(1000 * passed / total) / 10} %)" in text
