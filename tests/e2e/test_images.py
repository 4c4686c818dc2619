"""What the Dockerfiles install is what they start: their pip steps in clean environments, then their commands, beside a
real Valkey, as a user who may write nowhere but where a container may. No engine runs here."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from attributor.storage.embedded import EmbeddedStore
from e2e.live import ROOT, eventually, example, free_port
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.e2e
#: The first that needs no more of a package than what it says of itself, in a dry run.
OLDEST_DRY_PIP = "25"
DRY_S = 150
#: Of onnxruntime-gpu: what it needs of NVIDIA's packages.
CUDA_EXTRAS = ("cuda", "cudnn")


class Image:
    """A Dockerfile, as far as it says what is installed and started."""

    def __init__(self, name: str, folder: Path) -> None:
        text = (ROOT / "docker" / name).read_text().replace("\\\n", " ")
        lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self.folder = folder
        self.steps = [
            words.strip() for verb, words in lines if verb == "RUN" for words in words.split("&&") if words.strip()
        ]
        [self.entrypoint] = [_listed(words) for verb, words in lines if verb == "ENTRYPOINT"]
        [self.command] = [_listed(words) for verb, words in lines if verb == "CMD"]
        settings = " ".join(words for verb, words in lines if verb == "ENV")
        self.environment = dict(pair.split("=", 1) for pair in shlex.split(settings))
        self.healthcheck = _listed(re.search(r"HEALTHCHECK .*?CMD (\[.*?\])\s*$", text, re.MULTILINE)[1])

    def install(self) -> None:
        """Every step, with the environment in a folder of the test's. The index of torch's CPU packages is that of the
        machine, which the tests cannot choose."""
        for step in self.steps:
            words = [word.replace("/opt/attributor", str(self.folder)) for word in shlex.split(step)]
            words = [word for word in words if word not in ("--no-cache-dir", "--index-url", "$TORCH_INDEX")]
            words[0] = sys.executable if words[0] == "python" else words[0]
            quick = {"PIP_NO_COMPILE": "1", "PIP_QUIET": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
            subprocess.run(words, cwd=ROOT, check=True, timeout=400, env={**os.environ, **quick})

    def start(self, redis_url: str, tmp: Path, **settings: str) -> subprocess.Popen[bytes]:
        """What a container runs. `tmp`: its /tmp, the only place to write to."""
        words = [word.replace("/models", str(ROOT / "models")) for word in (*self.entrypoint, *self.command)]
        environment = {
            name: value.replace("/opt/attributor", str(self.folder)).replace("/tmp", str(tmp))
            for name, value in self.environment.items()
        }
        environment["PATH"] = environment["PATH"].replace("$PATH", os.environ["PATH"])
        environment |= {"ATTRIBUTOR_STORE__REDIS_URL": redis_url, "TMPDIR": str(tmp), **settings}
        return subprocess.Popen([str(self.folder / "bin" / words[0]), *words[1:]], cwd="/", env=environment)

    def healthy(self, tmp: Path, port: int) -> bool:
        words = [word.replace("/tmp", str(tmp)).replace("8080", str(port)) for word in self.healthcheck]
        words[0] = str(self.folder / "bin" / words[0])
        return subprocess.run(words, capture_output=True, timeout=30).returncode == 0


def _listed(words: str) -> list[str]:
    return json.loads(words)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    found = {name: Image(f"{name}.Dockerfile", folder / name) for name in ("api", "worker-cpu")}
    with ThreadPoolExecutor() as threads:
        list(threads.map(Image.install, found.values()))
    return found


def test_the_images_answer_a_request_together(images, tmp_path):
    has_torch = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is not None)"
    assert subprocess.run([images["api"].folder / "bin" / "python", "-c", has_torch]).returncode == 0
    store = EmbeddedStore(tmp_path / "store")
    store.start()
    port = free_port()
    started = []
    try:
        for name, image in images.items():
            (tmp_path / name).mkdir()
            settings = {"ATTRIBUTOR_API__PORT": str(port), "ATTRIBUTOR_API__HOST": "127.0.0.1"}
            started.append(image.start(store.url, tmp_path / name, **settings))
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _ready(url), 90)
        answer = httpx.post(f"{url}/v1/attributions", json=example("digit"), headers={"Prefer": "wait=20"}, timeout=30)
        assert answer.json()["state"] == "succeeded"
        for name, image in images.items():
            assert image.healthy(tmp_path / name, port), name
        started[1].terminate()
        assert started[1].wait(30) == 0
        file = tmp_path / "worker-cpu" / "attributor-alive"
        os.utime(file, (time.time() - 60,) * 2)
        assert not images["worker-cpu"].healthy(tmp_path / "worker-cpu", port), "the probe must see a dead worker"
    finally:
        for process in started:
            process.kill()
            process.wait()
        store.stop()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_what_the_gpu_image_installs_fits_together(tmp_path):
    """pip's dry run, as of a machine with no settings of its own: of packages of gigabytes it reads what they say of
    themselves. ONNX Runtime finds CUDA where torch's packages are, so it must be made for the same."""
    image = Image("worker.Dockerfile", tmp_path / "image")
    [install] = [shlex.split(step) for step in image.steps if "pip install" in step]
    pip = [str(image.folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([sys.executable, "-m", "venv", image.folder], check=True)
    subprocess.run([*pip, f"pip>={OLDEST_DRY_PIP}"], check=True, timeout=120)
    report = tmp_path / "report.json"
    dry = [*pip, "--dry-run", "--ignore-installed", "--use-feature=fast-deps", "--report", str(report)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PIP_") or name == "PIP_CERT"}
    try:
        subprocess.run(
            [*dry, *install[2:]], cwd=ROOT, check=True, timeout=DRY_S, env={**plain, "PIP_CONFIG_FILE": os.devnull}
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"the package index does not tell in {DRY_S} s what is in its packages")
    found = {canonicalize_name(part["metadata"]["name"]): part for part in json.loads(report.read_text())["install"]}
    assert {"attributor", "torch", "onnxruntime-gpu", "captum", "transformers", "opentelemetry-sdk"} <= set(found)
    assert "onnxruntime" not in found, "it would be in the way of the one for GPUs"
    wanted = map(Requirement, found["onnxruntime-gpu"]["metadata"]["requires_dist"])
    of_cuda = [wish for wish in wanted if wish.marker and any(wish.marker.evaluate({"extra": e}) for e in CUDA_EXTRAS)]
    assert len(of_cuda) > 3
    for wish in of_cuda:
        assert wish.specifier.contains(found[wish.name]["metadata"]["version"]), wish
