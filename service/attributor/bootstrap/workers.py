"""Several worker processes of one machine under a supervisor. Never imports torch."""

import os

from attributor.bootstrap.processes import environment, worker_children
from attributor.bootstrap.supervisor import Supervisor
from attributor.settings import Settings
from attributor.telemetry.logs import configure_logging


def run_workers(settings: Settings, redis_url: str, devices: str | None) -> int:
    """Work until SIGINT or SIGTERM; returns the exit status. `devices`: see `processes.worker_children`.

    Raises InvalidRequest for devices that are not there.
    """
    configure_logging(settings.log_level, "workers", settings.log_format)
    children = worker_children(settings, devices)
    os.environ.update(environment(settings) | {"ATTRIBUTOR_STORE__REDIS_URL": redis_url})
    return Supervisor(children).run()
