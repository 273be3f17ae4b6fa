"""Plays a real plan at speed: on a copy of the database, against the sandbox, on a clock of its own."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from asyncio import to_thread
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import text

from persona_tui.database import migrate
from persona_tui.database.engine import Database, open_database
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.pool import WorkPool
from persona_tui.resources import Resources
from persona_tui.services.leadership import this_process
from persona_tui.services.planning.upkeep import PlanUpkeep
from persona_tui.services.publishing.accounts import add_account
from persona_tui.services.publishing.policy import PublishPolicy, ReconcilePolicy
from persona_tui.services.publishing.publisher import Publisher
from persona_tui.services.publishing.reconcile import Reconciler
from persona_tui.services.publishing.rehearsal import (
    CopiedPlan,
    Rehearsal,
    RehearsedPost,
    copy_plan,
    copy_posts,
    read_outcome,
)
from persona_tui.setting_sections import InstagramSettings, MediaSettings
from persona_tui.settings import Settings
from persona_tui.stand_ins import StandIns, running_stand_ins

MOST_DAYS = 60
CONTAINER_SECONDS = 5.0
"""How long the sandbox takes a picture in; Meta's users saw about as much."""
_SHORTEST_STEP = timedelta(seconds=5)
_BLOCKED_STEP = timedelta(minutes=1)

Progress = Callable[[int, int, datetime], None]
"""(posts that are out, posts planned, the rehearsal's clock)"""


async def rehearse(
    opened: Resources, days: int, *, progress: Progress = lambda _out, _of, _now: None
) -> Rehearsal:
    """Play what is planned for the next days and tell what came of it; the plan itself stays untouched.

    Args:
        days: 1 to 60, from now on.

    Raises:
        InvalidRequest: no such number of days.
        NotAllowedNow: nothing is planned in these days.
        PersonaError: the copy or the sandbox can't be made.
    """
    if not 1 <= days <= MOST_DAYS:
        raise InvalidRequest(f"A rehearsal plays 1 to {MOST_DAYS} days.", hint="Say --days 7.")
    with ExitStack() as stack:
        copy = await to_thread(lambda: stack.enter_context(_copied_database(opened)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="persona-rehearsal-")))
        stand_ins = await to_thread(lambda: stack.enter_context(running_stand_ins(folder)))
        stage = _Stage(opened, copy, stand_ins)
        stack.callback(stage.close)
        return await stage.play(days, progress)


