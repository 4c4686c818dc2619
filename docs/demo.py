"""The demo: start the service on this machine, explain a tumour and a digit over HTTP, show and keep the answers.

Run by `make demo`. It is a client like any other: everything it knows of the service came through its HTTP interface.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
OUTPUT = ROOT / "demo-output"
PREFERRED_PORT = 8080
READY_WITHIN_S = 90
ANSWER_WITHIN_S = 30
TOP_FEATURES = 8

console = Console(width=110 if not sys.stdout.isatty() else None)


def main() -> int:
    """Start, explain twice, stop; when a person watches, serve on until Ctrl-C."""
    OUTPUT.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="attributor-demo-") as data_dir:
        return run(free_port(), data_dir)


def run(port: int, data_dir: str) -> int:
    """The demo on a port, its jobs kept in a folder."""
    url = f"http://127.0.0.1:{port}"
    console.rule("Attributor")
    console.print(f"Starting `attributor serve --port {port}`: API, one worker, embedded Valkey.")
    service = subprocess.Popen(
        [sys.executable, "-m", "attributor", "serve", "--port", str(port), "--data-dir", data_dir],
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        with httpx.Client(base_url=url, timeout=ANSWER_WITHIN_S + 5) as client:
            await_ready(client, service)
            show("A tumour, from 30 measurements of its cells", "tumour", client)
            show("A handwritten digit, from 8x8 pixels", "digit", client)
        console.print(f"API docs: [bold]{url}/docs[/bold]", highlight=False)
        if sys.stdin.isatty() and sys.stdout.isatty():
            console.print("The service runs on; Ctrl-C stops it.")
            service.wait()
        else:
            console.print("Stopping the service; start it again with: .venv/bin/attributor serve")
    except KeyboardInterrupt:
        console.print("Stopping the service.")
    finally:
        service.send_signal(signal.SIGINT)
        service.wait(30)
    return 0


def free_port() -> int:
    """The usual port, or any free one if it is taken."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", PREFERRED_PORT))
        except OSError:
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                return int(other.getsockname()[1])
        return PREFERRED_PORT


def await_ready(client: httpx.Client, service: subprocess.Popen[bytes]) -> None:
    """Poll readiness, as a load balancer would."""
    end = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < end:
        if service.poll() is not None:
            sys.exit("the service ended before it was ready; its messages stand above")
        try:
            if client.get("/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    sys.exit(f"the service was not ready within {READY_WITHIN_S} s")


def show(title: str, name: str, client: httpx.Client) -> None:
    """Explain one example, print the answer as a table, keep JSON and PNG."""
    request = json.loads((EXAMPLES / f"{name}.json").read_text())
    began = time.perf_counter()
    response = client.post("/v1/attributions", json=request, headers={"Prefer": f"wait={ANSWER_WITHIN_S}"})
    took_ms = (time.perf_counter() - began) * 1e3
    if response.status_code != httpx.codes.OK:
        sys.exit(f"HTTP {response.status_code}: {response.text}")
    job = response.json()
    if job["state"] != "succeeded":
        sys.exit(f"the job {job['state']}: {job['error']}")
    result = job["results"][0]
    console.rule(title)
    console.print(facts(job, result, took_ms))
    console.print(top_features(request, result))
    for warning in result["warnings"]:
        console.print(f"  note ({warning['code']}): {warning['message']}", highlight=False)
    keep(name, job, client)


def facts(job: dict[str, Any], result: dict[str, Any], took_ms: float) -> Table:
    """What the model said, and how far the explanation of it can be trusted."""
    error = result["completeness_error"]
    table = Table(show_header=False, box=None, padding=(0, 2))
    model = job["model"]
    target = result["target"]
    rows = {
        "model": f"{model['name']}@{model['version']}",
        "explained": f"{target['scale']} of '{target['label']}'" + (" (predicted)" if target["predicted"] else ""),
        "score": f"{result['score']:.4f}",
        "baseline score": f"{result['baseline_score']:.4f}  (baseline '{result['baseline']}')",
        "sum of attributions": f"{result['attribution_sum']:.4f}",
        "completeness error": f"{error['relative']:.3%} ({result['tolerance']['relative']:.0%} allowed)",
        "attribution error": f"{result['attribution_error']:.1%} (estimate: what half the nodes would change)",
        "evaluations": str(result["evaluations"]),
        "time": f"{took_ms:.0f} ms over HTTP, {result['timings']['computing_s'] * 1e3:.0f} ms of it computing",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def top_features(request: dict[str, Any], result: dict[str, Any]) -> Table:
    """The features that moved the score most, by name or by pixel."""
    (name, tensor), *_ = result["attributions"].items()
    if "features" in tensor:
        sent = request["inputs"][0][name]
        rows = [(f, f"{sent[f]:g}", a) for f, a in zip(tensor["features"], tensor["data"], strict=True)]
        column = "value"
    else:
        plane = tensor["data"][0]
        rows = [(f"row {r}, column {c}", "", a) for r, line in enumerate(plane) for c, a in enumerate(line)]
        column = ""
    rows.sort(key=lambda row: -abs(row[2]))
    title = f"top {TOP_FEATURES} of {len(rows)} features" + ("" if column else ", rows and columns from 0")
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2))
    table.add_column("feature")
    table.add_column(column, justify="right")
    table.add_column("attribution", justify="right")
    table.add_column("")
    largest = abs(rows[0][2]) or 1.0
    for feature, value, attribution in rows[:TOP_FEATURES]:
        bar = ("+" if attribution > 0 else "-") * round(20 * abs(attribution) / largest)
        table.add_row(feature, value, f"{attribution:+.4f}", bar)
    return table


def keep(name: str, job: dict[str, Any], client: httpx.Client) -> None:
    """The whole answer as JSON, and its pictures."""
    path = OUTPUT / f"{name}.json"
    path.write_text(json.dumps(job, indent=2) + "\n")
    kept = [path]
    for picture in job["results"][0]["visualizations"]:
        path = OUTPUT / f"{name}-{picture['kind']}.png"
        if "png" in picture:
            path.write_bytes(base64.b64decode(picture["png"]))
        else:
            url = f"{job['links']['self']}/visualizations/{picture['kind']}"
            path.write_bytes(client.get(url, headers={"Accept": "image/png"}).raise_for_status().content)
        kept.append(path)
    console.print("in the pictures orange raises the score, blue lowers it; legends come with image/svg+xml")
    console.print("kept: " + ", ".join(os.path.relpath(p, ROOT) for p in kept) + "\n", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
