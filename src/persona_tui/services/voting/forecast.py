"""How many votes are still to come, and which way of voting finds the winner sooner."""

from __future__ import annotations

import math

from persona_tui.services.voting.outlook import SMALL_REGRET, Outlook


def votes_to_go(outlook: Outlook, members: int, k: int, count: int) -> int:
    """How many votes are still to come until the answer is sure: a median.

    A line through the logarithms, fitted to simulated contests (benchmarks/voting.py --fit).

    Args:
        members: active ones.
        count: shown at a time.
    """
    if outlook.sure(k):
        return 0
    left = max(outlook.regret, SMALL_REGRET) / SMALL_REGRET if k == 1 else 1 / max(outlook.top_k, 0.01)
    return max(1, round(math.sqrt(members) * left / (1 if count == 2 else 2)))