class _Stage:
    """The copy, the sandbox, and the clock that both go by."""

    def __init__(self, opened: Resources, copy: Database, stand_ins: StandIns) -> None:
        self._source = opened.database
        self._copy = copy
        self._stand_ins = stand_ins
        self._http = httpx.Client(headers={"Authorization": f"Bearer {stand_ins.token}"}, timeout=10.0)
        self._resources = Resources(_settings(copy.settings, stand_ins), copy)
        self._resources.media = opened.media  # read only: the pictures are the plan's own
        self._advanced = 0.0

    def close(self) -> None:
        self._http.close()

    async def play(self, days: int, progress: Progress) -> Rehearsal:
        began = time.monotonic()
        begun_at = await to_thread(self._resources.now)
        end = begun_at + timedelta(days=days)
        planned = await to_thread(self._copy_plan, end)
        await to_thread(self._behave)
        pool = WorkPool()
        parts: dict[str, Any] = {
            "make_client": self._resources.instagram_client,
            "keyring": self._resources.keyring,
            "settings": self._resources.settings,
            "owner": this_process().id,
        }
        # One account at a time: each wait moves the one clock of all.
        publisher = Publisher(
            self._copy.session_scope,
            self._resources.media,
            host=self._resources.media_host,
            pool=pool,
            policy=PublishPolicy(at_once=1, patience=600.0),
            sleep=self._sleep,
            boot_clock=lambda: time.monotonic() + self._advanced,
            **parts,
        )
        reconciler = Reconciler(
            self._copy.session_scope, policy=ReconcilePolicy(at_once=1, patience=600.0), **parts
        )
        gap = timedelta(minutes=self._resources.settings.instagram.min_gap_minutes)
        upkeep = PlanUpkeep(self._copy.session_scope, min_gap=gap)
        try:
            while (now := await to_thread(self._resources.now)) < end:
                await reconciler.tick(now)
                await publisher.tick(now)
                await to_thread(upkeep.tick, now)
                progress(await to_thread(self._out), len(planned), now)
                following = await to_thread(self._next_moment)
                if following is None:
                    break
                await self._sleep((min(following, end) - now).total_seconds())
        finally:
            await publisher.aclose()
            await reconciler.aclose()
            await pool.aclose()
        return await to_thread(self._outcome, planned, begun_at, days, time.monotonic() - began)

    async def _sleep(self, seconds: float) -> None:
        await to_thread(self._advance, max(seconds, 0.0))

    def _advance(self, seconds: float) -> None:
        with self._copy.connect("owner", autocommit=True) as connection:
            connection.execute(
                "UPDATE installation SET clock_offset = clock_offset + make_interval(secs => %s)", [seconds]
            )
        self._steer("_sandbox/clock", {"advance": seconds})
        self._advanced += seconds

    def _steer(self, path: str, values: dict[str, Any]) -> Any:
        return self._http.post(f"{self._stand_ins.instagram}/{path}", json=values).raise_for_status().json()

    def _behave(self) -> None:
        self._steer("sandbox/behaviour", {"container_seconds": CONTAINER_SECONDS})

    def _copy_plan(self, end: datetime) -> dict[int, tuple[datetime, str, str]]:
        source, target = self._source.schema, self._copy.schema
        with self._copy.connect("owner") as connection:
            plan = copy_plan(connection, source, target, until=end)
            connection.commit()
        if not plan.posts:
            raise NotAllowedNow(
                "Nothing is planned in these days, so there is nothing to rehearse.",
                hint="Schedule posts, or rehearse more days.",
            )
        accounts = self._make_accounts(plan)
        with self._copy.connect("owner") as connection:
            copy_posts(connection, source, target, plan, accounts)
            rows = connection.execute("SELECT id, scheduled_at, wall_time, zone FROM scheduling_posts")
            planned = {row[0]: (row[1], row[2], row[3]) for row in rows.fetchall()}
            connection.commit()
        return planned

    def _make_accounts(self, plan: CopiedPlan) -> dict[int, int]:
        made = {}
        with self._copy.session_scope() as session:
            for account in plan.accounts:
                facts = {"ig_user_id": account.ig_user_id, "username": account.username}
                self._steer("sandbox/accounts", {**facts, "is_me": False})
                values = {**facts, "persona_id": account.persona_id, "login": account.login}
                token = SecretStr(self._stand_ins.token)
                view = add_account(session, self._resources.keyring, {**values, "token": token})
                made[account.id] = view.id
        return made

    def _out(self) -> int:
        with self._copy.session_scope() as session:
            count: int = session.execute(
                text("SELECT count(*) FROM scheduling_posts WHERE state = 'published'")
            ).scalar_one()
        return count

    def _next_moment(self) -> datetime | None:
        """When there is something to do again; None: never."""
        with self._copy.session_scope() as session:
            now, planned, due, waits, held = session.execute(_NEXT).one()
        moments = [moment for moment in (planned, waits) if moment is not None]
        if due:
            moments.append(now + _BLOCKED_STEP)  # an account's gap, or another post of it on its way
        if held:
            moments.append(now + _SHORTEST_STEP)
        return max(min(moments), now + timedelta(seconds=1)).astimezone(UTC) if moments else None

    def _outcome(
        self, planned: dict[int, tuple[datetime, str, str]], begun_at: datetime, days: int, seconds: float
    ) -> Rehearsal:
        answer = self._http.get(
            f"{self._stand_ins.instagram}/_sandbox/ledger", params={"event": "published"}
        ).raise_for_status()
        with self._copy.connect("owner") as connection:
            return read_outcome(
                connection, planned, answer.json(), begun_at=begun_at, days=days, seconds=seconds
            )


