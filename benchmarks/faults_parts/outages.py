"""T7 to T10: a cut line, throttling, a used up quota, a dead token."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from benchmarks.faults_parts import hostile
from benchmarks.faults_parts.bulk import lay
from benchmarks.faults_parts.cable import MODES, Cable
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import Stage
from pydantic import SecretStr
from tests.support.publishing import World, tokens_of
from tests.support.publishing_sandbox import end_tokens

from persona_tui.clients.instagram_login import LoginName
from persona_tui.services.publishing.accounts import replace_token

PERSONAS = 5
DAY = 24 * 3600.0
BACK_WITHIN = 60.0
"""Seconds after healing until work goes on."""
THROTTLES = ((4, None), (17, None), (32, None), (613, None), (80002, None))
STORM, STORM_WAITS = 3 * 3600.0, 3
"""Seconds of throttling, and how often an account asks again in them when it waits an hour each time."""


def partitions(stage: Stage, *, seed: int, personas: int = PERSONAS, each: int = 12) -> Row:
    """T7: the line to Instagram breaks at random, for one second to six hours."""
    worlds = stage.begin(seed, personas=personas)
    stage.hostile(seed, share=0.001)
    for world in worlds:
        lay(world, each, world.now(), apart=1800)
    cable = Cable(stage.sandbox.instagram)
    try:
        cut_world = replace(worlds[0], site=replace(worlds[0].site, instagram=cable.address))
        weather = _Weather(cable, random.Random(seed), cut_world)
        player = stage.player(cut_world, each_round=weather.each_round)
        asyncio.run(player.until_still(timedelta(days=2)))
        weather.calm()
        asyncio.run(player.until_still(timedelta(days=1)))
    finally:
        cable.close()
    entries = stage.entries()
    row = stage.verdict(entries).as_row()
    back = _slowest_return(weather.healed, entries)
    return row | {
        "cuts": weather.cuts,
        "healed": len(weather.healed),
        "back_seconds": back,
        "broken": back > BACK_WITHIN,
    }


class _Weather:
    """Breaks and heals the line at moments drawn beforehand, one after the other.

    Attributes:
        cuts: how often the line was broken.
        healed: times of the database's clock at which the line was whole again and a post waited for it.
    """

    def __init__(self, cable: Cable, rng: random.Random, world: World) -> None:
        self.cuts = 0
        self.healed: list[datetime] = []
        self._world = world
        self._cable = cable
        self._rng = rng
        self._next = 0.0
        self._over = False

    async def each_round(self, now: datetime) -> None:
        """Change the line when its time has come."""
        if self._over or now.timestamp() < self._next:
            return
        if self._cable.mode == "up":
            await asyncio.to_thread(self._cable.switch, self._rng.choice(MODES))
            self.cuts += 1
            self._next = now.timestamp() + 10 ** self._rng.uniform(0, 4.33)  # 1 s to 6 h
        else:
            await asyncio.to_thread(self._cable.switch, "up")
            if await asyncio.to_thread(self._world.one, _PUT_OFF):
                self.healed.append(now)
            self._next = now.timestamp() + 10 ** self._rng.uniform(1, 3.5)

    def calm(self) -> None:
        """Heal for good."""
        self._cable.switch("up")
        self._over = True


_PUT_OFF = "SELECT EXISTS (SELECT FROM scheduling_posts WHERE state = 'deferred')"


def _slowest_return(healed: list[datetime], entries: list[dict[str, Any]]) -> float:
    """Longest time from a healing to the next call that came through, where one came before the next cut."""
    calls = sorted(datetime.fromisoformat(entry["at"]) for entry in entries if entry["event"] != "fault")
    waits = []
    for begin, end in zip(healed, [*healed[1:], None], strict=True):
        later = [moment for moment in calls if moment > begin and (end is None or moment < end)]
        if later:
            waits.append((later[0] - begin).total_seconds())
    return round(max(waits, default=0.0), 1)


def storm(stage: Stage, *, seed: int, kind: str = "throttle", personas: int = PERSONAS) -> Row:
    """T8: throttled for three hours, or every second call fails with 5xx."""
    worlds = stage.begin(seed, personas=personas)
    stage.behave(container_seconds=5, quota_total=1000)
    for world in worlds:
        lay(world, 3, world.now())
    if kind == "throttle":
        answers = [hostile.refusal(code, subcode) for code, subcode in THROTTLES]
        stage.mix([{"seed": seed, "chance": 1.0, "kinds": ["fail_before"], "answers": answers}])
    else:
        answers = [hostile.refusal(2, status=503), (502, "Bad gateway")]
        kinds = ["fail_before", "effect_then_error"]
        stage.mix([{"seed": seed, "chance": 0.25, "kinds": kinds, "answers": answers}])
    began = stage.clock.boot()

    async def over(_now: datetime) -> None:
        if stage.clock.boot() - began > STORM:
            await asyncio.to_thread(stage.calm_down)

    asyncio.run(stage.player(worlds[0], each_round=over).until_still(timedelta(days=2)))
    verdict = stage.verdict()
    row = verdict.as_row()
    per_wait = verdict.faults / (personas * STORM_WAITS) if kind == "throttle" else 0.0
    return row | {"calls_per_wait": round(per_wait, 2), "broken": per_wait > 2}


def quota(stage: Stage, *, seed: int, total: int = 50) -> Row:
    """T9: ten posts more in 24 hours than the quota allows; the live number counts, not one in the code."""
    (world,) = stage.begin(seed)
    stage.behave(container_seconds=1, quota_total=total)
    began = world.now()
    count = total + min(total, 10)
    lay(world, count, began, apart=DAY * 0.8 / count)
    asyncio.run(stage.player(world).until_still(timedelta(days=3)))
    entries = stage.entries()
    row = stage.verdict(entries).as_row()
    out = [entry for entry in entries if entry["event"] == "published"]
    times = [datetime.fromisoformat(entry["at"]) for entry in out]
    first_day = sum(moment < times[0] + timedelta(hours=24) for moment in times)
    order = [int(entry["caption"].rpartition(".")[2]) for entry in out]
    refused = row["sent"] - len(out)
    late = first_day > total or first_day < total - 1
    return row | {
        "in_24_hours": first_day,
        "refused": refused,
        "broken": late or order != sorted(order) or refused > 1,
    }


def dead_token(
    stage: Stage,
    *,
    seed: int,
    at: str = "list_media",
    login: str = "instagram",
    account: LoginName | None = None,
) -> Row:
    """T10: one persona's token dies between container and publish call; the others go on.

    Args:
        at: the call that learns it.
        account: as in `Stage.begin`; then all its calls fail until the owner has connected it again, which
            gives it new tokens.
    """
    worlds = stage.begin(seed, personas=3, account=account)
    stage.behave(container_seconds=1, quota_total=1000, caption_readable=login == "facebook")
    for world in worlds:
        lay(world, 3, world.now())
    code = random.Random(seed).choice((460, 463, 467))
    status, body = hostile.refusal(190, code)
    kind = "effect_then_error" if at == "media_publish" else "fail_before"
    stage.sandbox.plan("instagram", at, kind, status=status, body=body)

    async def bury(_now: datetime) -> None:
        """What one call was told holds for all that follow."""
        for world in worlds if account else ():
            if await asyncio.to_thread(world.one, _IS_PAUSED, id=world.account_id):
                await asyncio.to_thread(end_tokens, world.ig_user_id, code)

    player = stage.player(worlds[0], each_round=bury)
    asyncio.run(player.until_still(timedelta(hours=2)))
    paused = [world for world in worlds if world.one(_IS_PAUSED, id=world.account_id)]
    before = Counter(state for (state,) in worlds[0].rows("SELECT state FROM scheduling_posts"))
    for world in paused:
        _connect_again(world, account)
    player.each_round = None
    asyncio.run(player.until_still(timedelta(hours=26)))
    row = stage.verdict().as_row()
    others = before["published"]
    left = account == "facebook" and row["unresolved"] > 0
    broken = len(paused) != 1 or not 6 <= others <= 8 or row["published"] != row["posts"] or left
    return row | {"paused": len(paused), "out_before_login": others, "broken": broken}


_IS_PAUSED = "SELECT status = 'paused' FROM instagram_accounts WHERE id = :id"


def _connect_again(world: World, account: LoginName | None) -> None:
    token, root = tokens_of(world.ig_user_id, account) if account else (world.token, None)
    with world.db.session_scope() as session:
        replace_token(
            session,
            world.keyring,
            world.account_id,
            SecretStr(token),
            root=SecretStr(root) if root else None,
        )


def plan_t7(run: Run, size: Sizes) -> None:
    """T7: the line is cut."""
    for seed in range(size.seed, size.seed + size.repeats):
        run("T7", seed=seed)


def plan_t8(run: Run, size: Sizes) -> None:
    """T8: storms."""
    for seed in range(size.seed, size.seed + size.repeats):
        for kind in ("throttle", "errors"):
            run("T8", seed=seed, kind=kind)


def plan_t9(run: Run, size: Sizes) -> None:
    """T9: the quota."""
    for total in (50, 100) if size.repeats > 1 else (10,):
        run("T9", seed=size.seed, total=total)


def plan_t10(run: Run, size: Sizes) -> None:
    """T10: a token dies."""
    for seed in range(size.seed, size.seed + size.repeats):
        for login in ("instagram", "facebook"):
            for at in ("container_status", "list_media", "media_publish"):
                run("T10", seed=seed, at=at, login=login)
                if seed < size.seed + size.repeats / 3:
                    run("T10", seed=seed, at=at, account=login)


PLAYS: dict[str, Any] = {"T7": partitions, "T8": storm, "T9": quota, "T10": dead_token}
PLANS: dict[str, Any] = {"T7": plan_t7, "T8": plan_t8, "T9": plan_t9, "T10": plan_t10}
