"""The latest posteriors of this process, so that a vote need not read what the one before it has made.

Each belongs to one version of its contest's row and one last vote. Whoever stores a posterior (an undo, a
rebuild, an import, each eighth vote) makes another version; whoever votes, another last vote. What was rolled
back never is the last vote, nor the version. So a posterior that fits is right, whoever else takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from sqlmodel import Session

from persona_tui.services.voting.ranking import Posterior

CONTESTS = 8
"""Contests of a database that are kept: 80 KiB each for 100 pictures, 8 MB for 1,000."""

_lock = Lock()
_kept: WeakKeyDictionary[Any, dict[int, Recent]] = WeakKeyDictionary()
"""By engine, since contests of two databases may have the same number."""


@dataclass(frozen=True)
class Recent:
    """What the votes said after one of them.

    Attributes:
        version: of the contest's row.
        vote_id: the last vote.
        shown: how many votes have shown each member.
        votes: how many count.
        lately: indices that the last of them showed.
    """

    version: str
    vote_id: int
    belief: Posterior
    shown: tuple[int, ...]
    votes: int
    lately: tuple[tuple[int, ...], ...]

    def fits(self, version: str, last_vote_id: int | None) -> bool:
        """Whether nobody stored a posterior or voted since."""
        return self.version == version and self.vote_id == last_vote_id


def recall(session: Session, contest_id: int) -> Recent | None:
    """The contest's latest posterior of this process."""
    with _lock:
        return _kept.get(session.get_bind(), {}).get(contest_id)


def remember(session: Session, contest_id: int, after: Recent) -> None:
    """Keep it in the place of the contest's one before, and let go of the oldest where they are too many."""
    with _lock:
        contests = _kept.setdefault(session.get_bind(), {})
        contests.pop(contest_id, None)
        contests[contest_id] = after
        if len(contests) > CONTESTS:
            del contests[next(iter(contests))]


def forget(session: Session, contest_id: int) -> None:
    """Let go of a posterior that no longer fits."""
    with _lock:
        _kept.get(session.get_bind(), {}).pop(contest_id, None)
