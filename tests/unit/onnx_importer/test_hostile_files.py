import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_files import HOSTILE

#: All in one process, as its start takes longer than they do; it may use 16 GiB of addresses, and a minute.
RUN_ALL = """
import json, random, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))
import torch
torch.set_num_threads(1)
from attributor.onnx_importer.module import import_model
from attributor.onnx_importer.offenders import Refused
from hostile_files import FEATURES, HOSTILE, linear

found = {}
for name, (make, _) in HOSTILE.items():
    try:
        module = import_model(make())
        module.settle([torch.rand(2, FEATURES)])
        module(torch.ones(2, FEATURES))
        found[name] = "ran"
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"

random.seed(0)
whole = linear()
for number in range(400):
    data = bytearray(whole)
    for _ in range(random.randint(1, 4)):
        data[random.randrange(len(data))] = random.randrange(256)
    if number % 4 == 0:
        del data[random.randrange(len(data)):]
    try:
        import_model(bytes(data))
    except Refused:
        found["fuzzed"] = found.get("fuzzed", 0) + 1
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def findings() -> dict[str, object]:
    tests = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", RUN_ALL], capture_output=True, timeout=120, cwd=tests, env={"PYTHONPATH": str(tests)}
    )
    assert child.returncode == 0, child.stderr.decode()[-2000:]
    found: dict[str, object] = json.loads(child.stdout)
    return found


#: Harmless after all: torch computes both branches' names only once.
RUNS = {"deep nesting"}


@pytest.mark.parametrize("name", sorted(HOSTILE.keys() - RUNS))
def test_a_hostile_file_is_refused_with_the_word_that_tells_why(findings: dict[str, object], name: str) -> None:
    found = str(findings[name])
    assert found != "ran"
    assert HOSTILE[name][1] in found


def test_nothing_but_a_refusal_comes_of_fuzzed_bytes(findings: dict[str, object]) -> None:
    refused = findings["fuzzed"]
    assert isinstance(refused, int)
    assert refused > 100
