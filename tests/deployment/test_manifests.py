"""What is under deploy/ and docker/, held to the schemas of those who read it. No cluster and no engine runs here."""

import copy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from attributor.settings import ApiSettings, WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ROOT / "deploy" / "kubernetes" / "overlays"
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
#: Of KEDA's own kind, whose schema no package carries: what its documentation asks of the scaler "prometheus".
KEDA = {"serverAddress", "query", "threshold"}


def read(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def built(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl kustomize` would print of a folder, as far as ours use it: resources, images, JSON patches."""
    asked = read(folder / "kustomization.yaml")[0]
    known = {"apiVersion", "kind", "labels", "resources", "images", "patches"}
    assert set(asked) <= known, "this test does not know what else kustomize does"
    found: list[dict[str, Any]] = []
    for name in asked["resources"]:
        path = (folder / name).resolve()
        found += built(path) if path.is_dir() else read(path)
    found = copy.deepcopy(found)
    for image in asked.get("images", []):
        used = [c for each in found for c in containers(each) if c["image"] == image["name"]]
        assert used, f"{image['name']} is used nowhere"
        for container in used:
            container["image"] = f"{image['newName']}:{image['newTag']}"
    for patch in asked.get("patches", []):
        [target] = [
            each
            for each in found
            if (each["kind"], each["metadata"]["name"]) == (patch["target"]["kind"], patch["target"]["name"])
        ]
        for step in yaml.safe_load(patch["patch"]):
            apply(target, step)
    return found


def apply(document: Any, step: dict[str, Any]) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
    for part in way:
        document = document[int(part)] if isinstance(document, list) else document[part]
    assert step["op"] == "add" or last in document
    document[last] = step["value"]


def containers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if document["kind"] in ("Deployment", "StatefulSet"):
        yield from document["spec"]["template"]["spec"]["containers"]


@pytest.fixture(params=["cpu", "gpu"])
def manifests(request) -> list[dict[str, Any]]:
    return built(OVERLAYS / request.param)


def test_every_manifest_is_as_kubernetes_has_it(manifests):
    kinds = set()
    for document in manifests:
        kinds.add(document["kind"])
        if document["apiVersion"].startswith("keda.sh/"):
            [trigger] = document["spec"]["triggers"]
            assert trigger["metadata"].keys() == KEDA
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
        else:
            kubernetes_validate.validate(document, "1.37", strict=True)
    assert kinds >= {"Deployment", "Service", "StatefulSet", "PodDisruptionBudget", "ScaledObject", "NetworkPolicy"}


def test_the_schemas_do_find_what_is_wrong(manifests):
    broken = copy.deepcopy(next(each for each in manifests if each["kind"] == "Deployment"))
    broken["spec"]["template"]["spec"]["terminationGracePeriod"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_every_container_runs_as_nobody_on_a_root_file_system_that_it_cannot_write(manifests):
    for document in manifests:
        for container in containers(document):
            spec = document["spec"]["template"]["spec"]
            assert spec["securityContext"]["runAsNonRoot"]
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["livenessProbe"]
            assert container["readinessProbe"]
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]


def test_selectors_budgets_and_services_name_pods_that_are_there(manifests):
    pods = {
        each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
        for each in manifests
        if each["kind"] in ("Deployment", "StatefulSet")
    }
    for each in manifests:
        selector = each["spec"].get("selector", {}) if "spec" in each else {}
        name = selector.get("matchLabels", selector).get("app.kubernetes.io/name")
        assert name is None or name in pods, each["metadata"]["name"]


def test_pods_get_longer_to_end_than_their_processes_take(manifests):
    grace_s = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for each in manifests
        if each["kind"] == "Deployment"
    }
    assert grace_s["attributor-worker"] > 2 * WorkerSettings().drain_s
    assert grace_s["attributor-api"] > 2 * ApiSettings().shutdown_grace_s


def test_only_the_gpu_overlay_asks_for_a_gpu():
    limits = {
        name: next(
            container["resources"]["limits"]
            for each in built(OVERLAYS / name)
            for container in containers(each)
            if container["name"] == "worker"
        )
        for name in ("cpu", "gpu")
    }
    assert "nvidia.com/gpu" not in limits["cpu"]
    assert limits["gpu"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path):
    program = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout) == (0, ""), found.stdout


def test_compose_reads_its_file():
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("there is no docker-compose on PATH: apt-get install docker-compose")
    command = [compose, "--profile", "cpu", "--profile", "gpu", "config"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    assert set(yaml.safe_load(found.stdout)["services"]) == {"valkey", "api", "worker", "worker-cpu"}


def test_compose_starts_one_worker_of_either_kind_and_all_of_ours_are_hardened():
    services = read(ROOT / "docker-compose.yml")[0]["services"]
    assert (services["worker"]["profiles"], services["worker-cpu"]["profiles"]) == (["gpu"], ["cpu"])
    for name in ("api", "worker", "worker-cpu"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert (ROOT / services[name]["build"]["dockerfile"]).is_file()
    assert "noeviction" in services["valkey"]["command"]
