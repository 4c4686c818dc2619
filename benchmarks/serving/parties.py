"""Who is measured: our service and its peers, and how each is started for one model. Knows no cell and no figure."""

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import processes
from benchmarks.serving.bundles import REPOSITORY
from benchmarks.serving.processes import Server

OURS = "attributor"
#: How long a server may take to answer its first request, seconds: TorchServe starts a Java machine and its workers.
_START_S = 180
#: As long as the slowest net takes for a queue of 128, seconds.
_REQUEST_S = 600


@dataclass(frozen=True, slots=True)
class Question:
    """What a server is started for: a bundle, how many processes, threads (0: torch's own) and steps of peers, and a
    body to try it with."""

    models: Path
    model: str
    work: Path
    workers: int
    threads: int
    steps: int
    body: bytes
    device: str = "cpu"

    @property
    def bundle(self) -> Path:
        return self.models / self.model / "1"


@dataclass(frozen=True, slots=True)
class Party:
    """A server that can be started, and where it takes requests."""

    name: str
    begin: Callable[[Question, str], Server]
    path: str = "/v1/attributions"
    headers: str = ""

    def start(self, question: Question, python: str) -> Server:
        """Starts it and waits for a first answer. Raises DidNotStart."""
        server = self.begin(question, python)
        for port in server.ports:
            processes.wait_until(lambda port=port: self._answers(port, question.body), server, _START_S)
        return server

    def _answers(self, port: int, body: bytes) -> bool:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{self.path}", body, {"Content-Type": "application/json", "Prefer": "wait=60"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_S) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


def _environment(question: Question, python: str) -> Mapping[str, str]:
    return {
        "PEER_BUNDLE": str(question.bundle),
        "PEER_STEPS": str(question.steps),
        "PEER_THREADS": str(question.threads),
        "PATH": f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _fastapi(module: str) -> Callable[[Question, str], Server]:
    """As many uvicorns as cores, each on a port of its own: what a balancer that costs nothing would make of them. With
    `uvicorn --workers` connections that are kept alive may all end up at one of them."""

    def begin(question: Question, python: str) -> Server:
        app = f"benchmarks.serving.peers.{module}:app"
        ports = [processes.free_port() for _ in range(question.workers)]
        commands = [
            [python, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning", "--no-access-log"]
            for port in ports
        ]
        environment, log = _environment(question, python), question.work / f"{module}.log"
        return processes.start(commands, ports, REPOSITORY, environment, log)

    return begin


def _litserve(question: Question, python: str) -> Server:
    port = processes.free_port()
    command = [python, "-m", "benchmarks.serving.peers.litserve_app", str(port), str(question.workers), str(_REQUEST_S)]
    environment, log = _environment(question, python), question.work / "litserve.log"
    return processes.start([command], [port], REPOSITORY, environment, log)


def _torchserve(question: Question, python: str) -> Server:
    """One archive, a worker per core, batches of 8 that wait 10 ms. Its access log stays on, as it comes."""
    folder = question.work / "torchserve"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive(question.model, folder)
    port = processes.free_port()
    model = {
        "marName": f"{question.model}.mar",
        "minWorkers": question.workers,
        "maxWorkers": question.workers,
        "batchSize": 8,
        "maxBatchDelay": 10,
        "responseTimeout": _REQUEST_S,
        "defaultVersion": True,
    }
    settings = {
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{processes.free_port()}",
        "metrics_address": f"http://127.0.0.1:{processes.free_port()}",
        "grpc_inference_port": processes.free_port(),
        "grpc_management_port": processes.free_port(),
        "initial_worker_port": processes.free_port(),  # of sockets in a folder that all share
        "model_store": folder,
        "load_models": f"{question.model}.mar",
        "models": json.dumps({question.model: {"1.0": model}}),
        "job_queue_size": 1000,
        "default_response_timeout": _REQUEST_S,
        "max_request_size": 100_000_000,
        "max_response_size": 100_000_000,
        "disable_token_authorization": "true",
    }
    config = folder / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
    command = [python, "-c", "from ts.model_server import start; start()", "--foreground"]
    command += ["--ts-config", str(config), "--model-store", str(folder), "--ncs", "--disable-token-auth"]
    environment = {**_environment(question, python), "TMPDIR": str(folder), "LOG_LOCATION": str(folder / "logs")}
    return processes.start([command], [port], folder, environment, question.work / "torchserve.log")


def archive(model: str, folder: Path) -> None:
    """A .mar: a zip of the handler, what it imports, and the manifest that TorchServe's archiver writes."""
    import zipfile

    peers = REPOSITORY / "benchmarks" / "serving" / "peers"
    manifest = {
        "createdOn": "01/01/2026 00:00:00",
        "runtime": "python",
        "model": {"modelName": model, "handler": "torchserve_handler.py", "modelVersion": "1.0"},
        "archiverVersion": "0.12.0",
    }
    with zipfile.ZipFile(folder / f"{model}.mar", "w") as file:
        file.write(peers / "torchserve_handler.py", "torchserve_handler.py")
        file.write(peers / "captum_part.py", "captum_part.py")
        file.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))


def _ours(question: Question, python: str) -> Server:
    """`attributor serve` as a user of this machine runs it, but for the cache of repeats: embedded store, append-only
    file on."""
    data = question.work / "attributor-data"
    shutil.rmtree(data, ignore_errors=True)
    port = processes.free_port()
    environment = {"ATTRIBUTOR_MODELS_DIR": str(question.models), "ATTRIBUTOR_LOG_LEVEL": "warning", **cache_off()}
    if question.device != "cpu":
        environment |= device_settings(question.device)
    command = [sys.executable, "-m", "attributor", "serve", "--port", str(port), "--data-dir", str(data)]
    return processes.start([command], [port], question.work, environment, question.work / "attributor.log")


def cache_off() -> dict[str, str]:
    """The setting that turns the cache of repeats off, where this version has one."""
    from attributor.settings import StoreSettings

    return {"ATTRIBUTOR_STORE__CACHE_BYTES": "0"} if "cache_bytes" in StoreSettings.model_fields else {}


def device_settings(device: str) -> dict[str, str]:
    """Ours on an accelerator: by `devices` where this version has it, else by `device`."""
    from attributor.settings import WorkerSettings

    if "devices" in WorkerSettings.model_fields:
        return {"ATTRIBUTOR_WORKER__DEVICES": "all"}
    return {"ATTRIBUTOR_WORKER__DEVICE": device}


#: What peers answer (the target and its attributions), and what the check needs: the error that is stated, how it came
#: about and what it cost.
FIELDS = "input,target,attributions,completeness_error,tolerance,converged,evaluations,forwards"


def ours(*, whole: bool = False) -> Party:
    """`whole`: results with all that we have to say of them; else what peers say, with its error."""
    path = "/v1/attributions" if whole else f"/v1/attributions?fields={FIELDS}"
    return Party(OURS, _ours, path, headers="Prefer: wait=60\r\n")


def peers(model: str) -> tuple[Party, ...]:
    return (
        Party("FastAPI def", _fastapi("fastapi_def")),
        Party("FastAPI loop", _fastapi("fastapi_loop")),
        Party("LitServe", _litserve),
        Party("TorchServe", _torchserve, path=f"/explanations/{model}"),
    )
