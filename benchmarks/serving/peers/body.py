"""The form of a request: ours, as a user of FastAPI declares it."""

from typing import Any

from pydantic import BaseModel


class Body(BaseModel):
    """What ours takes, too."""

    model: str
    inputs: list[dict[str, dict[str, Any]]]
