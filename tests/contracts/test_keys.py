"""API keys, and the gate that asks for them, on a real store and the real application."""

import re

import httpx
import orjson
import pytest
from attributor.api import gate
from attributor.api.app import create_app
from attributor.api.dependencies import Deps, Limits
from attributor.api.gate import COOKIE, CSRF_HEADER, Gate, OwnPages, while_it_opens
from attributor.jobs.access import USUAL_SCOPES, ApiKey, Scope, csrf_token, new_key, opens, parts_of
from attributor.jobs.terms import USUAL_TERMS, Terms
from attributor.storage.redis_events import RedisJobEvents
from attributor.storage.redis_fleet import RedisFleet
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_keys import RedisKeys
from attributor.storage.redis_quarantine import RedisQuarantine
from attributor.storage.redis_queue import RedisJobQueue
from contracts.servers import server


@pytest.fixture(scope="module")
def store_url(tmp_path_factory):
    """Plain commands only: one kind of server tells it all, and making the application takes its time."""
    with server("valkey", tmp_path_factory.mktemp("keys")) as url:
        yield url


@pytest.fixture
def keys(store):
    return RedisKeys(store)


@pytest.fixture
async def issue(keys):
    async def made(tenant: str, *scopes: Scope, terms: Terms = USUAL_TERMS) -> tuple[str, ApiKey]:
        text, key = new_key(tenant, frozenset(scopes) or USUAL_SCOPES, 1.0, "", terms)
        await keys.add(key)
        return text, key

    return made


class NoModels:
    """A catalog without any."""

    def all(self):
        return ()


@pytest.fixture
async def deps(store, keys):
    async with RedisJobEvents(store) as events:
        yield Deps(
            RedisJobQueue(store),
            RedisJobStore(store),
            RedisQuarantine(store),
            events,
            RedisFleet(store),
            NoModels(),
            Limits(1_000_000, 9, 1.0, 1.0),
            keys=keys,
        )


@pytest.fixture
async def client(deps, keys):
    guarded = Gate(create_app(deps), keys)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://service") as client:
        yield client


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def test_a_key_is_read_as_it_was_written_and_revoked(keys, issue):
    terms = Terms(2.5, 100, 200)
    text, key = await issue("team-a", Scope.READ, terms=terms)
    assert await keys.key(key.id) == key
    assert await keys.all() == [key]
    assert text not in str(key)
    assert await keys.revoke(key.id)
    assert not await keys.revoke(key.id)
    assert await keys.key(key.id) is None


async def test_only_the_secret_that_was_told_opens():
    text, key = new_key("t", USUAL_SCOPES, 0.0, "", Terms())
    key_id, secret = parts_of(text)
    assert key_id == key.id
    assert opens(key, secret)
    assert not opens(key, secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    assert not opens(None, "")
    assert parts_of(text + "x") is None


@pytest.mark.parametrize("tenant", ["", "a:b", "../x", "a" * 65, "-a", "a b"])
def test_names_that_cannot_be_a_tenants_are_refused(tenant):
    with pytest.raises(ValueError, match="tenant"):
        new_key(tenant, USUAL_SCOPES, 0.0, "", Terms())


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"Authorization": "Bearer nonsense"}, 401, "unauthorized"),
        ({"Authorization": f"Bearer atr_{'0' * 12}_{'A' * 43}"}, 401, "unauthorized"),
        ({"Authorization": "Basic dTpw"}, 401, "unauthorized"),
        ({"Cookie": f"{COOKIE}=nonsense"}, 401, "unauthorized"),
    ],
)
async def test_without_a_key_nothing_is_reached(client, headers, status, code, caplog):
    with caplog.at_level("INFO", "attributor.audit"):
        for method, path in (
            ("GET", "/v1/attributions"),
            ("POST", "/v1/attributions"),
            ("GET", "/metrics"),
            ("GET", "/x"),
        ):
            answer = await client.request(method, path, headers=headers, json={})
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            sent = "Bearer" in headers.get("Authorization", "") or "Cookie" in headers
            error = ', error="invalid_token"' if sent else ""
            assert answer.headers["WWW-Authenticate"] == f'Bearer realm="attributor"{error}'
    assert caplog.text.count("refused") == 4


@pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")  # what brings the docs' scripts
async def test_health_and_documentation_need_no_key(client):
    for path in ("/health/live", "/openapi.json", "/docs", "/problems", "/problems/unauthorized"):
        assert (await client.get(path)).status_code == 200
    wanted = re.findall(r'(?:src|href)="(?:http://service)?(/[^"]+)"', (await client.get("/docs")).text)
    assert wanted  # its scripts and styles
    for path in wanted:
        assert (await client.get(path)).status_code == 200, path


