"""Every node case that the onnx package generates passes, or is refused for the reason in `refused_node_cases.txt`."""

import pytest
from onnx_cases import node_cases, outcome
from unit.onnx_importer import onnx_page

REFUSED = onnx_page.refused()


@pytest.mark.parametrize("name", node_cases())
def test_a_node_case_passes_or_is_refused_as_listed(name: str) -> None:
    found = outcome(node_cases()[name])
    if name not in REFUSED:
        assert found == "passed"
    else:
        assert found.startswith("refused: ")
        assert REFUSED[name] in found


def test_the_list_names_cases_that_there_are() -> None:
    assert REFUSED.keys() <= node_cases().keys()


def test_the_page_is_made_from_the_operators_and_the_list() -> None:
    assert onnx_page.PAGE.read_text(encoding="utf-8") == onnx_page.page(), "run onnx_page.py"
