import os
import sys
from pathlib import Path

import pytest
from attributor.registry.proof.trial import TrialLimits, try_out
from bundles import tabular, write_file_model
from format_bundles import graph_bundle
from hostile_files import FEATURES, HOSTILE, LABELS, linear

LIMITS = TrialLimits(timeout_s=60.0)


def bundle_of(root: Path, graph: bytes) -> Path:
    """Three named numbers in, two logits out."""
    return write_file_model(
        root,
        "tried",
        made_of={"framework": "onnx", "file": "model.onnx"},
        files={"model.onnx": graph},
        inputs=[{**tabular(["a", "b", "c"][:FEATURES]), "tensor": "x"}],
        output={"name": "logits", "labels": ["no", "yes"][:LABELS]},
        baselines={"zero": {"features": 0.0}},
    )


def test_a_trial_proves_a_graph_against_onnxruntime_and_finite_differences(tmp_path: Path) -> None:
    trial = try_out(graph_bundle(tmp_path), LIMITS)
    assert trial.problem is None
    assert list(trial.checks) == ["imported", "onnxruntime", "finite_differences"]
    assert trial.checks["onnxruntime"].startswith("passed: at most ")
    assert trial.checks["finite_differences"].startswith("passed: within ")


# The others run in one process, in tests/unit/onnx_importer/test_hostile_files.py.
@pytest.mark.parametrize("name", ["huge expand", "huge product", "lstm with a wrong state"])
def test_a_hostile_file_ends_in_a_refusal(tmp_path: Path, name: str) -> None:
    make, word = HOSTILE[name]
    trial = try_out(bundle_of(tmp_path, make()), LIMITS)
    assert trial.problem is not None
    assert word in trial.problem


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    trial = try_out(bundle_of(tmp_path, linear()), TrialLimits(timeout_s=0.3))
    assert trial.problem == "The file took longer than 0.3 s to load and prove (worker.trial_timeout_s)."


def test_a_file_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    trial = try_out(bundle_of(tmp_path, linear()), TrialLimits(timeout_s=60.0, memory_bytes=600 * 2**20))
    assert trial.problem is not None
    assert "worker.trial_memory_bytes" in trial.problem


def test_a_process_that_is_killed_by_its_file_is_a_refusal_and_no_more(tmp_path: Path) -> None:
    crash = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    trial = try_out(bundle_of(tmp_path, linear()), LIMITS, crash)
    assert trial.problem == (
        "The file killed the process that tried it (SIGSEGV); it may use 16 GiB (worker.trial_memory_bytes)."
    )
    assert os.getpid() > 0
