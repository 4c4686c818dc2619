"""What all bodies have in common that are documented in OpenAPI."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A body of ours has every field that is documented, and no other."""

    model_config = ConfigDict(extra="forbid")
