"""What the comparators' process writes, with libraries that talk while they are loaded."""

import os
import subprocess
import sys
from pathlib import Path

import attributor
import numpy as np
from attributor.comparators.request import Request
from attributor.jobs.codec import decode
from attributor.jobs.explanation import Explanation, Method
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.result import AttributionResult
from attributor.registry.catalog import open_bundle
from bundles import write_bundle

#: Printed by Python and by compiled code, when Captum is loaded.
TALKING = """
import os, sys

class Talks:
    def find_spec(self, name, path=None, target=None):
        if name == "captum":
            print("welcome to captum", flush=True)
            os.write(1, b"from below")

sys.meta_path.insert(0, Talks())
"""


def test_what_libraries_print_while_they_are_loaded_is_no_part_of_the_answer(tmp_path):
    folder = write_bundle(tmp_path / "models", "square")
    (tmp_path / "talking").mkdir()
    (tmp_path / "talking" / "sitecustomize.py").write_text(TALKING)
    info = open_bundle(folder).info
    inputs = ({"features": np.array([3.0, 4.0], np.float32)},)
    explanation = Explanation(method=Method.OCCLUSION)
    spec = JobSpec(JobKind.ATTRIBUTION, info.name, "1", info.digest, info.inputs, inputs, "", explanation)
    paths = (tmp_path / "talking", Path(attributor.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "attributor.comparators.child"],
        input=Request(folder, spec, "cpu", 1).pack(),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        timeout=60,
    )
    assert b"welcome to captum" in done.stderr
    assert b"from below" in done.stderr
    assert isinstance(decode(done.stdout, object), AttributionResult)
