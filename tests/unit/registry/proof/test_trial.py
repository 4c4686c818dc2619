import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from attributor.registry.catalog import Bundle, open_bundle
from attributor.registry.proof.trial import TrialLimits, try_out
from bundles import tabular, write_file_model
from format_bundles import graph_bundle
from hostile_files import FEATURES, HOSTILE, LABELS, WEIGHT, linear, model
from onnx import TensorProto, helper

LIMITS = TrialLimits(timeout_s=60.0)


def bundle_of(root: Path, graph: bytes, *, gradients: bool = True) -> Bundle:
    """Three named numbers in, two logits out."""
    folder = write_file_model(
        root,
        "tried",
        made_of={"framework": "onnx", "file": "model.onnx", "gradients": gradients},
        files={"model.onnx": graph},
        inputs=[{**tabular(["a", "b", "c"][:FEATURES]), "tensor": "x"}],
        output={"name": "logits", "labels": ["no", "yes"][:LABELS]},
        baselines={"zero": {"features": 0.0}},
    )
    return open_bundle(folder)


def test_a_trial_proves_a_graph_against_onnxruntime_and_finite_differences(tmp_path: Path) -> None:
    trial = try_out(open_bundle(graph_bundle(tmp_path)), LIMITS)
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


def test_a_trial_of_files_that_were_exchanged_in_the_meantime_is_no_verdict_on_those_before(tmp_path: Path) -> None:
    bad = bundle_of(tmp_path / "asked", model([helper.make_node("Foo", ["x"], ["y"])]))
    good = bundle_of(tmp_path / "other", linear(more=WEIGHT))
    assert try_out(good, LIMITS).problem is None
    shutil.rmtree(bad.folder)
    shutil.copytree(good.folder, bad.folder)
    trial = try_out(bad, LIMITS)
    assert trial.problem == "The bundle changed while it was being loaded, so it was not tried; load it again."
    assert trial.checks == {}


def test_a_refusal_is_no_longer_than_some_pages(tmp_path: Path) -> None:
    nodes = [helper.make_node("Foo", ["x"], ["q"], name="N" * 100_000), helper.make_node("MatMul", ["x", "w"], ["y"])]
    trial = try_out(bundle_of(tmp_path, model(nodes, {"w": np.ones((FEATURES, LABELS), np.float32)})), LIMITS)
    assert trial.problem is not None
    assert len(trial.problem) <= 4003


def test_a_graph_without_gradients_is_run_with_every_number_of_rows_that_it_will_meet(tmp_path: Path) -> None:
    """This one asks for 2^40 elements as soon as it sees ten rows."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["rows"]),
        helper.make_node("Less", ["rows", "ten"], ["few"]),
        helper.make_node("Where", ["few", "one", "huge"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Add", ["z", "zero"], ["y"]),
    ]
    numbers = {"first": np.array([0]), "ten": np.array([10]), "one": np.array([1]), "huge": np.array([2**40])}
    trial = try_out(bundle_of(tmp_path, model(nodes, {"w": WEIGHT, **numbers}), gradients=False), LIMITS)
    assert trial.problem is not None
    assert "zeros" in trial.problem or "memory" in trial.problem or "alloc" in trial.problem


def child(words: str) -> tuple[str, ...]:
    """Stands in for the process of a trial."""
    return (sys.executable, "-c", words)


def test_of_what_a_process_says_before_it_fails_only_the_end_is_read(tmp_path: Path) -> None:
    loud = child("import sys; sys.stderr.write('x' * 10**6 + '\\nthe last line\\n'); sys.exit(3)")
    trial = try_out(bundle_of(tmp_path, linear()), LIMITS, loud)
    assert trial.problem is not None
    assert trial.problem.startswith("The process that tried the file ended with status 3 (the last line);")


def test_a_process_that_talks_without_end_fills_no_disk_and_still_answers(tmp_path: Path) -> None:
    talk = (
        "import os, sys; from attributor.registry.proof import trial_child as t; t._bind(2**36, 60.0)\n"
        "said = 0\n"
        "try:\n"
        "    while True: said += os.write(2, b'x' * 65536)\n"
        'except OSError: print(\'{"checks": {}, "problem": "said %d"}\' % said)'
    )
    trial = try_out(bundle_of(tmp_path, linear()), LIMITS, child(talk))
    assert trial.problem == f"said {2**20}"


def test_a_trial_runs_where_there_is_no_file(tmp_path: Path) -> None:
    look = "import json, os; print(json.dumps({'checks': {}, 'problem': str(os.listdir('.'))}))"
    assert try_out(bundle_of(tmp_path, linear()), LIMITS, child(look)).problem == "[]"


def test_a_tokenizer_that_is_none_ends_the_trial(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["x", "numbers"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1]),
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", 2]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 3])],
    )
    ids = {"name": "ids", "kind": "tokens", "shape": [2], "vocabulary": 9, "attributed": False, "pad_id": 0}
    folder = write_file_model(
        tmp_path,
        "reader",
        made_of={"framework": "onnx", "file": "model.onnx"},
        files={
            "model.onnx": helper.make_model(
                graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10
            ).SerializeToString(),
            "tokenizer.json": b"{}",
        },
        inputs=[tabular(["a"], "x"), {**ids, "source": "text", "part": "ids"}],
        output={"name": "logits", "labels": ["a", "b", "c"]},
        baselines={"zero": {"x": 0.0, "ids": 0}},
        sources={"text": {"kind": "text", "tokenizer": "tokenizer.json"}},
    )
    trial = try_out(open_bundle(folder), LIMITS)
    assert trial.problem is not None
    assert "tokenizer's file is not one of the library" in trial.problem
