"""Which processes a machine runs, workers on which devices, and the environment that each of them gets.

Never imports torch: the processes that supervise others stay small.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping

from attributor.bootstrap.supervisor import Child
from attributor.errors import InvalidRequest
from attributor.settings import Settings

#: What `--devices` takes for every GPU that there is, and for the processor.
ALL, CPU = "all", "cpu"

#: Most workers on a machine that nobody gave a number for. Ours: each holds its own copy of torch and of the models,
#: 0.3 GB and more; beyond, the API process is what limits small models, and memory large ones.
_MOST_BY_DEFAULT = 8

#: API processes of a machine that nobody gave a number for. Ours: with one, all else waits while it writes a hundred
#: answers and reads the next hundred requests; two answer a fifth more of a small model's, and take 80 MB more.
_API_BY_DEFAULT = 2

#: Kernels that oneDNN keeps, each for one layer at one size of pass. Ours: those of a ResNet-50 at two sizes. It keeps
#: 1,024 by default, and as passes have any size, a worker grows by them for thousands of jobs.
KEPT_KERNELS = 256

#: How a torch device is written that a worker may have.
_DEVICE = re.compile(r"cpu|cuda(:\d+)?|mps")

#: Asks torch in a process of its own, which takes its memory with it.
_COUNT_GPUS = "import torch; print(torch.cuda.device_count())"


def api_children(settings: Settings) -> list[Child]:
    """The API processes. Linux alone shares a port evenly among those that listen on it."""
    by_default = min(usable_cores(), _API_BY_DEFAULT) if sys.platform == "linux" else 1
    count = settings.api.processes or by_default
    grace_s = settings.api.shutdown_grace_s + 1
    if count == 1:
        return [Child("api", ["api"], grace_s)]
    return [Child(f"api {number}", ["api", "--shared-port"], grace_s) for number in range(1, count + 1)]


def worker_children(settings: Settings, devices: str | None) -> list[Child]:
    """The worker processes, each single-threaded unless set otherwise.

    `devices`: names of torch separated by commas, one process each; `cpu`: `worker.processes`, by default one per core;
    `all`: one per GPU, or the processor where there is none; None: `worker.device`. Raises InvalidRequest for another.
    """
    asked = settings.worker.device if devices is None else devices
    names = all_gpus() or [CPU] if asked == ALL else [name.strip() for name in asked.split(",")]
    for name in names:
        if not _DEVICE.fullmatch(name):
            raise InvalidRequest(f"{name!r} is no device: say all, cpu, or cuda:0,cuda:1 and so on.", field="devices")
    if names == [CPU]:
        names *= settings.worker.processes or min(usable_cores(), _MOST_BY_DEFAULT)
    grace_s = settings.worker.drain_s + 1
    return [
        Child(
            "worker" if len(names) == 1 else f"worker {number}",
            ["worker", "--one"],
            grace_s,
            {"ATTRIBUTOR_WORKER__DEVICE": name, **thread_environment(settings.worker.threads)},
        )
        for number, name in enumerate(names, 1)
    ]


def usable_cores() -> int:
    """That this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def all_gpus() -> list[str]:
    """Every CUDA device of this machine, as torch names it; none where torch finds none, or is not there."""
    found = subprocess.run([sys.executable, "-P", "-c", _COUNT_GPUS], capture_output=True, text=True, check=False)
    return [f"cuda:{number}" for number in range(int(found.stdout))] if found.returncode == 0 else []


def thread_environment(threads: int) -> Mapping[str, str]:
    """What the libraries under torch read when they are loaded: how many threads each may start, that those that wait
    sleep (by default they spin, which takes the cores from whoever shares the machine), and how many prepared kernels
    oneDNN keeps."""
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **dict.fromkeys(counts, str(threads)),
        "OMP_WAIT_POLICY": "PASSIVE",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(KEPT_KERNELS),
    }


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, so that children have what the command line gave.

    A URL may hold a password: so it does not show on a command line, which everyone can read.
    """
    flat: dict[str, str] = {}
    for name, value in settings.model_dump(mode="json").items():
        nested = value.items() if isinstance(value, dict) else None
        for key, item in nested or [(None, value)]:
            variable = f"ATTRIBUTOR_{name}__{key}" if key else f"ATTRIBUTOR_{name}"
            if item is not None:
                flat[variable.upper()] = json.dumps(item) if isinstance(item, list) else str(item)
    return flat
