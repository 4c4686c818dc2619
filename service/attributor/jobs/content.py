"""The digest of all that an answer depends on, so that equal questions can share one. Knows jobs, no store."""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import replace

from attributor.jobs.codec import encode
from attributor.jobs.job import JobSpec


def content_key(spec: JobSpec) -> str:
    """The sha256 of a job's model (by digest), inputs (bytes, dtype, shape), explanation, quadrature and what was given
    in place of inputs, and of its tenant, so that nobody learns what others asked: 43 characters of base64url.

    What says only how the job is treated or shown is left out: priority, deadline, fingerprint, trace, pictures (drawn
    from the stored result). Jobs whose answers are drawn by chance without a seed must not be compared by it.
    Equal questions may have two keys, and then share nothing: the form of a message hangs on zlib's build, and on which
    tensors are one object.
    """
    question = replace(spec, fingerprint="", visualizations=(), priority=1, deadline_s=None, traceparent="")
    digest = hashlib.sha256(encode(question)).digest()
    # Short enough for the store to keep it in the compact form of a small record, as sha256 in hex is not.
    return urlsafe_b64encode(digest).decode().rstrip("=")
