"""How many votes are still to come, as simulated contests needed them."""

from __future__ import annotations

import math

from persona_tui.services.voting.outlook import SMALL_REGRET, Outlook

_DUELS, _GRIDS = (3.1, 0.85, 0.13), (4.8, 0.5, 0.05)
"""Votes that half of the contests need at most while everything is open: factor, and power of the members;
then the logits of regret above the small one in which what is left rises to two thirds of that."""


def votes_to_go(outlook: Outlook, members: int, k: int, count: int) -> int | None:
    """How many votes are still to come until the answer is sure: half of the contests need no more.

    `factor · members^power · (1 − exp(−(regret − 0.1) / scale))`, fitted to contests of 10 to 100 pictures
    that were played until sure; `benchmarks/voting.py --only forecast` checks it on others. A quarter of the
    contests needs less than half of it, a quarter more than 1.7 times.

    Args:
        members: active ones.
        count: shown at a time.

    Returns:
        None for a gate that takes several: there it depends on the gap between the last one in and the first
        one out, and reached from 15 votes to more than 900.
    """
    if outlook.sure(k):
        return 0
    if k > 1:
        return None
    factor, power, scale = _DUELS if count == 2 else _GRIDS
    open_share = 1 - math.exp(-max(outlook.regret - SMALL_REGRET, 0.0) / scale)
    return max(1, round(factor * math.pow(members, power) * open_share))
