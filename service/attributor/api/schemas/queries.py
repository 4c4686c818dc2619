"""Query strings of jobs. Form only."""

from typing import Literal

from pydantic import Field

from attributor.api.schemas.fields import LONGEST_NAME, Closed
from attributor.jobs.state import JobState

Encoding = Literal["auto", "numbers", "base64-npy"]
_ENCODING = "How attributions stand in JSON; auto: numbers up to 10,000 values, base64-npy above."


class JobQuery(Closed):
    """How a job is answered, as query parameters."""

    result: int | None = Field(
        None, ge=0, description="Which result, counted from 0, for npy and PNG of a job with several."
    )
    input: str | None = Field(
        None, max_length=LONGEST_NAME, description="Whose attributions, for npy, where several inputs are explained."
    )
    encoding: Encoding = Field("auto", description=_ENCODING)


class ResultsQuery(Closed):
    """Which stretch of a job's results, as query parameters."""

    offset: int = Field(0, ge=0, description="Number of the first result, counted from 0.")
    limit: int = Field(100, ge=1, le=1_000, description="Most results on one page.")
    encoding: Encoding = Field("auto", description=_ENCODING)


class ListQuery(Closed):
    """Which jobs to list, as query parameters."""

    limit: int = Field(20, ge=1, le=100, description="Most jobs on one page.")
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")
    state: JobState | None = Field(None, description="Only jobs in this state.")
    model: str | None = Field(None, description="Only jobs of this `name` or `name@version`.")
