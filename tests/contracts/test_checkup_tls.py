"""What the check says of real servers with TLS, and whether the service reaches them by the same URL."""

import pytest
from attributor.errors import StoreUnavailable
from attributor.storage.checkup import check_store
from attributor.storage.connection import RedisStore
from attributor.storage.findings import Level
from contracts.servers import certificates, server, tls_server


def problems(url: str) -> dict[str, str]:
    """What to do, by what is wrong."""
    return {each.about: each.remedy for each in check_store(url, "test-doctor") if each.level is Level.PROBLEM}


async def is_reached(url: str) -> bool:
    async with RedisStore(url, retries=0) as store:
        try:
            await store.call("PING")
        except StoreUnavailable:
            return False
        return True


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("files"))


async def test_its_authority_is_named_in_the_url(tmp_path, files):
    ca, *_ = files
    (tmp_path / "other").mkdir()
    other, *_ = certificates(tmp_path / "other")
    with tls_server(tmp_path, files) as port:
        url = f"rediss://localhost:{port}"
        assert problems(f"{url}?ssl_ca_certs={ca}") == {}
        assert await is_reached(f"{url}?ssl_ca_certs={ca}")
        for wrong, remedy in (
            (url, "ssl_ca_certs=FILE"),
            (f"{url}?ssl_ca_certs={other}", "ssl_ca_certs=FILE"),
            (f"{url}?ssl_ca_certs=/nowhere.pem", "files that the URL names"),
        ):
            found = problems(wrong)
            assert list(found) == ["certificate"]
            assert remedy in found["certificate"]
            assert not await is_reached(wrong)


@pytest.mark.parametrize(
    ("days", "host", "remedy"), [(-1, "localhost", "new certificate"), (2, "elsewhere", "was made for")]
)
async def test_a_certificate_that_does_not_hold_is_told_apart(tmp_path, days, host, remedy):
    ca, *_ = files = certificates(tmp_path, days=days, host=host)
    with tls_server(tmp_path, files) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={ca}"
        found = problems(url)
        assert list(found) == ["certificate"]
        assert remedy in found["certificate"]
        assert not await is_reached(url)


async def test_a_server_that_wants_a_certificate_of_ours_is_given_one(tmp_path, files):
    ca, certificate, key = files
    with tls_server(tmp_path, files, "--tls-auth-clients", "yes") as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={ca}"
        for _ in range(5):  # what one hears of it depends on who is quicker
            [remedy] = problems(url).values()
            assert "ssl_certfile" in remedy
        assert not await is_reached(url)
        url += f"&ssl_certfile={certificate}&ssl_keyfile={key}"
        assert problems(url) == {}
        assert await is_reached(url)


async def test_tls_and_none_are_not_mixed_up(tmp_path, files, monkeypatch):
    monkeypatch.setattr("attributor.storage.checkup._TIMEOUT_S", 0.5)
    with tls_server(tmp_path, files) as port:
        assert "rediss://" in problems(f"redis://localhost:{port}")["store"]
    with server("redis", tmp_path) as url:
        assert "redis://" in problems(url.replace("redis:", "rediss:"))["store"]
