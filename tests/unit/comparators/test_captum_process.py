"""Comparators' processes: the real one on a real bundle, and small programs in its place for what can go wrong."""

import asyncio
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import uvloop
from attributor.comparators.captum_process import CaptumProcess, ComparatorPolicy
from attributor.jobs.explanation import Explanation, Method, Target, Term, fixed_baseline
from attributor.jobs.job import Failure, JobKind, JobSpec
from attributor.jobs.model import OutputScale
from attributor.jobs.result import AttributionResult
from attributor.registry.catalog import FolderCatalog
from attributor.registry.registry import Registry
from bundles import write_bundle
from doubles import RecordingModel, job_spec, one_model
from problems import named

POLICY = ComparatorPolicy(timeout_s=60, most_at_once=1, device="cpu", threads=1)
PROBLEM = named("product")
SPEC = job_spec(PROBLEM, explanation=Explanation(method=Method.LIME))
#: Prints what must not end up in the answer; as `build` runs in the child, so does this.
CHATTY = """
import os
import torch
from torch import nn

class Chatty(nn.Module):
    def __init__(self):
        super().__init__()
        print("hello from a bundle")
        os.system("echo hello from a shell")
        self.linear = nn.Linear(2, 2)
        self.linear.weight.data = torch.tensor([[2.0, -1.0], [0.0, 0.0]])
        self.linear.bias.data = torch.tensor([0.5, 0.0])

    def forward(self, x):
        return self.linear(x)

def build():
    return Chatty()
"""


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def process(text: str, **policy) -> CaptumProcess:
    changed = {name: policy.get(name, getattr(POLICY, name)) for name in ComparatorPolicy.__slots__}
    return CaptumProcess(
        one_model(RecordingModel(PROBLEM)), lambda ref: Path("/nowhere"), ComparatorPolicy(**changed), program(text)
    )


#: What the tests beside these have started and keep: their store.
OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.clear()
    OTHERS.update(child.pid for child in psutil.Process().children(recursive=True))


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.pid not in OTHERS]


async def until(true) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


@pytest.fixture
def bundle(tmp_path, capfd):
    """A loaded bundle, and the comparator of its worker."""
    write_bundle(tmp_path, "chatty", code=CHATTY)
    catalog, registry = FolderCatalog(tmp_path), Registry()
    registry.load_all(catalog)
    info = catalog.get("chatty@1")
    registry.get(info.ref, info.digest)
    return CaptumProcess(registry, lambda ref: catalog.bundle(ref).folder, POLICY), info


def job(info, method: Method) -> JobSpec:
    explanation = Explanation(
        method=method,
        baselines=(fixed_baseline("zero", {"features": np.zeros(2, np.float32)}),),
        targets=(Target((Term(0),), scale=OutputScale.LOGIT),),
    )
    inputs = ({"features": np.array([3.0, 4.0], np.float32)},)
    return JobSpec(JobKind.ATTRIBUTION, "chatty", "1", info.digest, info.inputs, inputs, "", explanation)


async def test_a_job_is_computed_in_a_process_of_its_own_and_nothing_stays(bundle):
    comparator, info = bundle
    for method in (Method.DEEP_LIFT, Method.OCCLUSION):
        outcome = await comparator.explain(job(info, method))
        assert isinstance(outcome, AttributionResult), outcome
        assert np.allclose(outcome.results[0].attributions["features"], [6.0, -4.0])
        assert outcome.results[0].score == 2.5
    assert children() == []


async def test_what_a_model_raises_is_in_the_log_of_the_worker(tmp_path, caplog):
    write_bundle(tmp_path, "chatty", code=CHATTY.replace("return self.linear(x)", "raise RuntimeError('too many')"))
    catalog, provider = FolderCatalog(tmp_path), one_model(RecordingModel(PROBLEM))
    info = catalog.get("chatty@1")
    provider.infos[info.ref], provider.models[info.ref] = info, provider.models[SPEC.ref]
    outcome = await CaptumProcess(provider, lambda ref: catalog.bundle(ref).folder, POLICY).explain(
        job(info, Method.LRP)
    )
    assert outcome == Failure("model_error", "the model raised RuntimeError: too many")
    assert "a model raised" in caplog.text


async def test_a_bundle_that_changed_meanwhile_is_refused(bundle, tmp_path):
    comparator, info = bundle
    (tmp_path / "chatty" / "1" / "model.py").write_text(CHATTY + "\n")
    outcome = await comparator.explain(job(info, Method.DEEP_LIFT))
    assert isinstance(outcome, Failure)
    assert outcome.code == "bundle_error"


async def test_a_cancelled_job_ends_its_process():
    comparator = process("import time; time.sleep(60)")
    task = asyncio.create_task(comparator.explain(SPEC))
    await until(children)
    (child,) = children()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(child.pid), "not even a zombie stays"


async def test_a_job_that_takes_too_long_fails_and_its_process_ends():
    began = time.monotonic()
    outcome = await process("import time; time.sleep(60)", timeout_s=0.2).explain(SPEC)
    assert time.monotonic() - began < 10
    assert (outcome.code, children()) == ("model_error", [])
    assert "longer than the 0.2 s" in outcome.detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; sys.exit('no room on the device')", "ended with status 1: no room on the device"),
        ("raise MemoryError('too large')", "ended with status 1: MemoryError: too large"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL: it said nothing"),
    ],
)
async def test_a_crash_fails_the_job_with_the_last_words(text, said, caplog):
    outcome = await process(text).explain(SPEC)
    assert (outcome.code, outcome.detail) == ("model_error", f"the process that computed lime {said}")


async def test_an_answer_that_is_none_is_our_defect(caplog):
    outcome = await process("print('hello')").explain(SPEC)
    assert outcome.code == "internal_error"
    assert "6 bytes that are no answer" in caplog.text


async def test_no_more_run_at_once_than_the_policy_allows():
    comparator = process("import time; time.sleep(0.3)", most_at_once=2)
    tasks = [asyncio.create_task(comparator.explain(SPEC)) for _ in range(5)]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, len(children()))
        await asyncio.sleep(0.02)
    assert most == 2


async def test_one_that_waits_for_its_turn_can_be_cancelled_and_does_not_take_it():
    comparator = process("import time; time.sleep(0.3)")
    first, second, third = (asyncio.create_task(comparator.explain(SPEC)) for _ in range(3))
    await until(children)
    second.cancel()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert second.cancelled()
    assert third.result().code == "internal_error", "it had its turn, and no answer"


async def test_a_model_that_is_not_ready_is_refused_before_anything_starts():
    provider = one_model(RecordingModel(PROBLEM))
    provider.not_ready.add(SPEC.ref)
    outcome = await CaptumProcess(provider, Path, POLICY, program("pass")).explain(SPEC)
    assert outcome.code == "model_not_ready"


async def test_without_captum_it_is_said_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "captum" else found(name))
    outcome = await process("pass").explain(SPEC)
    assert outcome.code == "unsupported_by_model"
    assert "(captum)" in outcome.detail
    assert "pip install 'attributor[comparators]'" in outcome.detail


def test_the_worker_side_loads_no_captum():
    code = (
        "import sys, attributor.comparators.captum_process;"
        "print([name for name in ('captum', 'torch', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_processes_start_and_end_in_the_loop_that_workers_have():
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        crashed = runner.run(process("import sys; sys.exit('the last words')").explain(SPEC))
        late = runner.run(process("import time; time.sleep(60)", timeout_s=0.2).explain(SPEC))
    assert "the last words" in crashed.detail
    assert "longer than the 0.2 s" in late.detail
    assert children() == []
