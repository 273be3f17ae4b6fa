"""How many votes are still to come, by a rule of thumb."""

from __future__ import annotations

import math

from persona_tui.services.voting.outlook import SMALL_REGRET, Outlook


def votes_to_go(outlook: Outlook, members: int, k: int, count: int) -> int:
    """How many votes are still to come until the answer is sure: a median.

    A rule of thumb, not calibrated: votes grow with the root of the members and with what is still at stake.

    Args:
        members: active ones.
        count: shown at a time.
    """
    if outlook.sure(k):
        return 0
    left = max(outlook.regret, SMALL_REGRET) / SMALL_REGRET if k == 1 else 1 / max(outlook.top_k, 0.01)
    return max(1, round(math.sqrt(members) * left / (1 if count == 2 else 2)))
