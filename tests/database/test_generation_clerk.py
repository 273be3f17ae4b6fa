"""The engine's clerk: acts that wait together share a commit, and one that fails harms no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.database.engine import Database
from persona_tui.services.generation.clerk import Clerk
from tests.support.world import insert, make_persona


class Gatehouse:
    """A session scope that counts transactions and lets the first one wait until it is told."""

    def __init__(self, db: Database) -> None:
        self.transactions = 0
        self.open = threading.Event()
        self._db = db

    @contextmanager
    def __call__(self) -> Iterator[Session]:
        self.transactions += 1
        assert self.open.wait(30)
        with self._db.session_scope() as session:
            yield session


def open_clerk(db: Database) -> tuple[Gatehouse, Clerk]:
    """A clerk whose first transaction waits for nobody."""
    scope = Gatehouse(db)
    scope.open.set()
    return scope, Clerk(scope)


def named(name: str) -> object:
    """An act that makes a persona."""
    return lambda session: make_persona(session, name).id


def names(db: Database) -> list[str]:
    with db.session_scope() as session:
        return list(session.execute(text("SELECT name FROM personas ORDER BY id")).scalars())


async def test_acts_with_a_rank_that_wait_together_share_a_commit_in_the_order_of_ranks(db: Database) -> None:
    scope = Gatehouse(db)
    clerk = Clerk(scope)
    first = asyncio.create_task(clerk.run(named("first")))
    while not scope.transactions:
        await asyncio.sleep(0)
    waiting = [asyncio.create_task(clerk.run(named(f"rank {rank}"), rank=(0, rank))) for rank in (3, 1, 2)]
    await asyncio.sleep(0)
    scope.open.set()
    await asyncio.gather(first, *waiting)
    clerk.close()

    assert scope.transactions == 2
    assert names(db) == ["first", "rank 1", "rank 2", "rank 3"]


async def test_an_act_without_a_rank_has_a_transaction_of_its_own(db: Database) -> None:
    scope = Gatehouse(db)
    clerk = Clerk(scope)
    acts = [
        asyncio.create_task(clerk.run(named("a"), rank=(0, 1))),
        asyncio.create_task(clerk.run(named("b"))),
        asyncio.create_task(clerk.run(named("c"), rank=(0, 1))),
    ]
    await asyncio.sleep(0)
    scope.open.set()
    await asyncio.gather(*acts)
    clerk.close()

    assert scope.transactions == 3
    assert names(db) == ["a", "b", "c"]


async def test_one_that_fails_is_told_so_and_the_others_are_kept(db: Database) -> None:
    def broken(session: Session) -> int:
        return insert(session, "image_candidates", run_id=0)

    scope = Gatehouse(db)
    clerk = Clerk(scope)
    first = asyncio.create_task(clerk.run(named("first")))
    while not scope.transactions:
        await asyncio.sleep(0)
    acts = [
        asyncio.create_task(clerk.run(act, rank=(0, rank)))
        for rank, act in enumerate((named("before"), broken, named("after")))
    ]
    await asyncio.sleep(0)
    scope.open.set()
    await first
    results = await asyncio.gather(*acts, return_exceptions=True)
    clerk.close()

    assert isinstance(results[1], IntegrityError)
    assert names(db) == ["first", "before", "after"]


def make_named(session: Session, things: Sequence[str]) -> list[tuple[str, int]]:
    """Make personas; each is told how many came together. A "broken" one breaks the transaction."""
    for thing in things:
        if thing == "broken":
            insert(session, "image_candidates", run_id=0)
        make_persona(session, thing)
    return [(thing, len(things)) for thing in things]


async def test_things_of_one_act_that_may_linger_are_done_by_one_call(db: Database) -> None:
    scope, clerk = open_clerk(db)
    told = await asyncio.gather(
        *(clerk.together(make_named, name, rank=(0, 1), linger=0.2) for name in ("a", "b", "c"))
    )
    clerk.close()

    assert told == [("a", 3), ("b", 3), ("c", 3)]
    assert scope.transactions == 1


async def test_an_act_that_may_not_wait_ends_the_lingering_of_those_before_it(db: Database) -> None:
    _, clerk = open_clerk(db)
    lingering = asyncio.create_task(clerk.together(make_named, "patient", rank=(0, 1), linger=3600))
    await asyncio.sleep(0)
    await clerk.run(named("now"))

    assert await lingering == ("patient", 1)
    assert names(db) == ["patient", "now"]
    clerk.close()


async def test_a_closing_clerk_lets_nothing_linger(db: Database) -> None:
    _, clerk = open_clerk(db)
    lingering = asyncio.create_task(clerk.together(make_named, "patient", rank=(0, 1), linger=3600))
    await asyncio.sleep(0)
    clerk.close()

    assert await lingering == ("patient", 1)


async def test_of_things_done_together_one_that_fails_harms_no_other(db: Database) -> None:
    _, clerk = open_clerk(db)
    told = await asyncio.gather(
        *(clerk.together(make_named, name, rank=(0, 1), linger=0.2) for name in ("a", "broken", "b")),
        return_exceptions=True,
    )
    clerk.close()

    assert [told[0], told[2]] == [("a", 1), ("b", 1)]
    assert isinstance(told[1], IntegrityError)
    assert names(db) == ["a", "b"]


async def test_a_clerk_that_was_closed_does_what_waits_and_works_again_when_asked(db: Database) -> None:
    scope = Gatehouse(db)
    clerk = Clerk(scope)
    act = asyncio.create_task(clerk.run(named("waits")))
    await asyncio.sleep(0)
    clerk.close()
    scope.open.set()
    await act
    await clerk.run(named("later"))
    clerk.close()

    assert names(db) == ["waits", "later"]


def test_the_driver_sees_what_the_session_has_and_speaks_in_the_sessions_errors(db: Database) -> None:
    with db.session_scope() as session:
        persona = make_persona(session, "100% :name")
        found = rows_of(
            session,
            "SELECT id, name::text AS name FROM personas WHERE id = :id AND name LIKE '100%' AND :word <> ''",
            {"id": persona.id, "word": "x"},
        )
        assert [(row.id, row.name) for row in found] == [(persona.id, "100% :name")]
        assert rows_of(session, "UPDATE personas SET age = 40 WHERE id = :id", {"id": persona.id}) == []
    with pytest.raises(IntegrityError), db.session_scope() as session:
        rows_of(session, "UPDATE personas SET name = NULL WHERE id = :id", {"id": persona.id})
    assert names(db) == ["100% :name"]
