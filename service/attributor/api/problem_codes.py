"""Every problem code over HTTP: its status, its title, what it means and what to do. docs/errors.md is made from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from attributor import errors


@dataclass(frozen=True, slots=True)
class Meaning:
    """One code. `means` and `advice` are Markdown, a sentence or two."""

    status: int
    title: str
    means: str
    advice: str


@dataclass(frozen=True, slots=True)
class Section:
    """Codes that belong together, under a heading and a word on them all."""

    heading: str
    about: str
    codes: Mapping[str, Meaning]


SECTIONS: tuple[Section, ...] = (
    Section(
        "The request cannot be read",
        "",
        {
            "malformed_json": Meaning(
                400,
                "The body is not JSON",
                "The body is not JSON: bad syntax, not UTF-8, nested without end, or a number of thousands of digits.",
                "Send what a JSON library writes.",
            ),
            "not_found": Meaning(
                404,
                "No such resource",
                "The service has no such path.",
                "See `/docs` for the paths there are.",
            ),
            "method_not_allowed": Meaning(
                405,
                "The resource does not have that method",
                "The path exists, but not with that method.",
                "Use one of those in `Allow`.",
            ),
            errors.Unauthorized.code: Meaning(
                401,
                "No key, or an unknown one",
                "The service asks for API keys; the request came with none, or with one that was revoked or never was.",
                "Send `Authorization: Bearer <key>`; `attributor keys create` makes one.",
            ),
            errors.Forbidden.code: Meaning(
                403,
                "The key does not open this",
                "The key lacks a scope, or a page used a session without its `csrf_token`.",
                "Ask who runs the service for a key with that scope; send `csrf_token` as `X-CSRF-Token`.",
            ),
            errors.NotAcceptable.code: Meaning(
                406,
                "No such representation",
                "The result has no representation of the media types in `Accept`, or it holds several results where "
                "the type holds one.",
                "Ask for `application/json`, or one of the types named in the answer.",
            ),
            "body_too_large": Meaning(
                413,
                "The body is too large",
                "The body has more bytes than the service takes (16 MB unless set otherwise).",
                "Send fewer inputs per request.",
            ),
            "unsupported_media_type": Meaning(
                415,
                "The body must be application/json",
                "`Content-Type` is missing or is not JSON.",
                "Send `Content-Type: application/json`.",
            ),
            errors.InvalidRequest.code: Meaning(
                422,
                "The request does not have the documented form",
                "A field is missing, unknown, of the wrong type or out of range.",
                "Correct the fields named in `errors`.",
            ),
            errors.IdempotencyConflict.code: Meaning(
                422,
                "The idempotency key was used with another body",
                "The `Idempotency-Key` was used before, with another body.",
                "Use a new key for a new request.",
            ),
        },
    ),
    Section(
        "The model, or what is asked of it",
        "",
        {
            errors.UnknownModel.code: Meaning(
                404,
                "No such model",
                "No model of that name is served.",
                "See `GET /v1/models`.",
            ),
            errors.UnknownVersion.code: Meaning(
                404,
                "No such version of the model",
                "The model is there, but not in that version.",
                "Take one of the versions named, or the bare name for the default one.",
            ),
            errors.UnknownClass.code: Meaning(
                422,
                "The model has no such class",
                "The model has no such label or class index.",
                "Take a label of the model's `output.labels`, or an index from 0.",
            ),
            errors.UnknownBaseline.code: Meaning(
                422,
                "The model has no such baseline",
                "The model names no such baseline, and there is no such kind.",
                "Take one of the model's `baselines` or of its inputs' `baseline_kinds`, or send one in the form of an "
                "input.",
            ),
            errors.UnknownLayer.code: Meaning(
                422,
                "The model has no such layer",
                "The model has no module of that name.",
                "Take the name of one of the model's `layers`.",
            ),
            errors.UnsupportedByModel.code: Meaning(
                422,
                "The model cannot be explained in that way",
                "This model, or one input of it, cannot be explained in that way: no picture to blur, no reference set "
                "to draw from, no classes to rank, a method that the worker lacks.",
                "The detail says what would do; see the model's `methods` and `scales`, and its inputs' "
                "`baseline_kinds` and `path_kinds`.",
            ),
            errors.UnsupportedVisualization.code: Meaning(
                422,
                "That picture cannot be drawn for this input",
                "That picture cannot be drawn for this kind of input, or not of a layer.",
                "Take one of the input's `visualizations`.",
            ),
        },
    ),
    Section(
        "The inputs",
        "",
        {
            errors.InvalidInput.code: Meaning(
                422,
                "An input value cannot be used",
                "A value is missing, unknown, of the wrong type, not finite, or beyond float32.",
                "Correct the value at `field`.",
            ),
            errors.InvalidShape.code: Meaning(
                422,
                "A tensor has the wrong shape",
                "A tensor has another shape than the model takes, or its lists are ragged.",
                "Send the shape of the model's `inputs`, nested or flat.",
            ),
            errors.InvalidImage.code: Meaning(
                422,
                "The picture cannot be used",
                "The bytes are no readable PNG or JPEG of the model's width and height, or the picture is transparent "
                "or deeper than 8 bits.",
                "Convert or resize the picture.",
            ),
            errors.ImageTooLarge.code: Meaning(
                422,
                "The picture is too large",
                "The picture declares more pixels than the service decodes.",
                "Resize it to what the model takes.",
            ),
            errors.InvalidBase64.code: Meaning(
                422,
                "The text is not base64",
                "The text is not base64.",
                "Encode with the standard alphabet, padded, without line breaks.",
            ),
        },
    ),
    Section(
        "The job",
        "",
        {
            errors.JobNotFound.code: Meaning(
                404,
                "No such job",
                "There is no such job: it never was, has expired, or was erased.",
                "Create it anew.",
            ),
            errors.JobNotFinished.code: Meaning(
                409,
                "The job is not finished",
                "The job is queued or running, so there is nothing to draw.",
                "Wait for its end: `Prefer: wait`, its events, or polling.",
            ),
            errors.NoResult.code: Meaning(
                409,
                "The job ended without a result",
                "The job failed or was cancelled.",
                "Look at the job's `error`.",
            ),
        },
    ),
    Section(
        "The service cannot serve it now",
        "",
        {
            errors.ModelNotReady.code: Meaning(
                503,
                "The model is not ready",
                "The model failed its proof when it was loaded; the detail says why.",
                "Mend the bundle: `attributor models check` shows every finding.",
            ),
            errors.QueueFull.code: Meaning(
                503,
                "The queue is full",
                "As much work waits as the service accepts.",
                "Send it again after `Retry-After`, which comes from what the workers get done.",
            ),
            errors.TenantQueueFull.code: Meaning(
                429,
                "Your part of the queue is full",
                "As much of your work waits as the service accepts of one tenant.",
                "Send it again after `Retry-After`, or wait for your own jobs to end.",
            ),
            errors.QuotaExceeded.code: Meaning(
                429,
                "The quota of this hour is used up",
                "With this job you would have asked for more evaluations within the hour than your key allows.",
                "Send it again after `Retry-After`, or ask for less: `:estimate` tells what a job takes.",
            ),
            errors.StoreUnavailable.code: Meaning(
                503,
                "The job store does not answer",
                "The job store does not answer, or takes no writes.",
                "Send it again later; see `/health/ready`.",
            ),
            errors.PredictionTimeout.code: Meaning(
                503,
                "No worker answered in time",
                "No worker answered a prediction in time.",
                "Send it again later; see `workers` in `/health/ready`.",
            ),
        },
    ),
    Section(
        "The job failed",
        "These stand in the `error` of a failed job, with the same code and title; as a response of their own they are "
        "seen only from `:predict`, which has no job to show. Other jobs, also of the same batch, are not touched. "
        "`unsupported_by_model` and `unknown_layer` stand there too, where only the loaded model could tell.",
        {
            errors.ModelError.code: Meaning(
                500,
                "The model raised an error",
                "The model raised an exception; the detail holds its type and first line.",
                "Check the input; the worker's log has the trace for the operator.",
            ),
            errors.NonFiniteScore.code: Meaning(
                422,
                "The model's output is not finite",
                "The model's output is NaN or infinite somewhere on the path from the baseline to the input.",
                "Take another input or another baseline.",
            ),
            errors.NoOtherClass.code: Meaning(
                422,
                "No input of another class was found",
                "The baseline `other_class` was asked for, and the reference set holds no input that is classified "
                "otherwise.",
                "Take another baseline.",
            ),
            errors.NonFiniteGradient.code: Meaning(
                422,
                "The model's gradient is not finite",
                "The gradient is NaN or infinite inside the path, or too large to add up.",
                "Take another baseline or another scale of the target.",
            ),
            errors.DeadlineExceeded.code: Meaning(
                504,
                "The job's deadline passed",
                "The job's own `deadline_s` passed before its answer was there.",
                "Allow more time, ask for less (`POST /v1/attributions:estimate` tells what it costs), or raise its "
                "`priority`. What was done in time may still be had from the job's `/results`.",
            ),
            errors.OutOfMemory.code: Meaning(
                500,
                "The job does not fit the device's memory",
                "Not even one point of the job fits the device's memory beside the model.",
                "Send a smaller input, or ask the operator for a larger device.",
            ),
            errors.WorkerLost.code: Meaning(
                500,
                "The workers that held the job died",
                "The workers that held the job died, as often as the service tries.",
                "It may be what kills them: ask the operator before you send it again.",
            ),
            errors.InternalError.code: Meaning(
                500,
                "A defect of the service",
                "A defect of the service.",
                "Report it with the time; the log has the details.",
            ),
        },
    ),
)

#: By code, in the order of the page. A code that is not here is a defect.
CODES: Mapping[str, Meaning] = {code: meaning for section in SECTIONS for code, meaning in section.codes.items()}