_NEXT = text(
    "SELECT persona_now(),"
    " min(scheduled_at) FILTER (WHERE state = 'scheduled' AND scheduled_at > persona_now()),"
    " bool_or(state = 'scheduled' AND scheduled_at <= persona_now()),"
    " min(lease_until) FILTER (WHERE lease_until > persona_now() AND state <> 'published'),"
    " bool_or(lease_until <= persona_now() AND state IN ('claimed', 'staged', 'creating', 'container',"
    "  'publishable', 'sending', 'unknown', 'reconciling', 'deferred'))"
    " FROM scheduling_posts"
)


def _settings(settings: Settings, stand_ins: StandIns) -> Settings:
    """The plan's own settings with the sandbox's addresses, and no secret that is for anybody else."""
    instagram = InstagramSettings(
        base_url=stand_ins.instagram, min_gap_minutes=settings.instagram.min_gap_minutes
    )
    media = MediaSettings(publish_url=f"file://{stand_ins.media_dir}", public_base_url=stand_ins.media)
    return settings.model_copy(update={"instagram": instagram, "media": media})


@contextmanager
def _copied_database(opened: Resources) -> Iterator[Database]:
    """An empty, migrated schema beside the real one, a sandbox's; dropped behind us."""
    settings = opened.settings
    _drop_leftovers(opened.database)
    schema = f"{opened.database.schema}_rehearsal_{os.getpid()}"
    copy_settings: Settings = settings.model_copy(
        update={"database_schema": schema, "environment": "sandbox"}
    )
    copy = open_database(copy_settings)
    try:
        migrate.upgrade(copy, backup_dir=None, keep=1)
        with copy.connect("owner", autocommit=True) as connection:
            connection.execute("UPDATE installation SET environment = 'sandbox'")
        yield copy
    finally:
        with copy.connect("owner", autocommit=True) as connection:
            _drop(connection, schema)
        copy.dispose()


def _drop_leftovers(database: Database) -> None:
    """Copies of rehearsals that were killed."""
    prefix = f"{database.schema}_rehearsal_"
    with database.connect("owner", autocommit=True) as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [prefix])
        for (name,) in rows.fetchall():
            pid = name.removeprefix(prefix)
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                _drop(connection, name)


def _drop(connection: Any, schema: str) -> None:
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def told(played: Rehearsal) -> list[str]:
    """The report in lines that fit a dialog at 80 columns: what did not go out first, then the rest."""
    out = played.ended.get("published", 0)
    late = [post.late_seconds for post in played.posts if post.late_seconds is not None]
    lines = [
        f"{'✅' if played.smooth else '⚠️ '} {played.days} days in {played.seconds:.0f} s:"
        f" {out} of {len(played.posts)} posts went out, {played.doubled} doubled, {played.lost} lost."
    ]
    if late:
        lines.append(f"Late after its moment: median {median(late):.0f} s, most {max(late):.0f} s.")
    return lines + [_line(post) for post in sorted(played.posts, key=lambda post: post.state == "published")]


def _line(post: RehearsedPost) -> str:
    when = f"{datetime.fromisoformat(post.wall_time):%a %d %b %H:%M}"
    kind = "" if post.kind == "single" else f", a {post.kind}"
    became = "out" if post.state == "published" else post.state.replace("_", " ")
    after = f" {post.late_seconds:.0f} s later" if post.late_seconds is not None else ""
    reason = f": {post.reason}" if post.reason else ""
    return f"{when}  post {post.id} of {post.persona}{kind}: {became}{after}{reason}"


def run_rehearsal(
    settings: Settings, days: int, *, progress: Progress = lambda _out, _of, _now: None
) -> Rehearsal:
    """`rehearse` for a command: opens and closes what it needs."""
    with Resources.open(settings) as opened:
        return asyncio.run(rehearse(opened, days, progress=progress))


__all__ = ["MOST_DAYS", "Progress", "rehearse", "run_rehearsal", "told"]
