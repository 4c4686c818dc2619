"""What a browser says of the page that a request comes from.

A cookie, and the right to reach a service on this very machine, go with every request of a browser, whichever site's
page makes it. So a request that changes something is held against what browsers say of its origin: `Sec-Fetch-Site`
(W3C Fetch Metadata), which pages cannot set, and `Origin` where that is not sent (pages over plain HTTP). Programs that
are no browsers send neither.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers

#: Methods that change nothing (RFC 9110, 9.2.1).
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
#: A page of this very origin; none: the person typed the address.
_OURS = ("same-origin", "none")


def comes_from_elsewhere(headers: Headers, allowed: Collection[str] = ()) -> bool:
    """Whether a browser sent it for a page that is neither ours nor of an `allowed` origin."""
    origin = headers.get("origin")
    if origin is not None and origin in allowed:
        return False
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in _OURS
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
