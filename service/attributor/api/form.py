"""How a client wants results to be written."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Form:
    """`encoding`: how arrays stand in JSON; auto: by their size. `fields`: which ones a result has; None: all."""

    encoding: str = "auto"
    fields: frozenset[str] | None = None

    def has(self, name: str) -> bool:
        """Whether a result has the field."""
        return self.fields is None or name in self.fields


#: Without a word on it.
USUAL = Form()
