"""Item 5, T10: kill -9 and races of processes while a token is renewed; no token is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.publishing import World, add_persona, make_world

from persona_tui.clients.instagram_login import LoginName
from persona_tui.database.engine import Database
from persona_tui.services.publishing.grants import client_of

NEVER = 10**6
PENDING = "SELECT count(*) FROM instagram_accounts WHERE previous_token_ciphertext IS NOT NULL"
ASKED = "SELECT count(*) FROM instagram_accounts WHERE token_checked_at IS NOT NULL"
"""From here on the next answer is that of the renewal."""


class Child:
    """A process that looks at tokens in forks of its own, killed as ordered."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.publishing_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, world: World, **order: Any) -> None:
        """Let it look; it answers when it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"world": world.facts(), "duty": "tokens", **order}) + "\n")
        self.process.stdin.flush()

    def ended(self) -> dict[str, Any]:
        """How it ended."""
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()


@pytest.fixture(scope="module")
def children() -> Iterator[tuple[Child, Child]]:
    with ExitStack() as stack:
        both = Child(), Child()
        for child in both:
            stack.callback(child.close)
        yield both


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    made = make_world(db, tmp_path)
    made.do("DELETE FROM instagram_accounts")
    return made


def due_for_renewal(world: World, login: LoginName) -> None:
    add_persona(world, "Bea", login, age=31 * 24 * 3600.0)
    due(world)


def due(world: World) -> None:
    world.do(
        "UPDATE instagram_accounts SET token_due_at = NULL, token_checked_at = NULL,"
        " token_obtained_at = persona_now() - interval '31 days',"
        " token_expires_at = persona_now() + interval '29 days', token_refreshed_at = NULL"
    )


def lengthened(world: World) -> int:
    kind = {"account", "user"}
    return sum(entry["kind"] in kind for entry in world.calls("token_issued"))


async def works(world: World) -> bool:
    """Whether Instagram takes the token that is stored."""
    with world.db.session_scope() as session:
        client = client_of(session, world.keyring, world.client, world.account_id)
    try:
        return (await client.me()).ig_user_id == world.ig_user_id
    finally:
        await client.aclose()


@pytest.mark.parametrize("login", ["instagram", "facebook"])
@pytest.mark.parametrize(
    ("boundary", "when", "pending"),
    [
        pytest.param("http:after_reply", ASKED, 0, id="renewed-not-stored"),
        pytest.param("commit:after", PENDING, 1, id="stored-not-asked"),
    ],
)
async def test_publishing_5_t10_a_kill_within_a_renewal_loses_no_token(
    world: World, children: tuple[Child, Child], login: LoginName, boundary: str, when: str, pending: int
) -> None:
    due_for_renewal(world, login)
    children[0].begin(world, boundary=boundary, when=when)
    assert children[0].ended()["signal"] == signal.SIGKILL
    assert await works(world) and world.one(PENDING) == pending
    assert (await world.token_keeper().tick()) == ()  # the dead look holds the account for five minutes
    world.advance_clocks(301)
    (look,) = await world.token_keeper().tick()
    assert look.said == "fine" and await works(world) and world.one(PENDING) == 0


@pytest.mark.long
@pytest.mark.parametrize("login", ["instagram", "facebook"])
async def test_publishing_5_t10_a_kill_at_any_boundary_of_a_renewal_loses_no_token(
    world: World, children: tuple[Child, Child], login: LoginName
) -> None:
    hits, pending, n = 0, 0, 0
    due_for_renewal(world, login)
    while True:
        n += 1
        world.advance_clocks(2 * 24 * 3600.0)
        due(world)
        children[0].begin(world, n=n)
        ended = children[0].ended()
        assert await works(world)
        if ended["signal"] == 0:
            break
        assert ended["signal"] == signal.SIGKILL
        hits, pending = hits + 1, pending + world.one(PENDING)
        world.advance_clocks(301)
        await world.token_keeper().tick()
        assert await works(world) and world.one(PENDING) == 0
    assert hits == n - 1 >= 12 and pending >= 2
    assert world.one("SELECT status FROM instagram_accounts") == "active"


@pytest.mark.parametrize("login", ["instagram", "facebook"])
async def test_publishing_5_t10_two_processes_renew_a_token_once(
    world: World, children: tuple[Child, Child], login: LoginName
) -> None:
    due_for_renewal(world, login)
    for child in children:
        child.begin(world, n=NEVER)
    assert [child.ended()["exit"] for child in children] == [0, 0]
    assert lengthened(world) == 1 and await works(world)
    assert world.one("SELECT count(*) FROM audit_events WHERE action = 'account.renew'") == 1
