"""One real service for all tests that do no harm to it, and a factory of private ones for those that do."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from bundles import write_bundle
from e2e.live import ROOT, Service, gone, start, strange_tracebacks

#: Fifty milliseconds a pass, and waves on the path that take the adaptive rule many passes.
SLOW = """
import time
import torch
from torch import nn

class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.05)
        waves = torch.sin(12 * x).sum(dim=1, keepdim=True)
        return torch.cat([waves + 3 * x[:, :1], -waves], dim=1)

def build():
    return Slow()
"""
RAISES = """
import torch
from torch import nn

class Raises(nn.Module):
    def forward(self, x):
        if (x[:, 0] > 100).any():
            raise RuntimeError("more than a hundred")
        return torch.cat([x.sum(dim=1, keepdim=True), x[:, :1]], dim=1)

def build():
    return Raises()
"""
NAN = """
import torch
from torch import nn

class NotANumber(nn.Module):
    def forward(self, x):
        return torch.cat([torch.log(x[:, :1] + 2), x[:, 1:]], dim=1)

def build():
    return NotANumber()
"""
UNSAFE = """
import torch
from torch import nn

class SeesItsNeighbours(nn.Module):
    def forward(self, x):
        return x - x.mean(dim=0)

def build():
    return SeesItsNeighbours()
"""

#: One worker, small passes, quick beats and looks, so that little models show what large ones do; little time to say
#: goodbye. Answers are not kept for repeats: tests ask the same again and want it computed.
SETTINGS = {
    # One, so that what a test has just seen of a model is what it sees next; test_shared_port.py has several.
    "ATTRIBUTOR_API__PROCESSES": "1",
    "ATTRIBUTOR_WORKER__PROCESSES": "1",
    "ATTRIBUTOR_WORKER__MAX_POINTS": "8",
    "ATTRIBUTOR_WORKER__BEAT_S": "0.1",
    "ATTRIBUTOR_WORKER__DRAIN_S": "2",
    "ATTRIBUTOR_STORE__LEASE_S": "1.5",
    "ATTRIBUTOR_STORE__CACHE_BYTES": "0",
    "ATTRIBUTOR_MODELS_RESCAN_S": "0.2",
}


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles that load in no time."""
    folder = tmp_path_factory.mktemp("small-models")
    for name, code in {"slow": SLOW, "raises": RAISES, "nan": NAN, "unsafe": UNSAFE}.items():
        write_bundle(folder, name, code=code)
    return folder


@pytest.fixture(scope="session")
def all_models(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles of the repository beside them."""
    folder = tmp_path_factory.mktemp("models") / "all"
    shutil.copytree(small_models, folder)
    for name in ("breast-cancer", "digits"):
        shutil.copytree(ROOT / "models" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def service(all_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that all harmless tests share. Its end is a test too: nothing stays, and nothing broke unseen."""
    shared = start(all_models, tmp_path_factory.mktemp("shared"), SETTINGS)
    try:
        shared.await_ready()
        pids = [shared.process.pid, *shared.children().values()]
        assert len(pids) == 4
        yield shared
    finally:
        status = shared.stop()
    assert status == 0
    assert gone(pids)
    assert not strange_tracebacks(shared.log()), strange_tracebacks(shared.log())[0]


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=40) as client:
        yield client


Launch = Callable[..., Service]


@pytest.fixture
def launch(small_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Starts services of a test's own, with settings of its own; whatever is left of them is stopped."""
    started: list[Service] = []

    def launch(folder: Path | None = None, models: Path = small_models, **settings: str) -> Service:
        service = start(models, folder or tmp_path_factory.mktemp("private"), {**SETTINGS, **settings})
        started.append(service)
        service.await_ready()
        return service

    yield launch
    for service in started:
        service.stop()
