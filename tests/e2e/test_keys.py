"""A service that others can reach: it asks for keys, and its commands make them."""

import os
import subprocess
import sys
import threading
import time

import httpx
import pytest
from e2e.live import created, ended, events, pair, problem, slow

pytestmark = pytest.mark.e2e

#: Of `api.gate.BELIEVED_S`, with time for a slow machine.
REVOKED_WITHIN_S = 8.0


def attributor(*words: str, data_dir, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of ours, beside a service that runs."""
    command = [sys.executable, "-m", "attributor", *words, "--data-dir", str(data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def guarded(small_models, tmp_path_factory):
    from e2e.conftest import SETTINGS
    from e2e.live import start

    more = {
        "ATTRIBUTOR_API__KEYS": "true",
        "ATTRIBUTOR_API__CORS_ORIGINS": '["https://pages.example"]',
        "ATTRIBUTOR_STORE__MAX_QUEUED": "8",
        "ATTRIBUTOR_API__PROCESSES": "2",
        "ATTRIBUTOR_LOG_LEVEL": "warning",
    }
    service = start(small_models, tmp_path_factory.mktemp("guarded"), SETTINGS | more)
    try:
        service.await_ready()
        yield service
    finally:
        assert service.stop() == 0


@pytest.fixture
def issued(guarded):
    clients = []

    def issue(tenant: str, *words: str) -> httpx.Client:
        made = attributor("keys", "create", "--tenant", tenant, *words, data_dir=guarded.data_dir)
        assert made.returncode == 0, made.stderr
        [text] = made.stdout.split()
        clients.append(httpx.Client(base_url=guarded.url, timeout=30, headers={"Authorization": f"Bearer {text}"}))
        return clients[-1]

    yield issue
    for client in clients:
        client.close()


def test_an_address_that_others_reach_is_refused_without_keys(small_models, tmp_path):
    environment = {"ATTRIBUTOR_API__HOST": "0.0.0.0", "ATTRIBUTOR_API__KEYS": "false"}
    ended = attributor("serve", "--models", str(small_models), data_dir=tmp_path, **environment)
    assert ended.returncode != 0
    assert "API keys only" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_tenants_have_their_own_jobs_keys_and_listings(guarded, issued):
    problem(httpx.post(f"{guarded.url}/v1/attributions", json=pair("raises")), 401, "unauthorized")
    one, other = issued("one"), issued("two")
    paths = [created(client, pair("raises", 3.0), **{"Idempotency-Key": "same"}) for client in (one, other)]
    assert paths[0] != paths[1]
    assert ended(one, paths[0])["state"] == "succeeded"
    for path in (paths[0], f"{paths[0]}/results", f"{paths[0]}/events", f"{paths[0]}/visualizations/bars"):
        problem(other.get(path), 404, "job_not_found")
    problem(other.delete(paths[0]), 404, "job_not_found")
    assert [job["links"]["self"] for job in one.get("/v1/attributions").json()["attributions"]] == [paths[0]]
    problem(one.get("/v1/quarantine"), 403, "forbidden")


def test_a_key_is_listed_renewed_and_revoked(guarded, issued):
    client = issued("passing", "--label", "for a while", "--weight", "2", "--evaluations-per-hour", "50")
    listed = attributor("keys", "list", data_dir=guarded.data_dir).stdout
    [line] = [line for line in listed.splitlines() if "passing" in line]
    assert "weight 2, 50 evaluations an hour  for a while" in line
    key_id = line.split()[0]
    problem(client.post("/v1/attributions", json=slow(20)), 429, "quota_exceeded")
    assert client.post("/v1/attributions", json=pair("raises")).status_code == 202
    renewed = attributor("keys", "rotate", key_id, data_dir=guarded.data_dir)
    assert f"attributor keys revoke {key_id}" in renewed.stderr
    revoked = attributor("keys", "revoke", key_id, data_dir=guarded.data_dir)
    assert revoked.returncode == 0
    assert attributor("keys", "revoke", key_id, data_dir=guarded.data_dir).returncode == 1
    text = renewed.stdout.strip()
    assert httpx.get(f"{guarded.url}/v1/attributions", headers={"Authorization": f"Bearer {text}"}).status_code == 200


def test_one_tenant_that_fills_its_part_leaves_room_for_others(issued):
    greedy, modest = issued("greedy"), issued("modest")
    answers = [greedy.post("/v1/attributions", json=slow(6 + i, priority="low")) for i in range(12)]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert refused
    for answer in refused:
        problem(answer, 429, "tenant_queue_full")
        assert int(answer.headers["Retry-After"]) >= 1
    assert ended(modest, created(modest, pair("raises")))["state"] == "succeeded"
    for answer in answers:
        if answer.status_code == 202:
            greedy.delete(answer.headers["Location"])


def test_a_browser_watches_by_cookie(guarded, issued):
    key = issued("people")
    with httpx.Client(base_url=guarded.url, timeout=30) as browser:
        signed_in = browser.post("/v1/session", headers=dict(key.headers)).raise_for_status().json()
        problem(browser.post("/v1/attributions", json=slow(8)), 403, "forbidden")
        path = created(browser, slow(8), **{"X-CSRF-Token": signed_in["csrf_token"]})
        assert [event.name for event in events(browser, path)][-1] == "end"
        assert browser.delete("/v1/session", headers={"X-CSRF-Token": signed_in["csrf_token"]}).status_code == 204
        assert browser.get(path).status_code == 401


def test_pages_of_the_allow_list_may_ask_and_no_others(guarded):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin, allowed in (("https://pages.example", "https://pages.example"), ("https://others.example", None)):
        answer = httpx.options(f"{guarded.url}/v1/attributions", headers={"Origin": origin, **asked})
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_stream_that_was_opened_with_a_key_ends_when_it_is_revoked(guarded, issued):
    client, other = issued("left"), issued("left")
    key_id = client.headers["Authorization"].split("_")[1]
    body = slow(240)
    path = created(client, body | {"inputs": body["inputs"] * 4})
    began = time.monotonic()
    revoking = threading.Timer(0.5, lambda: attributor("keys", "revoke", key_id, data_dir=guarded.data_dir))
    revoking.start()
    names = [event.name for event in events(client, path)]
    assert "progress" in names
    assert "end" not in names
    assert time.monotonic() - began < REVOKED_WITHIN_S
    revoking.join()
    problem(client.get(path), 401, "unauthorized")
    assert other.delete(path).status_code == 202


def test_who_signs_out_is_out_in_every_process_and_a_session_ends_with_its_key(guarded, issued):
    client = issued("people")
    with browser_of(guarded) as browser, browser_of(guarded) as thief, browser_of(guarded) as another:
        token = browser.post("/v1/session", headers=dict(client.headers)).json()["csrf_token"]
        another.post("/v1/session", headers=dict(client.headers)).raise_for_status()
        thief.cookies.update(dict(browser.cookies))
        assert {thief.get("/v1/attributions").status_code for _ in range(8)} == {200}
        assert browser.delete("/v1/session", headers={"X-CSRF-Token": token}).status_code == 204
        assert not browser.cookies
        assert {thief.get("/v1/attributions").status_code for _ in range(8)} == {401}
        attributor("keys", "revoke", client.headers["Authorization"].split("_")[1], data_dir=guarded.data_dir)
        time.sleep(REVOKED_WITHIN_S)
        assert {another.get("/v1/attributions").status_code for _ in range(8)} == {401}


def browser_of(guarded) -> httpx.Client:
    """Each request goes over a connection of its own, so to any process."""
    return httpx.Client(base_url=guarded.url, limits=httpx.Limits(max_keepalive_connections=0), timeout=30)


def test_the_audit_log_tells_who_was_refused_and_no_secret(guarded, issued):
    made = attributor("keys", "create", "--tenant", "audited", "--scope", "read", data_dir=guarded.data_dir)
    text = made.stdout.strip()
    _, key_id, secret = text.split("_", 2)
    assert f"attributor.audit: key_created key={key_id} tenant=audited scopes=read uid=" in made.stderr
    with browser_of(guarded) as client:
        bearer = {"Authorization": f"Bearer {text}"}
        client.post("/v1/attributions", json=pair("slow"), headers=bearer)
        client.get("/v1/quarantine/x%0Asigned_in%20key=y", headers=bearer)
        client.get("/v1/models", headers={"Authorization": f"Bearer atr_{key_id}_{'A' * 43}"})
        token = client.post("/v1/session", headers=bearer).json()["csrf_token"]
        [session] = dict(client.cookies).values()
        client.delete("/v1/session", headers={"X-CSRF-Token": token})
    log = guarded.log()
    lines = [line.partition("attributor.audit: ")[2] for line in log.splitlines() if key_id in line]
    about = f"key={key_id} client=127.0.0.1"
    assert lines == [
        f"refused code=forbidden method=POST path=/v1/attributions {about}",
        f"refused code=forbidden method=GET path=/v1/quarantine/x%0Asigned_in%20key%3Dy {about}",
        f"refused code=unauthorized method=GET path=/v1/models {about}",
        f"signed_in key={key_id} tenant=audited client=127.0.0.1",
        f"signed_out key={key_id} tenant=audited client=127.0.0.1",
    ]
    assert not any(each in log for each in (secret, session, token))
    assert "atr_" not in log
