"""The audit log: who was given a key, who signed in, who was refused. One line each; no secrets, no payloads."""

import logging
from urllib.parse import quote

_log = logging.getLogger("attributor.audit")
# Whatever else the log shows: an audit with gaps is none.
_log.setLevel(logging.INFO)

#: Characters of a value that are shown. Ours: a path of ours is shorter.
_LONGEST = 200


def audit(event: str, **about: str | None) -> None:
    """Log an event, and what is known about it, as `name=value`. Values may be a client's: what could end a line or
    stand for another value is percent-encoded."""
    known = [f"{name}={quote(value[:_LONGEST], safe=_SAFE)}" for name, value in about.items() if value is not None]
    _log.info(" ".join((event, *known)))


_SAFE = "/:@+,;()[]{}*$!'~"
