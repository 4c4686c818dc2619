"""Pages of results as they are documented in OpenAPI. A test holds real answers to them, strictly."""

from pydantic import Field

from attributor.api.documented import Document
from attributor.api.documented_result import ResultDocument, TensorDocument
from attributor.api.documents import FailureDocument
from attributor.jobs.state import JobState


class EstimateDocument(Document):
    """What is known of an input that is still being computed, for its first target."""

    input: int = Field(description="Number of the input in the request, from 0.")
    evaluations: int = Field(description="Gradients so far.")
    completeness_error: float | None = Field(description="Relative; null while unknown.")
    attributions: dict[str, TensorDocument] | None = Field(
        description="What the answer would be if it ended now; null before there is a first one."
    )


class ResultsDocument(Document):
    """A stretch of a job's results."""

    id: str
    state: JobState
    inputs: int
    inputs_done: int
    results: list[ResultDocument] = Field(
        description="Those of the stretch that are done, in order; `input` and `target` say which each is."
    )
    estimates: list[EstimateDocument] = Field(
        description="Of the stretch's inputs that are under way; empty once the job has ended."
    )
    next: str | None = Field(description="The stretch after this one; null at the end of the list.")
    error: FailureDocument | None = Field(description="Why the job failed.")
