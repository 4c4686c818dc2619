"""Every error the service can state, as one tree. Knows no HTTP numbers: `api/problems.py` maps codes to them.

AttributorError
  RequestError                what the client sent cannot be served
    InvalidRequest            invalid_request         the body does not have the documented form
    InvalidInput              invalid_input           a value is missing, unknown, of the wrong type or not finite
    InvalidShape              invalid_shape           a tensor has another shape than the model takes
    InvalidImage              invalid_image           bytes that are not a readable picture of the right size
    ImageTooLarge             image_too_large         more pixels than the service decodes
    InvalidBase64             invalid_base64          text that is not base64
    UnknownModel              unknown_model           no such model
    UnknownVersion            unknown_version         the model has no such version
    UnknownClass              unknown_class           no such label or class index
    UnknownBaseline           unknown_baseline        the model declares no baseline of that name
    UnknownLayer              unknown_layer           no such module in the model
    UnsupportedByModel        unsupported_by_model    this model cannot be explained in that way
    UnsupportedVisualization  unsupported_visualization  that picture cannot be drawn for this input
    IdempotencyConflict       idempotency_conflict    the key was used with another body
    JobNotFound               job_not_found           no such job, or it has expired or was erased
    JobNotFinished            job_not_finished        there is no result yet
    NoResult                  no_result               the job ended without a result
    NotAcceptable             not_acceptable          no representation of the asked-for media type
    Unauthorized              unauthorized            no key, or none that is known
    Forbidden                 forbidden               the key does not open this
  Unavailable                 try again later
    ModelNotReady             model_not_ready         the model failed its proof at load
    QueueFull                 queue_full              as much waits as the service accepts
    TenantQueueFull           tenant_queue_full       as much of the tenant's waits as the service accepts of one
    QuotaExceeded             quota_exceeded          the tenant has asked for all that it may within the hour
    StoreUnavailable          store_unavailable       the job store does not answer
    PredictionTimeout         prediction_timeout      no worker answered in time
  JobError                    an accepted job failed
    ModelError                model_error             the model raised
    NonFiniteScore            non_finite_score        the model returned NaN or infinity
    NonFiniteGradient         non_finite_gradient     a gradient inside the path is NaN or infinite
    NoOtherClass              no_other_class          no input of another class to find a boundary from
    DeadlineExceeded          deadline_exceeded       the job's own deadline passed
    OutOfMemory               out_of_memory           not one point of it fits the device
    WorkerLost                worker_lost             its workers died, as often as the service retries
    InternalError             internal_error          a defect of the service
  BundleError                 bundle_error            a bundle on disk is wrong (CLI and load reports)
"""

from typing import ClassVar


class AttributorError(Exception):
    """Base of all stated errors: a stable `code`, a sentence for people, the field it is about if any."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class RequestError(AttributorError):
    """What the client sent cannot be served; sending it again will not help."""


class InvalidRequest(RequestError):
    """The body does not have the documented form."""

    code = "invalid_request"


class InvalidInput(RequestError):
    """A value of the input is missing, unknown, of the wrong type or not finite."""

    code = "invalid_input"


class InvalidShape(RequestError):
    """A tensor has another shape than the model takes."""

    code = "invalid_shape"


class InvalidImage(RequestError):
    """The bytes are not a readable picture of the size the model takes."""

    code = "invalid_image"


class ImageTooLarge(RequestError):
    """The picture has more pixels than the service decodes (a decompression bomb, perhaps)."""

    code = "image_too_large"


class InvalidBase64(RequestError):
    """The text is not base64."""

    code = "invalid_base64"


class UnknownModel(RequestError):
    """No model of that name is served."""

    code = "unknown_model"


class UnknownVersion(RequestError):
    """The model has no such version."""

    code = "unknown_version"


class UnknownClass(RequestError):
    """The model has no such label or class index."""

    code = "unknown_class"


class UnknownBaseline(RequestError):
    """The model declares no baseline of that name."""

    code = "unknown_baseline"


class UnknownLayer(RequestError):
    """No such module in the model."""

    code = "unknown_layer"


class UnsupportedByModel(RequestError):
    """This model, or one input of it, cannot be explained in the way that was asked for."""

    code = "unsupported_by_model"


class UnsupportedVisualization(RequestError):
    """That picture cannot be drawn for this kind of input."""

    code = "unsupported_visualization"


class IdempotencyConflict(RequestError):
    """The idempotency key was used before with a different body."""

    code = "idempotency_conflict"


class JobNotFound(RequestError):
    """No such job: it never existed, has expired, or was erased."""

    code = "job_not_found"


class JobNotFinished(RequestError):
    """The job is still queued or running, so there is no result to show."""

    code = "job_not_finished"


class NoResult(RequestError):
    """The job failed or was cancelled, so there is no result to show."""

    code = "no_result"


class NotAcceptable(RequestError):
    """The result has no representation of the media type asked for."""

    code = "not_acceptable"


class Unauthorized(RequestError):
    """The request comes with no key, or with one that is not known (`refused`)."""

    code = "unauthorized"

    def __init__(self, detail: str, *, refused: bool = False) -> None:
        super().__init__(detail)
        self.refused = refused


class Forbidden(RequestError):
    """The key that the request comes with does not open this."""

    code = "forbidden"


class Unavailable(AttributorError):
    """The request is fine; the service cannot serve it now. `retry_after_s`: when it may, if that is known."""

    def __init__(self, detail: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail, field=field)
        self.retry_after_s = retry_after_s


class ModelNotReady(Unavailable):
    """The model failed its proof at load; the detail says why."""

    code = "model_not_ready"


class QueueFull(Unavailable):
    """As much waits as the service accepts."""

    code = "queue_full"


class TenantQueueFull(Unavailable):
    """As much of the tenant's waits as the service accepts of one."""

    code = "tenant_queue_full"


class QuotaExceeded(Unavailable):
    """The tenant has asked for all that it may within the hour."""

    code = "quota_exceeded"


class StoreUnavailable(Unavailable):
    """The job store does not answer."""

    code = "store_unavailable"


class PredictionTimeout(Unavailable):
    """No worker answered a prediction in time."""

    code = "prediction_timeout"


class JobError(AttributorError):
    """An accepted job failed; the code and the detail stand in its record."""


class ModelError(JobError):
    """The model raised while it computed."""

    code = "model_error"


class NonFiniteScore(JobError):
    """The model returned NaN or infinity on the path."""

    code = "non_finite_score"


class NonFiniteGradient(JobError):
    """A gradient inside the path is NaN or infinite."""

    code = "non_finite_gradient"


class NoOtherClass(JobError):
    """No input of another class was found in the reference set, so there is no boundary to start from."""

    code = "no_other_class"


class DeadlineExceeded(JobError):
    """The job's own deadline passed before its answer was there."""

    code = "deadline_exceeded"


class OutOfMemory(JobError):
    """Not even one point of the job fits the device's memory beside the model."""

    code = "out_of_memory"


class WorkerLost(JobError):
    """The workers that held the job died, as often as the service retries."""

    code = "worker_lost"


class InternalError(JobError):
    """A defect of the service; its log has the details."""

    code = "internal_error"


class BundleError(AttributorError):
    """A bundle on disk is wrong: its manifest, its files, or what the model does."""

    code = "bundle_error"
