"""What is found out about a store. Knows nothing of how."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is: PROBLEM, the service cannot do its work; WARNING, it can, but."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`about`: what was looked at; `remedy`: what to do, if anything."""

    level: Level
    about: str
    said: str
    remedy: str = ""
