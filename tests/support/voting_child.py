"""A process that votes and is killed on the way: `python -m tests.support.voting_child`.

Serves `fork_server`'s orders: each child goes on voting in one contest until it kills itself where the order
says. Its lines are the boundaries it reached and, as `vote:<id>`, the votes that it was told are kept.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np

from persona_tui import boundaries
from persona_tui.services.voting import contest
from tests.support.fork_server import Killer, Order, database_of, serve


def _vote(order: Order, reached: Path) -> None:
    """Vote after vote; never returns."""
    code = 1
    try:
        database = database_of(order["world"])
        rng, sitting = np.random.default_rng(order["seed"]), uuid.UUID(int=order["seed"])
        with database.connect(autocommit=True) as eye, reached.open("a", buffering=1) as log:
            with database.session_scope() as session:
                showing = contest.next_showing(session, order["contest"], rng=rng)
            boundaries.observe(Killer(order, eye, log))
            for _ in range(order["votes"]):
                assert showing is not None
                shown = [member.id for member in showing.members]
                with database.session_scope() as session:
                    vote, showing = contest.cast_and_choose(
                        session, order["contest"], shown, max(shown), sitting=sitting, count=2, rng=rng
                    )
                log.write(f"vote:{vote}\n")
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(_vote)
