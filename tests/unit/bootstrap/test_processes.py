import os
import subprocess
import sys
from pathlib import Path

import pytest
from attributor.bootstrap import processes
from attributor.bootstrap.processes import (
    all_gpus,
    api_children,
    environment,
    thread_environment,
    usable_cores,
    worker_children,
)
from attributor.errors import InvalidRequest
from attributor.settings import Settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in list(os.environ):
        if name.startswith("ATTRIBUTOR_"):
            monkeypatch.delenv(name)


def devices(asked: str | None, **worker) -> list[tuple[str, str]]:
    children = worker_children(Settings(worker=worker), asked)
    assert all(child.arguments == ["worker", "--one"] for child in children)
    return [(child.name, child.environment["ATTRIBUTOR_WORKER__DEVICE"]) for child in children]


def test_every_gpu_named_gets_a_process():
    assert devices("cuda:0, cuda:1") == [("worker 1", "cuda:0"), ("worker 2", "cuda:1")]
    assert devices("cuda:1") == [("worker", "cuda:1")]
    assert devices(None, device="cuda:1", processes=4) == [("worker", "cuda:1")]


def test_the_processor_gets_one_per_core_or_as_many_as_asked(monkeypatch):
    assert len(devices("cpu")) == min(usable_cores(), 8)
    assert devices("cpu", processes=2) == [("worker 1", "cpu"), ("worker 2", "cpu")]
    assert devices(None, processes=1) == [("worker", "cpu")]
    monkeypatch.setattr(processes, "usable_cores", lambda: 64)
    assert len(devices(None)) == 8


def test_all_are_the_gpus_and_else_the_processor(monkeypatch):
    monkeypatch.setattr(processes, "all_gpus", lambda: ["cuda:0", "cuda:1", "cuda:2"])
    assert [device for _, device in devices("all")] == ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setattr(processes, "all_gpus", list)
    assert devices("all", processes=1) == [("worker", "cpu")]


@pytest.mark.parametrize("asked", ["", "gpu", "cuda:", "cpu,all", "cuda:0,,cuda:1", "cuda:0;rm"])
def test_what_is_no_device_is_refused(asked):
    with pytest.raises(InvalidRequest, match="no device"):
        worker_children(Settings(), asked)


def test_torch_counts_the_gpus():
    torch = pytest.importorskip("torch")
    assert all_gpus() == [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def test_the_processes_that_supervise_never_load_torch():
    code = "import sys, attributor.bootstrap.workers, attributor.bootstrap.processes; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_workers_are_single_threaded_and_those_that_wait_sleep():
    (child,) = worker_children(Settings(worker={"processes": 1}), "cpu")
    assert child.environment["OMP_NUM_THREADS"] == "1"
    assert child.environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert int(child.environment["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) < 1024
    assert thread_environment(3)["MKL_NUM_THREADS"] == "3"


def test_torch_heeds_the_threads_of_the_environment():
    code = "import torch; print(torch.get_num_threads())"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **thread_environment(1)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "1\n"


def test_the_children_get_what_the_command_line_gave(monkeypatch):
    settings = Settings(
        models_dir=Path("/some where/models"),
        api={"port": 9001, "max_wait_s": 2.5},
        store={"redis_url": "redis://host:1/2", "data_dir": Path("data")},
        worker={"threads": 3, "processes": 2},
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_what_is_unset_stays_unset():
    assert not any("REDIS_URL" in name or "MAX_POINTS" in name for name in environment(Settings()))


@pytest.mark.parametrize(("cores", "asked", "names"), [
    (1, None, ["api"]),
    (2, None, ["api 1", "api 2"]),
    (64, None, ["api 1", "api 2"]),
    (64, 1, ["api"]),
    (1, 3, ["api 1", "api 2", "api 3"]),
])  # fmt: skip
def test_api_processes_share_a_port_where_there_are_several(cores, asked, names, monkeypatch):
    monkeypatch.setattr(processes, "usable_cores", lambda: cores)
    monkeypatch.setattr(sys, "platform", "linux")
    children = api_children(Settings(api={"processes": asked, "shutdown_grace_s": 2.0}))
    assert [child.name for child in children] == names
    assert {tuple(child.arguments) for child in children} == {("api", *["--shared-port"] * (len(names) > 1))}
    assert {child.grace_s for child in children} == {3.0}


def test_elsewhere_than_on_linux_one_api_process_has_the_port(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert len(api_children(Settings())) == 1
