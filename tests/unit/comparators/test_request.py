from pathlib import Path

import numpy as np
import pytest
from attributor.comparators.request import Request, unpack
from attributor.jobs.explanation import Method
from loaded import comparison, floats, loaded, row
from torch import nn

MODEL = loaded(nn.Linear(2, 2), row(2))


def test_a_request_survives_the_way():
    spec = comparison(MODEL, Method.LIME, floats(1.0, 2.0), options={"samples": 3}, seed=7)
    request = Request(Path("/models/some name/1"), spec, "cpu", 2, allow_torch_export=True)
    found = unpack(request.pack())
    assert (found.folder, found.device, found.threads) == (request.folder, "cpu", 2)
    assert found.allow_torch_export
    assert found.spec.explanation.options == {"samples": 3}
    assert np.array_equal(found.spec.inputs[0]["x"], spec.inputs[0]["x"])


@pytest.mark.parametrize("length", [0, 3, 20, -1])
def test_a_message_that_is_cut_off_is_refused(length):
    message = Request(Path("folder"), comparison(MODEL, Method.LRP, floats(1.0, 2.0)), "cpu", 1).pack()
    with pytest.raises(ValueError, match=r"."):
        unpack(message[:length])
