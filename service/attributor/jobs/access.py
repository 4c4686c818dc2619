"""Who may ask for what: API keys, what they open, and in whose name. No I/O.

A key's text is `atr_<id>_<secret>`. Kept is the SHA-256 of the secret: it is 256 random bits, which nobody can guess,
so that no slow hash is needed as for passwords.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from attributor.jobs.terms import USUAL_TERMS, Terms

_TEXT = re.compile(r"atr_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
#: A tenant's name is a part of keys of the store, and of lines of logs.
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: What an unknown key is held against, so that it takes as long as a known one.
_NOBODYS = hashlib.sha256(b"").hexdigest()


class Scope(StrEnum):
    """What a key opens: to create, cancel and erase jobs; to read them; the quarantine of all tenants; /metrics."""

    SUBMIT = "submit"
    READ = "read"
    OPERATE = "operate"
    METRICS = "metrics"


#: Of a key that is made without others.
USUAL_SCOPES = frozenset((Scope.SUBMIT, Scope.READ))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept. `digest`: SHA-256 of its secret, hexadecimal. `terms`: those of its tenant, for jobs that
    come with this key. Raises ValueError for a tenant's name that cannot be one."""

    id: str
    digest: str
    tenant: str
    scopes: frozenset[Scope]
    created_at: float
    label: str = ""
    terms: Terms = USUAL_TERMS

    def __post_init__(self) -> None:
        if not _TENANT.fullmatch(self.tenant):
            raise ValueError("a tenant's name is of up to 64 letters, digits, '_', '.' and '-', and begins with one")


@dataclass(frozen=True, slots=True)
class Caller:
    """In whose name a request comes, and what it may."""

    tenant: str = "default"
    scopes: frozenset[Scope] = frozenset(Scope)
    terms: Terms = USUAL_TERMS


#: Of a service without keys.
ANYBODY = Caller()


def new_key(tenant: str, scopes: frozenset[Scope], now_s: float, label: str, terms: Terms) -> tuple[str, ApiKey]:
    """A key's text, which is nowhere kept, and the key. Raises ValueError as ApiKey does."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return f"atr_{key_id}_{secret}", ApiKey(key_id, digest_of(secret), tenant, scopes, now_s, label, terms)


def parts_of(text: str) -> tuple[str, str] | None:
    """The id and the secret in a key's text; None if it has not the form of one."""
    found = _TEXT.fullmatch(text)
    return (found[1], found[2]) if found else None


def digest_of(secret: str) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def opens(key: ApiKey | None, secret: str) -> bool:
    """Whether the secret is the key's; in the same time whatever is wrong."""
    matches = hmac.compare_digest(digest_of(secret), _NOBODYS if key is None else key.digest)
    return matches and key is not None


def new_session() -> str:
    """The secret of a browser's session."""
    return secrets.token_urlsafe(32)


def csrf_token(session: str) -> str:
    """What a page must send beside the session's cookie to change anything: other sites can neither read nor compute
    it."""
    return digest_of("csrf:" + session)


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
