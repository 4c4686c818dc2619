"""Logging set-up, the same for every process of the service."""

import logging
import sys


def configure_logging(level: str, process: str) -> None:
    """Log to standard error, one line a record, with the name of the process: `api`, `worker`, `serve`."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format=f"%(asctime)s {process:<6} %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
    # Its start and stop lines say what ours say.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
