"""How deep a server's queue is to be."""

from __future__ import annotations

import pytest

from persona_tui.services.generation.depth import Depth


def measured(*seconds: float, least: int = 2, ahead: float = 3.0, most: int = 64) -> Depth:
    depth = Depth(least, ahead, most)
    for one in seconds:
        depth.note(one)
    return depth


def test_nothing_measured_keeps_the_least() -> None:
    assert (measured().target, measured().low) == (2, 1)


@pytest.mark.parametrize(("seconds", "target"), [(60.0, 2), (3.0, 2), (1.0, 4), (0.25, 13), (0.1, 31)])
def test_the_queue_holds_three_seconds_behind_the_one_that_runs(seconds: float, target: int) -> None:
    assert measured(*[seconds] * 3).target == target


@pytest.mark.parametrize("seconds", [0.01, 0.0, -1.0])
def test_however_short_jobs_are_the_queue_is_bounded(seconds: float) -> None:
    assert measured(*[seconds] * 3).target == 64


def test_it_shrinks_back_when_jobs_take_longer_and_one_odd_job_moves_nothing() -> None:
    depth = measured(*[0.1] * 9)
    depth.note(40.0)
    assert depth.target == 31
    for _ in range(5):
        depth.note(40.0)
    assert depth.target == 2


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.25, 0.5])
def test_a_queue_that_is_refilled_still_holds_almost_two_seconds(seconds: float) -> None:
    depth = measured(*[seconds] * 3)
    assert depth.low < depth.target
    assert depth.low * seconds >= 1.9


def test_no_seconds_ahead_keep_the_least_and_the_least_beats_the_most() -> None:
    assert measured(0.01, ahead=0.0).target == 2
    assert measured(0.01, least=1, ahead=0.0).low == 0
    assert measured(0.01, least=8, most=4).target == 8
