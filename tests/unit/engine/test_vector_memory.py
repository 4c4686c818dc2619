"""What a job's vectors may take, in the real engine on a real net of torch; measured in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import vector_memory
from vector_memory import BOUND_BYTES, N_NODES, TOLERANCE

#: What is freed is given back at once, so that a process is as large as what it holds.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
#: Beside the vectors: a pass, and a few vectors in float64.
BESIDE = 1.2


def test_500_nodes_of_a_large_picture_take_less_than_the_bound_of_a_job():
    program = Path(vector_memory.__file__)
    environment = {**os.environ, **ALLOCATOR, "PYTHONPATH": os.pathsep.join([str(program.parent), *sys.path])}
    child = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    assert found["kept_bytes"] <= BOUND_BYTES
    assert found["grown_bytes"] < BESIDE * BOUND_BYTES
    assert found["kept_without_bound_bytes"] > 1.5 * BOUND_BYTES
    assert min(found["evaluations"].values()) >= N_NODES
    # The nodes are the same: so is the answer.
    assert found["off"]["fixed"] < 1e-5
    # They are others, and as many; the error allowed is one of the score, that of single pixels some times as large.
    assert found["converged"]["adaptive"]
    assert found["error"]["adaptive"] < TOLERANCE
    assert found["off"]["adaptive"] < 10 * TOLERANCE
