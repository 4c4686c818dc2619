"""Whether a request comes from a page of ours, by what browsers say of it."""

import pytest
from attributor.api.cross_site import comes_from_elsewhere
from starlette.datastructures import Headers


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({}, False),  # no browser
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "same-site"}, True),  # another port of this host, or another host of this domain
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "http://api.example:8080"}, True),
        # Behind a proxy that says another Host, browsers know better.
        ({"sec-fetch-site": "same-origin", "origin": "https://public.example"}, False),
        ({"origin": "http://api.example:8080"}, False),
        ({"origin": "http://api.example"}, True),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "http://api.example:8080.evil.example"}, True),
        ({"origin": "null"}, True),  # a sandboxed frame, a file
        ({"origin": ""}, True),
        ({"origin": "https://lab.example", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "https://lab.example.evil.example"}, True),
    ],
)
def test_a_page_of_another_site_is_known_as_such(headers, elsewhere):
    given = Headers({"host": "api.example:8080", **headers})
    assert comes_from_elsewhere(given, ("https://lab.example",)) == elsewhere


def test_a_listed_origin_counts_only_where_it_is_asked_for():
    assert comes_from_elsewhere(Headers({"host": "a", "origin": "https://lab.example"}))
