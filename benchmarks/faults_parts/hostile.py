"""How bad the world is: the default mix of R23, and answers that say nothing about what happened."""

from __future__ import annotations

from typing import Any

SHARE = 0.05
"""Of calls, for each kind of fault."""
LISTING_DELAY = (0.0, 300.0)
BEHAVIOUR: dict[str, Any] = {
    "container_seconds": 5,
    "listing_delay": LISTING_DELAY,
    "stale_status": 0.1,
    "foreign_posts": 0.1,
    "unreadable_alt_text": 0.2,
    "second_publish": "any",
    "quota_total": 1000,
}


def refusal(code: int, subcode: int | None = None, status: int = 400) -> tuple[int, dict[str, Any]]:
    """An error of the Graph API: status and body."""
    error: dict[str, Any] = {"message": "no", "type": "OAuthException", "code": code}
    if subcode is not None:
        error["error_subcode"] = subcode
    return status, {"error": error}


PASSING = (refusal(1, status=500), refusal(2, status=503), refusal(-1, 2207001), (502, "Bad gateway"))
"""Trouble that passes, whatever was asked."""
AT_READING = (*PASSING, refusal(100, 33))
AT_PUBLISHING = (
    *PASSING,
    refusal(100, 33),
    refusal(9007, 2207027),
    refusal(24, 2207008),
    refusal(506),
)
"""Answers to `media_publish` behind which a post was seen to be out all the same (A.6)."""
RESTRICTING = refusal(4, 2207051)
"""Seen with the post live as well; it also stops the account."""


def mixes(seed: int, share: float = SHARE) -> list[dict[str, Any]]:
    """Each kind of fault at this share of calls."""
    return [
        _mix(seed, share, PASSING, "create_container"),
        _mix(seed, share, AT_PUBLISHING, "media_publish"),
        _mix(seed, share, AT_READING),
    ]


def _mix(seed: int, share: float, answers: tuple[Any, ...], *calls: str) -> dict[str, Any]:
    return {"seed": seed, "chance": share, "answers": answers, "calls": calls}
