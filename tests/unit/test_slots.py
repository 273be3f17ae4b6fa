"""Times: wall clocks that skip and repeat, and what an operator may write."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from persona_tui.errors import InvalidRequest
from persona_tui.services.planning.slots import parse_when, resolve

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_a_skipped_wall_time_moves_forward() -> None:
    slot = resolve(datetime(2027, 3, 14, 2, 30), "America/New_York")
    assert slot.at == datetime(2027, 3, 14, 7, 30, tzinfo=UTC)
    assert slot.wall_time == "2027-03-14T03:30"


def test_a_repeated_wall_time_is_the_first() -> None:
    slot = resolve(datetime(2026, 11, 1, 1, 30), "America/New_York")
    assert slot.at == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert slot.wall_time == "2026-11-01T01:30"


def test_a_zone_with_three_quarters_of_an_hour() -> None:
    assert resolve(datetime(2026, 12, 1, 9, 0), "Asia/Kathmandu").at == datetime(
        2026, 12, 1, 3, 15, tzinfo=UTC
    )


def test_local_and_offset_times_are_read() -> None:
    assert parse_when("2026-11-24T18:00", "Europe/Berlin", NOW).at == datetime(
        2026, 11, 24, 17, 0, tzinfo=UTC
    )
    assert parse_when("2026-11-24T18:00+00:00", "Europe/Berlin", NOW).wall_time == "2026-11-24T19:00"
    assert parse_when("now", "Europe/Berlin", NOW).at == NOW


@pytest.mark.parametrize("words", ["tomorrow-ish", "2026-13-01", "", "2026-11-20T10:00"])
def test_what_is_no_time_or_past_is_refused(words: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_when(words, "UTC", NOW)
