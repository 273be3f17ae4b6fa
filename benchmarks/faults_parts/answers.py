"""T2 to T5: publish calls whose answer is lost, wrong, late, or followed by a day without Instagram.

A case with `account` goes through that login's adapter, each account under a token of its own. The others go
through Instagram Login's under the sandbox's bearer; their `login` says what the sandbox lets be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from benchmarks.faults_parts import hostile
from benchmarks.faults_parts.play import Player
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import Stage, percentile
from sqlalchemy import text
from tests.support.publishing import World

from persona_tui.clients.instagram_login import LoginName
from persona_tui.services.publishing import posts

LOGINS = ("instagram", "facebook")
PERSONAS, POSTS_EACH = 10, 5
OTHERS_EACH = 2
"""Posts of each persona where all kinds go through both adapters."""
IN_TIME = 25 * 60.0
"""Seconds after which a post that was not heard must be out (R25)."""
LIMIT = timedelta(hours=8)
DAY = 24 * 3600.0 + 600.0
STATES_A_PERSON_SETTLES = "SELECT id FROM scheduling_posts WHERE state = 'needs_human' ORDER BY id"


def lost_replies(
    stage: Stage,
    *,
    seed: int,
    login: str = "instagram",
    account: LoginName | None = None,
    kind: str = "single",
    personas: int = PERSONAS,
    each: int = POSTS_EACH,
) -> Row:
    """T2: it is published, and the answer says nothing, or something else.

    Args:
        kind: of the posts: `single`, `carousel` or `reel`.
    """
    worlds = _plan(stage, seed, login, personas, each, account=account, kind=kind)
    answers = (*hostile.AT_PUBLISHING, hostile.RESTRICTING)
    kinds = ("effect_then_drop", "effect_then_error", "garbage")
    lost = {"seed": seed, "chance": 1 / 3, "kinds": kinds, "answers": answers, "calls": ["media_publish"]}
    stage.mix([lost, *hostile.mixes(seed)])
    _play(stage, worlds[0])
    row = stage.verdict().as_row()
    return row | {"broken": "facebook" in {login, account} and row["unresolved"] > 0}


def unheard(
    stage: Stage,
    *,
    seed: int,
    login: str = "instagram",
    account: LoginName | None = None,
    personas: int = PERSONAS,
) -> Row:
    """T3: it is not published, and the answer is lost: the same container goes out after a quiet time."""
    worlds = _plan(stage, seed, login, personas, 1, account=account)
    stage.calm_down()
    for number in range(personas):
        status, body = hostile.AT_PUBLISHING[(seed + number) % len(hostile.AT_PUBLISHING)]
        kind = ("fail_before", "drop_before")[number % 2]
        stage.sandbox.plan("instagram", "media_publish", kind, status=status, body=body)
    _play(stage, worlds[0])
    verdict = stage.verdict()
    late = percentile(verdict.late, 1.0)
    again = verdict.containers > verdict.posts
    return verdict.as_row() | {"broken": late > IN_TIME or again}


def stale(
    stage: Stage,
    *,
    seed: int,
    login: str = "instagram",
    account: LoginName | None = None,
    personas: int = PERSONAS,
) -> Row:
    """T4: the answer is lost, the container goes on to say FINISHED, and the listing is five minutes old."""
    worlds = _plan(stage, seed, login, personas, 1, account=account)
    stage.behave(listing_delay=[300, 300], stale_status=0.0, second_publish="publish_again")
    lost = {"seed": seed, "chance": 0.5, "kinds": ["effect_then_drop", "effect_then_error"]}
    stage.mix([{**lost, "calls": ["media_publish"]}])
    player = stage.player(worlds[0])
    asyncio.run(player.round())
    stage.behave(stale_status=1.0)
    asyncio.run(player.until_still(timedelta(minutes=15)))
    stage.behave(stale_status=0.5)
    asyncio.run(player.until_still(LIMIT))
    row = stage.verdict().as_row()
    return row | {"broken": account == "facebook" and row["unresolved"] > 0}


def outage(
    stage: Stage, *, seed: int, login: str = "instagram", heard: bool = True, personas: int = PERSONAS
) -> Row:
    """T5: Instagram is away for a day from the sending on; then the container has expired."""
    worlds = _plan(stage, seed, login, personas, 1)
    stage.calm_down()
    kind = "effect_then_drop" if heard else "drop_before"
    stage.sandbox.plan("instagram", "media_publish", kind, times=personas)
    player = stage.player(worlds[0])
    asyncio.run(player.round())
    stage.sandbox.plan("instagram", "*", "drop_before", times=None)
    asyncio.run(player.until_still(timedelta(seconds=60)))
    stage.clock.advance(DAY)
    asyncio.run(player.until_still(timedelta(seconds=60)))
    stage.calm_down()
    asyncio.run(player.until_still(LIMIT))
    alone = stage.verdict(entries := stage.entries())
    asyncio.run(_settle_by_hand(player, worlds[0]))
    entries += stage.entries()
    verdict = stage.verdict(entries)
    row = verdict.as_row() | {"unresolved": alone.unresolved}
    # Whoever was heard must be found again; whoever was not is out once after the operator's word.
    broken = bool(alone.unresolved) if heard and login == "facebook" else verdict.published < verdict.posts
    return row | {"broken": broken}


async def _settle_by_hand(player: Player, world: World) -> None:
    """What the operator does with posts left to a person: look, then say that they are not out."""
    for (post_id,) in world.rows(STATES_A_PERSON_SETTLES):
        listing = await player.reconciler.look(post_id)
        ours = [item for item in listing.items if item.likeness is not None]
        with world.db.session_scope() as session:
            if ours:
                posts.adopt(session, post_id, ours[0].facts.id)
                continue
            posts.mark_not_published(session, post_id)
            posts.publish_now(session, post_id)
    await player.until_still(LIMIT)


def _plan(
    stage: Stage,
    seed: int,
    login: str,
    personas: int,
    each: int,
    *,
    account: LoginName | None = None,
    kind: str = "single",
) -> list[World]:
    worlds = stage.begin(seed, personas=personas, account=account)
    stage.hostile(seed, caption_readable=login == "facebook")
    for world in worlds:
        for number in range(each):
            if kind == "carousel":
                world.carousel()
            elif kind == "reel":
                world.reel()
            else:
                world.post(alt_text=f"A cup by the window {seed} {world.account_id} {number}")
    return worlds


def _play(stage: Stage, world: World) -> None:
    async def set_free(_now: datetime) -> None:
        """The operator lets accounts go on that an answer has stopped."""
        await asyncio.to_thread(free_accounts, world)

    asyncio.run(stage.player(world, each_round=set_free).until_still(LIMIT))


def free_accounts(world: World) -> None:
    """Let stopped accounts go on."""
    with world.db.session_scope() as session:
        session.execute(text("UPDATE instagram_accounts SET status = 'active' WHERE status = 'restricted'"))


def plan_t2(run: Run, size: Sizes) -> None:
    """T2: published, and the answer lost."""
    _batches("T2", run, size, size.publishes // (PERSONAS * POSTS_EACH))
    for seed, account in _through_both(size, size.publishes // 800):
        for kind in ("single", "carousel", "reel"):
            run("T2", seed=seed, account=account, kind=kind, each=OTHERS_EACH)


def plan_t3(run: Run, size: Sizes) -> None:
    """T3: not published, and the answer lost."""
    _batches("T3", run, size, size.publishes // (PERSONAS * 10))
    for seed, account in _through_both(size, size.publishes // 1000):
        run("T3", seed=seed, account=account)


def plan_t4(run: Run, size: Sizes) -> None:
    """T4: states and listings that lag behind."""
    _batches("T4", run, size, size.publishes // (PERSONAS * 50))
    for seed, account in _through_both(size, size.publishes // 1000):
        run("T4", seed=seed, account=account)


def plan_t5(run: Run, size: Sizes) -> None:
    """T5: a day without Instagram after the sending."""
    for seed, login in _cases(size, size.publishes // (PERSONAS * 50)):
        for heard in (True, False):
            run("T5", seed=seed, login=login, heard=heard)


def _batches(test: str, run: Run, size: Sizes, count: int) -> None:
    for seed, login in _cases(size, count):
        run(test, seed=seed, login=login)


def _through_both(size: Sizes, seeds: int) -> Sequence[tuple[int, LoginName]]:
    """So many seeds, each through both logins' adapters."""
    both: tuple[LoginName, ...] = ("instagram", "facebook")
    return [(size.seed + number, account) for number in range(max(seeds, 1)) for account in both]


def _cases(size: Sizes, count: int) -> Sequence[tuple[int, str]]:
    """So many seeds, every second one under Facebook Login."""
    return [(size.seed + number, LOGINS[number % 2]) for number in range(max(count, 2))]


PLAYS: dict[str, Any] = {"T2": lost_replies, "T3": unheard, "T4": stale, "T5": outage}
PLANS: dict[str, Any] = {"T2": plan_t2, "T3": plan_t3, "T4": plan_t4, "T5": plan_t5}
