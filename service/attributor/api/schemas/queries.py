"""Query strings of jobs. Form only."""

from difflib import get_close_matches
from functools import cached_property
from hashlib import md5
from typing import Literal

from pydantic import Field, field_validator

from attributor.api.form import Form
from attributor.api.result_documents import FIELDS
from attributor.api.schemas.fields import LONGEST_NAME, Closed
from attributor.jobs.state import JobState

Encoding = Literal["auto", "numbers", "base64-npy"]
_ENCODING = "How attributions stand in JSON; auto: numbers up to 10,000 values, base64-npy above."


class FormQuery(Closed):
    """How results are written, as query parameters."""

    encoding: Encoding = Field("auto", description=_ENCODING)
    fields: str | None = Field(
        None,
        description="Which fields results have, by their names with commas between, as in "
        "`input,target,attributions,completeness_error`; without it all. Fewer are answered sooner. Of JSON "
        "only; a request that polls the job names them again.",
    )

    @field_validator("fields")
    @classmethod
    def _is_known(cls, asked: str | None) -> str | None:
        for name in () if asked is None else _names(asked):
            if name not in FIELDS:
                near = get_close_matches(name, FIELDS, 1)
                hint = f"did you mean '{near[0]}'?" if near else "there are " + ", ".join(FIELDS)
                raise ValueError(f"results have no field '{name[:LONGEST_NAME]}'; {hint}")
        return asked

    @cached_property
    def form(self) -> Form:
        """The same, as documents are made by it."""
        return Form(self.encoding, None if self.fields is None else frozenset(_names(self.fields)))

    def of_a_job(self) -> "JobQuery":
        """The same, of all results of a job."""
        return JobQuery.model_validate(self.model_dump())


class JobQuery(FormQuery):
    """How a job is answered, as query parameters."""

    result: int | None = Field(
        None, ge=0, description="Which result, counted from 0, for npy and PNG of a job with several."
    )
    input: str | None = Field(
        None, max_length=LONGEST_NAME, description="Whose attributions, for npy, where several inputs are explained."
    )

    @cached_property
    def tag(self) -> str:
        """The same, as part of an ETag, which holds neither quotes nor anything beyond ASCII."""
        return md5(self.model_dump_json().encode(), usedforsecurity=False).hexdigest()


class ResultsQuery(FormQuery):
    """Which stretch of a job's results, as query parameters."""

    offset: int = Field(0, ge=0, description="Number of the first result, counted from 0.")
    limit: int = Field(100, ge=1, le=1_000, description="Most results on one page.")


class ListQuery(Closed):
    """Which jobs to list, as query parameters."""

    limit: int = Field(20, ge=1, le=100, description="Most jobs on one page.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")
    state: JobState | None = Field(None, description="Only jobs in this state.")
    model: str | None = Field(None, description="Only jobs of this `name` or `name@version`.")


def _names(asked: str) -> list[str]:
    return [name.strip() for name in asked.split(",")]
