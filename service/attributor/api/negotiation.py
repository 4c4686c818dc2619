"""HTTP headers that carry a choice: Accept, Prefer, If-None-Match. Pure functions of strings."""

from functools import lru_cache

from starlette.datastructures import Headers

from attributor.errors import InvalidRequest, NotAcceptable

JSON = "application/json"
NPY = "application/x-npy"
PNG = "image/png"
SVG = "image/svg+xml"

#: Header values whose meaning is remembered: clients send the same ones with every request. Ours: some hundred bytes
#: each, and the longest that the server takes (64 KB) do no harm either.
_REMEMBERED = 64


def combined(headers: Headers, name: str) -> str | None:
    """A header's lines as one list (RFC 9110, 5.3); None without any."""
    wanted = name.encode("latin-1")
    return b", ".join([value for each, value in headers.raw if each == wanted]).decode("latin-1") or None


@lru_cache(_REMEMBERED)
def negotiate(accept: str | None, offers: tuple[str, ...]) -> str:
    """The offer that an Accept header likes best, the first of equals (RFC 9110, 12.5.1). Raises NotAcceptable."""
    ranges = [_range(part) for part in (accept or "*/*").split(",") if part.strip()]
    best, best_quality = None, 0.0
    for offer in offers:
        matching = [(specificity, q) for kind, specificity, q in ranges if _matches(kind, offer)]
        quality = max(matching)[1] if matching else 0.0
        if quality > best_quality:
            best, best_quality = offer, quality
    if best is None:
        raise NotAcceptable(f"cannot be met; there is {', '.join(offers)}", field="Accept")
    return best


def _range(part: str) -> tuple[str, int, float]:
    """One media range: (type, how specific it is, its quality)."""
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    specificity = 0 if kind == "*/*" else 1 if kind.endswith("/*") else 2
    return kind.lower(), specificity, quality


def _matches(kind: str, offer: str) -> bool:
    return kind in ("*/*", offer) or (kind.endswith("/*") and offer.startswith(kind[:-1]))


@lru_cache(_REMEMBERED)
def wanted_wait_s(prefer: str | None, longest_s: float) -> float | None:
    """Seconds of `Prefer: wait=N` (RFC 7240), capped; None without it. Raises InvalidRequest."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait":
            try:
                seconds = int(value.partition(";")[0].strip().strip('"'))  # it may have parameters of its own
            except ValueError:
                seconds = -1
            if seconds < 0:
                raise InvalidRequest("wait takes a whole number of seconds, as in wait=10", field="Prefer")
            return min(seconds, longest_s)
    return None


def unchanged(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this revision already (weak comparison, RFC 9110, 13.1.2)."""
    known = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return "*" in known or etag.removeprefix("W/") in known
