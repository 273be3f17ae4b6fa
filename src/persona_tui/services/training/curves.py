"""Curves over a run's steps, and what of one is worth drawing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """A value at an optimizer step."""

    step: int
    value: float


def decimated(points: Sequence[Point], columns: int) -> tuple[Point, ...]:
    """At most two points for each column: the least and the greatest value of its steps, in their order.

    No peak is lost by it, unlike by a mean or by every n-th point. A curve with no more points than that
    stays as it is.

    Args:
        points: by rising steps.
        columns: of the terminal that the curve is drawn in.
    """
    if columns < 1 or len(points) <= 2 * columns:
        return tuple(points)
    first, span = points[0].step, points[-1].step - points[0].step + 1
    kept: list[Point] = []
    begin = 0
    for column in range(columns):
        end, last = begin, first + span * (column + 1) / columns
        while end < len(points) and points[end].step < last:
            end += 1
        kept += _extremes(points[begin:end])
        begin = end
    return tuple(kept)


def _extremes(points: Sequence[Point]) -> Iterable[Point]:
    if not points:
        return ()
    ends = {min(points, key=lambda one: one.value), max(points, key=lambda one: one.value)}
    return sorted(ends)
