"""What is built is what runs: the wheel, unpacked outside the repository, serves a model folder."""

import subprocess
import sys
import zipfile

import httpx
import pytest
from e2e.live import ROOT, example, start

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel's files, first on the path of whoever runs with this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=120)
    [wheel] = folder.glob("attributor-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_carries_all_that_the_package_has(unpacked):
    source = ROOT / "service"
    wanted = {
        path.relative_to(source)
        for path in (source / "attributor").rglob("*")
        if path.suffix in {".py", ".lua", ".typed"}
    }
    assert {path.relative_to(unpacked) for path in (unpacked / "attributor").rglob("*") if path.is_file()} >= wanted


def test_the_wheel_serves_a_model_folder(unpacked, tmp_path):
    environment = {"PYTHONPATH": str(unpacked)}
    where = [sys.executable, "-c", "import attributor; print(attributor.__file__)"]
    found = subprocess.run(where, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(unpacked))

    service = start(ROOT / "models", tmp_path / "run", environment)
    try:
        service.await_ready()
        answer = httpx.post(f"{service.url}/v1/attributions", json=example("digit"), headers={"Prefer": "wait=20"})
        assert answer.json()["state"] == "succeeded"
        assert httpx.get(f"{service.url}/docs").status_code == 200
    finally:
        assert service.stop() == 0
