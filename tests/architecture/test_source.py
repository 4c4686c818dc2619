"""Which part may know which, held to what is imported in truth; and files that fit in a head."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "service" / "attributor"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 330


def test_the_import_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


@pytest.mark.parametrize("module", ["attributor.bootstrap.api", "attributor.bootstrap.serve", "attributor.__main__"])
def test_the_api_and_the_supervisor_load_no_torch(module):
    """What the contracts cannot see: an import within an import, or one in an `__init__`."""
    code = f"import sys, {module}; print([m for m in ('torch', 'safetensors', 'onnxruntime') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_there_are_modules():
    assert len(MODULES) > 50


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_short_and_says_what_it_knows(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no docstring"
    assert len(text.splitlines()) < MOST_LINES
    if path.name == "__init__.py" and path.parent != PACKAGE:
        assert len(tree.body) == 1, "an __init__ holds its docstring only: whoever imports a part would run it"


def test_the_top_package_holds_its_version_and_nothing_else():
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert [type(node) for node in body[1:]] == [ast.Assign]
