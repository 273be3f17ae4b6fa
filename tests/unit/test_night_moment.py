"""From when on the night mode may pass gates, as a person writes it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.run_acts import night_moment

EVENING = datetime(2026, 6, 1, 20, 30, tzinfo=UTC)
"""21:30 in Lisbon."""


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        ("23:00", datetime(2026, 6, 1, 22, tzinfo=UTC)),
        ("21:29", datetime(2026, 6, 2, 20, 29, tzinfo=UTC)),
        ("9:05", datetime(2026, 6, 2, 8, 5, tzinfo=UTC)),
        ("2026-12-24T23:00", datetime(2026, 12, 24, 23, tzinfo=UTC)),
        ("2026-06-01T23:00+02:00", datetime(2026, 6, 1, 21, tzinfo=UTC)),
    ],
)
def test_a_time_is_the_next_one_on_the_zones_clock(words: str, moment: datetime) -> None:
    assert night_moment(words, "Europe/Lisbon", EVENING) == moment


def test_the_night_in_which_the_clock_changes_is_no_hour_off() -> None:
    before = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)  # the clock goes forward at 01:00 UTC

    assert night_moment("06:00", "Europe/Lisbon", before) == datetime(2026, 3, 29, 5, tzinfo=UTC)


@pytest.mark.parametrize("words", ["", "tonight", "24:00", "12:60", "2026-13-01T10:00", "10"])
def test_what_is_no_time_is_told(words: str) -> None:
    with pytest.raises(InvalidRequest, match="is no time"):
        night_moment(words, "Europe/Lisbon", EVENING)