async def test_every_route_of_the_document_is_behind_the_gate(client, deps):
    document = create_app(deps).openapi()
    open_paths = set()
    for path, operations in document["paths"].items():
        for method in operations:
            answer = await client.request(method.upper(), path.replace("{", "").replace("}", ""))
            if answer.status_code != 401:
                open_paths.add(path)
    assert open_paths == {"/health/live", "/health/ready", "/health/accepting", "/problems", "/problems/{code}"}


async def test_a_key_opens_what_its_scopes_say(client, issue):
    reads, submits, operates = [(await issue("t", scope))[0] for scope in (Scope.READ, Scope.SUBMIT, Scope.OPERATE)]
    tried = {
        ("GET", "/v1/attributions"): reads,
        ("POST", "/v1/attributions"): submits,
        ("GET", "/v1/quarantine"): operates,
    }
    for (method, path), right in tried.items():
        for key in (reads, submits, operates):
            answer = await client.request(method, path, headers=bearer(key), json={})
            assert (answer.status_code == 403) == (key != right), (method, path)
    assert (await client.get("/metrics", headers=bearer(reads))).status_code == 403


async def test_no_tenant_sees_or_changes_what_is_anothers(client, deps, issue, make_spec, answer):
    """Over all routes with a job's id: another tenant's job answers as one that never was."""
    own, other = (await issue("own"))[0], (await issue("other"))[0]
    ids = []
    for ends in (None, answer):
        ids.append((await deps.queue.enqueue(make_spec(tenant="own"), idempotency_key=f"key {ends}")).job_id)
        if ends is not None:
            claimed = await deps.queue.claim(9)
            assert all(await deps.queue.finish_all({job.lease: ends for job in claimed}))
            waiting = (await deps.queue.enqueue(make_spec(tenant="own"))).job_id
            ids.append(waiting)
    paths = [(m, p) for p, ms in create_app(deps).openapi()["paths"].items() for m in ms if "{job_id}" in p]
    paths = [(m, p) for m, p in paths if not p.startswith("/v1/quarantine")]
    assert len(paths) > 4
    for job_id in ids:
        for method, path in paths:
            asked = path.replace("{kind}", "bars")
            theirs = await client.request(method.upper(), asked.replace("{job_id}", job_id), headers=bearer(other))
            never = await client.request(method.upper(), asked.replace("{job_id}", "job_0"), headers=bearer(other))
            assert theirs.status_code == never.status_code == 404, (method, path)
            assert theirs.text.replace(job_id, "job_0") == never.text
        assert await deps.store.record(job_id, tenant="own") is not None
    listed = await client.get("/v1/attributions", headers=bearer(other))
    assert listed.json()["attributions"] == []
    assert len((await client.get("/v1/attributions", headers=bearer(own))).json()["attributions"]) == 3
    mine = await deps.queue.enqueue(make_spec(tenant="other"), idempotency_key="key None")
    assert not mine.replayed


async def test_a_revoked_key_opens_nothing_a_moment_later(client, keys, issue, monkeypatch):
    text, key = await issue("t")
    assert (await client.get("/v1/attributions", headers=bearer(text))).status_code == 200
    await keys.revoke(key.id)
    monkeypatch.setattr(gate, "BELIEVED_S", 0.0)
    assert (await client.get("/v1/attributions", headers=bearer(text))).status_code == 401


async def test_a_browser_signs_in_reads_by_cookie_and_changes_with_the_token_only(client, issue, keys):
    text, _ = await issue("t")
    signed_in = await client.post("/v1/session", headers=bearer(text))
    cookie = signed_in.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert text not in cookie
    token = signed_in.json()["csrf_token"]
    assert (await client.get("/v1/attributions")).status_code == 200
    assert (await client.get("/v1/session")).json()["csrf_token"] == token
    for headers, status in (
        ({}, 403),
        ({CSRF_HEADER: "wrong"}, 403),
        ({CSRF_HEADER: token, "Origin": "https://elsewhere.example"}, 403),
        ({CSRF_HEADER: token, "Origin": "http://service:81"}, 403),
        ({CSRF_HEADER: token, "Origin": "http://service"}, 422),
        ({CSRF_HEADER: token, "Sec-Fetch-Site": "same-site"}, 403),
        ({CSRF_HEADER: token, "Sec-Fetch-Site": "same-origin"}, 422),
        ({CSRF_HEADER: token}, 422),
    ):
        answer = await client.post("/v1/attributions", json={}, headers=headers)
        assert answer.status_code == status, headers
    session = client.cookies[COOKIE]
    assert token == csrf_token(session)
    assert (await client.delete("/v1/session", headers={CSRF_HEADER: token})).status_code == 204
    client.cookies.set(COOKIE, session)  # a copy of it
    assert (await client.get("/v1/attributions")).status_code == 401


