"""Logs as people and as machines read them."""

import json
import logging
import subprocess
import sys

from attributor.telemetry.logs import JsonFormatter, logging_about

SAYS = """
import logging
from attributor.telemetry.logs import configure_logging
configure_logging("info", "worker", "{form}")
logging.getLogger("attributor.x").info("job %s\\nis late", "job_1", extra={{"job_id": "job_1"}})
logging.getLogger("uvicorn.error").error("oh")
logging.getLogger("attributor.x").debug("not said")
"""


def said(form: str) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", SAYS.format(form=form)], capture_output=True, text=True, check=True)
    return ran.stderr.splitlines()


def test_json_is_one_object_a_line_with_the_job():
    first, second = map(json.loads, said("json"))
    time = first.pop("time")
    assert time.endswith("+00:00")
    assert first == {
        "level": "info",
        "process": "worker",
        "logger": "attributor.x",
        "message": "job job_1\nis late",
        "job_id": "job_1",
    }
    assert (second["logger"], second["level"]) == ("uvicorn.error", "error")


def test_text_is_for_people():
    first, *_ = said("text")
    assert first.endswith("worker INFO    attributor.x: job job_1")


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.ERROR, "x.py", 1, message, None, None)
    made.__dict__.update(extra)
    return made


def test_what_a_task_is_about_is_said_of_its_records_and_of_no_others():
    form = JsonFormatter("api").format
    with logging_about(trace_id="t", job_id="a"), logging_about(span_id="s"):
        within = json.loads(form(record("hello")))
        told = json.loads(form(record("hello", job_id="b")))
    assert (within["trace_id"], within["span_id"], within["job_id"]) == ("t", "s", "a")
    assert told["job_id"] == "b"
    assert "trace_id" not in json.loads(form(record("hello")))


def test_whatever_a_client_wrote_can_be_logged():
    try:
        raise ValueError("half a pair: \ud800")
    except ValueError:
        failed = record("half a pair: \ud800", exc_info=sys.exc_info())
    document = json.loads(JsonFormatter("api").format(failed))
    assert document["message"] == "half a pair: \\ud800"
    assert "ValueError: half a pair: \\ud800" in document["exception"]
