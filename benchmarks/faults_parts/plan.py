"""Which tests there are, and what one case of each is."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.faults_parts import (
    answers,
    comparison,
    crowds,
    hosts,
    kills,
    leaders,
    outages,
    pictures,
    soak,
    storage,
    words,
)
from benchmarks.faults_parts.book import Play
from benchmarks.faults_parts.sizes import Run, Sizes

_PARTS = (kills, answers, crowds, outages, hosts, soak, storage, pictures, words, comparison, leaders)

PLAYS: dict[str, Play] = {name: play for part in _PARTS for name, play in part.PLAYS.items()}
_plans = {name: plan for part in _PARTS for name, plan in part.PLANS.items()}
PLANS: dict[str, Callable[[Run, Sizes], None]] = dict(
    sorted(_plans.items(), key=lambda item: int(item[0][1:]))
)

BY_THE_MACHINE = frozenset({"T6", "T7", "T11", "T15", "T19", "T21"})
"""Tests whose outcome hangs on how fast the machine is: nothing else runs beside them."""
