"""One line for each event, whatever a client wrote into it."""

import logging

import pytest
from attributor.telemetry.audit import audit


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR])
def test_it_is_told_whatever_else_is(caplog, level):
    caplog.handler.setLevel(logging.NOTSET)
    logging.getLogger().setLevel(level)
    try:
        audit("refused", path="/v1/x\ny code=ok", key=None, client="::1", label="a" * 900)
    finally:
        logging.getLogger().setLevel(logging.WARNING)
    [line] = [record.getMessage() for record in caplog.records if record.name == "attributor.audit"]
    assert line == f"refused path=/v1/x%0Ay%20code%3Dok client=::1 label={'a' * 200}"
