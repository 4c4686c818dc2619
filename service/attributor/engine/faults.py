"""Whose fault an exception is, and the sentence that the client gets."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from attributor.errors import AttributorError, InternalError, ModelError
from attributor.jobs.job import Failure

log = logging.getLogger(__name__)

#: Of a model's own exception message, so much reaches the client. Ours: a sentence, not a dump.
MESSAGE_CHARACTERS = 200


def failure(error: Exception, where: str = "", *, job_id: str | None = None) -> Failure:
    """An exception as a job's failure: our stated errors as they say, anything else as a defect of ours.

    `where` names the input, for jobs that have several; `job_id` is for the log. Its traceback is dropped: the frames
    in it, whoever holds the exception, would keep a pass's vectors and its model until the collector looks.
    """
    if isinstance(error, AttributorError):
        error.__traceback__ = None
        return Failure(error.code, f"{where}: {error.detail}" if where else error.detail)
    log.error("a defect ended a job", exc_info=error, extra={"job_id": job_id})
    error.__traceback__ = None
    return Failure(InternalError.code, "a defect of the service ended this job; its log has the details")


#: What bundle code may raise without ending the worker: `sys.exit` in it is a fault of the model like any other.
RAISED_BY_MODELS = (Exception, SystemExit)


def model_error(error: BaseException) -> AttributorError:
    """What a model raised, by type and first line: bundle code is the operator's, so its message may be shown."""
    if isinstance(error, AttributorError):
        return error
    log.warning("a model raised", exc_info=error)
    first_line = (str(error).splitlines() or [""])[0][:MESSAGE_CHARACTERS]
    return ModelError(f"the model raised {type(error).__name__}: {first_line}")


@contextmanager
def of_the_model() -> Iterator[None]:
    """What is raised within is the model's fault. Raises ModelError, or the AttributorError that it is."""
    try:
        yield
    except RAISED_BY_MODELS as error:
        raise model_error(error) from error