async def test_a_session_ends_with_its_key_and_after_its_time(client, keys, issue, store, monkeypatch):
    monkeypatch.setattr(gate, "BELIEVED_S", 0.0)
    text, key = await issue("t")
    await client.post("/v1/session", headers=bearer(text))
    [name] = await store.call("KEYS", store.keys.key("session") + "*")
    assert client.cookies[COOKIE].encode() not in name
    assert 0 < await store.call("PTTL", name) <= 12 * 3_600_000
    await keys.revoke(key.id)
    assert (await client.get("/v1/attributions")).status_code == 401


async def test_behind_tls_the_cookie_goes_over_tls_only(client, issue):
    text, _ = await issue("t")
    answer = await client.post("/v1/session", headers=bearer(text) | {"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["Set-Cookie"]


async def test_a_busy_client_costs_the_store_one_question(client, issue, keys, monkeypatch):
    text, _ = await issue("t")
    asked = []
    plain = RedisKeys.key

    async def counted(self, key_id):
        asked.append(key_id)
        return await plain(self, key_id)

    monkeypatch.setattr(RedisKeys, "key", counted)
    for _ in range(5):
        await client.get("/v1/attributions", headers=bearer(text))
    assert len(asked) == 1


async def test_a_session_opens_no_other_and_is_kept_nowhere(client, issue):
    text, _ = await issue("t")
    signed_in = await client.post("/v1/session", headers=bearer(text))
    assert signed_in.headers["Cache-Control"] == "no-store"
    again = await client.post("/v1/session", headers={CSRF_HEADER: signed_in.json()["csrf_token"]})
    assert again.status_code == 401
    assert "Set-Cookie" not in again.headers
    # A key that is sent beside a cookie is what counts.
    assert (await client.get("/v1/session", headers=bearer(text))).json()["csrf_token"] is None


async def test_over_tls_a_cookie_that_another_host_could_have_set_counts_for_nothing(client, issue):
    text, _ = await issue("t")
    tls = {"X-Forwarded-Proto": "https, http"}
    answer = await client.post("/v1/session", headers=bearer(text) | tls)
    name, _, session = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
    assert name == f"__Host-{COOKIE}"
    assert "Domain" not in answer.headers["Set-Cookie"]
    client.cookies.clear()
    for sent, status in ((name, 200), (COOKIE, 401)):
        answer = await client.get("/v1/session", headers={"Cookie": f"{sent}={session}", **tls})
        assert answer.status_code == status


async def test_what_another_release_wrote_opens_what_this_one_knows(store, keys, issue):
    _, key = await issue("t", Scope.READ)
    [_, written] = await store.call("HGETALL", store.keys.key("keys"))
    held = orjson.loads(written)
    held |= {"colour": "red", "scopes": [*held["scopes"], "paint"]}
    await store.call("HSET", store.keys.key("keys"), key.id, orjson.dumps(held))
    assert await keys.key(key.id) == key


async def test_a_key_that_cannot_be_read_is_a_defect_and_opens_nothing(client, store, issue, caplog):
    text, key = await issue("t")
    await store.call("HSET", store.keys.key("keys"), key.id, b"{}")
    answer = await client.get("/v1/attributions", headers=bearer(text))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "GET /v1/attributions failed" in caplog.text


async def test_a_stream_ends_with_what_it_was_asked_for_with():
    asked, answers = [], [True, True, False]

    async def still() -> bool:
        return answers[len(asked) - 1]

    async def events():
        try:
            for number in range(9):
                asked.append(number)
                yield b"%d" % number
        finally:
            asked.append("closed")

    assert [event async for event in while_it_opens(events(), still)] == [b"0", b"1"]
    assert asked == [0, 1, 2, "closed"]


async def test_without_keys_pages_of_others_change_nothing(deps):
    app = OwnPages(create_app(deps), ["https://lab.example"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        for headers, status in (
            ({}, 404),
            ({"Origin": "http://service"}, 404),
            ({"Origin": "https://lab.example", "Sec-Fetch-Site": "cross-site"}, 404),
            ({"Origin": "https://evil.example"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
        ):
            assert (await client.post("/v1/quarantine/job_0:retry", headers=headers)).status_code == status
            assert (await client.get("/v1/attributions", headers=headers)).status_code == 200
