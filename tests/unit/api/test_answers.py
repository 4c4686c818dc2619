"""Times are written to the millisecond, whatever was written before."""

from datetime import UTC, datetime

from attributor.api.answers import summary
from attributor.jobs.job import JobKind, JobRecord
from attributor.jobs.state import JobState
from hypothesis import given
from hypothesis import strategies as st


def created_at(seconds: float) -> str:
    return summary(JobRecord("j", JobKind.ATTRIBUTION, JobState.QUEUED, "t", "m", "1", "d", 1, 1, 0, seconds), 0)[
        "created_at"
    ]


@given(st.integers(0, 4_000_000_000), st.lists(st.integers(-3_000, 3_000), min_size=1))
def test_a_time_is_written_in_utc_to_the_millisecond(second, offsets_ms):
    for ms in offsets_ms:
        seconds = max(second * 1000 + ms, 0) / 1000
        written = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
        assert created_at(seconds) == written.replace("+00:00", "Z")
