"""Which tests there are, and what one case of each is."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.faults_parts import answers, crowds, kills
from benchmarks.faults_parts.book import Play
from benchmarks.faults_parts.sizes import Run, Sizes

PLAYS: dict[str, Play] = {"T1": kills.kill, **answers.PLAYS, **crowds.PLAYS}
PLANS: dict[str, Callable[[Run, Sizes], None]] = {"T1": kills.plan, **answers.PLANS, **crowds.PLANS}
