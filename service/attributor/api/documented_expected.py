"""What a job will cost, as it is documented in OpenAPI. A test holds real answers to it, strictly."""

from pydantic import Field

from attributor.api.documented import Document
from attributor.api.documents import ModelRef


class CountDocument(Document):
    """A number, as it is to be expected and as it can be at most."""

    expected: int
    at_most: int


class CountsDocument(Document):
    """Points that are passed through the model."""

    evaluations: CountDocument = Field(description="With a gradient: the unit of cost.")
    forwards: CountDocument = Field(description="With a score, those included.")


class SecondsDocument(Document):
    """Of the model's passes on one worker that has nothing else to do, in full passes; a few points take longer each,
    and what the service spends around them, some milliseconds a job, is not in it."""

    expected: float
    at_most: float


class QueueDocument(Document):
    """What it would wait for."""

    jobs_ahead: int = Field(description="Jobs that would be taken before it.")
    wait_s: float | None = Field(description="0 where none is; else null: what the jobs ahead will cost is not known.")


class MemoryDocument(Document):
    """Of a worker, for this job, bytes."""

    points: int = Field(description="Of examples, noisy copies, baselines and vertices of paths.")
    vectors: int = Field(
        description="Of gradients kept until their input is done; not of a layer, whose size is not known here."
    )
    one_pass: int | None = Field(description="Of the largest pass that the job fills; null while it is not measured.")
    total: int | None = Field(description="Null while the pass is not measured.")


class ExpectedDocument(Document):
    """What a job is expected to cost; nothing was computed or queued."""

    model: ModelRef
    inputs: int
    per_input: CountsDocument
    total: CountsDocument = Field(description="Of all inputs.")
    compute_s: SecondsDocument | None
    compute_reason: str | None = Field(description="Why `compute_s` is null.")
    queue: QueueDocument
    memory_bytes: MemoryDocument
    answer_bytes: int = Field(
        description="Of the results as they are stored, numbers as float32. As JSON numbers they are about five times "
        "as many, as base64 npy a third more."
    )
