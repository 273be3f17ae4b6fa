"""A whole world for a day: a database, a sandbox, a persona, and an operator who does what is next."""

from __future__ import annotations

import asyncio
import uuid
from asyncio import to_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import SecretStr
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.headless.demo import PERSONA, seed
from persona_tui.resources import Resources
from persona_tui.runtime import Core
from persona_tui.services.generation import gates
from persona_tui.services.generation.runs import create_run, run_detail
from persona_tui.services.planning import gaps, ideas
from persona_tui.services.planning.personas import find_persona
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.post_views import PostView, list_posts
from persona_tui.services.publishing.winners import draft_for_winner
from persona_tui.services.voting import contest
from persona_tui.setting_sections import ComfyUISettings, GeminiSettings, InstagramSettings, MediaSettings
from persona_tui.settings import Settings
from persona_tui.stand_ins import StandIns
from tests.support.database import drop_schema, reachable_folder, sandbox_settings
from tests.support.sandbox import SandboxProcess

T = TypeVar("T")

ENDED = {"published", "failed", "fix_needed", "needs_human", "paused", "missed", "cancelled"}


@dataclass(frozen=True)
class DayWorld:
    """Settings of one installation, and the sandbox that it talks to."""

    settings: Settings
    sandbox: SandboxProcess

    def published(self) -> list[dict[str, Any]]:
        """What Instagram's stand-in really published."""
        return self.sandbox.ledger("instagram", "published")

    def saved(self) -> list[dict[str, Any]]:
        """What ComfyUI's stand-in really made."""
        return self.sandbox.ledger("comfyui", "saved")


@contextmanager
def day_world(sandbox: SandboxProcess) -> Iterator[DayWorld]:
    """An installation with the sample persona on a database of its own, against this sandbox."""
    token = SecretStr(sandbox.token)
    with reachable_folder() as folder:
        settings = sandbox_settings(
            folder,
            config_dir=folder / "config",
            comfyui=ComfyUISettings(urls=(sandbox.comfyui,), api_key=token, timeout=5),
            instagram=InstagramSettings(base_url=sandbox.instagram, min_gap_minutes=0),
            gemini=GeminiSettings(base_url=sandbox.gemini, api_key=token),
            media=MediaSettings(publish_url=f"file://{sandbox.media_dir}", public_base_url=sandbox.media),
        )
        stand_ins = StandIns(
            sandbox.comfyui,
            sandbox.instagram,
            sandbox.gemini,
            sandbox.media,
            sandbox.media_dir,
            sandbox.token,
        )
        try:
            with Resources.open(settings) as opened:
                seed(opened, stand_ins)
            yield DayWorld(settings, sandbox)
        finally:
            drop_schema(settings)


class Operator:
    """Does what the day needs next, whatever is there already; killed and begun again it goes on."""

    def __init__(self, core: Core) -> None:
        self.core = core

    async def finish(self) -> PostView:
        """Go on until the day's post has ended."""
        while True:
            post = await self._step()
            if post is not None and post.state in ENDED:
                return post
            await asyncio.sleep(0.05)

    async def _step(self) -> PostView | None:
        run_id = await self._do(_newest_run)
        if run_id is None:
            await self._begin()
            return None
        run = await self._do(lambda session: run_detail(session, run_id))
        if run.winner_id is None:
            await self._do(lambda session: _vote(session, run_id))
            return None
        begun = await self._do(lambda session: list_posts(session))
        post = next((one for one in begun if one.run_id == run_id), None)
        if post is None:
            post = await self._do(lambda session: draft_for_winner(session, run.winner_id))
        if post.state in {"draft", "ready"}:
            await self._publish(post)
        return post

    async def _begin(self) -> None:
        persona_id = await self._do(lambda session: find_persona(session, PERSONA).id)
        now = await self.core.now()
        gap = (await self._do(lambda session: gaps.analyse(session, persona_id, now)))[0]
        (idea,) = await self.core.propose_ideas(persona_id, gap.pillar_id, 1)

        def begin(session: Session) -> None:
            accepted = ideas.accept_idea(session, idea.id)
            create_run(
                session,
                {
                    "persona_id": persona_id,
                    "pipeline": "two-step",
                    "prompt": accepted.prompt,
                    "cluster_id": accepted.cluster_id,
                    "pillar_id": accepted.pillar_id,
                    "content_suggestion_id": accepted.id,
                },
            )
            ideas.mark_used(session, idea.id)

        await self._do(begin)

    async def _publish(self, post: PostView) -> None:
        words = await self.core.propose_caption(post.id)

        def schedule(session: Session) -> None:
            posts.write_caption(session, post.id, words.caption, words.hashtags, words.alt_text)
            posts.publish_now(session, post.id)

        await self._do(schedule)

    async def _do(self, work: Callable[[Session], T]) -> T:
        def inside() -> T:
            with self.core.database.session_scope() as session:
                return work(session)

        return await to_thread(inside)


def _newest_run(session: Session) -> int | None:
    found: int | None = session.execute(text("SELECT max(id) FROM pipeline_runs")).scalar_one()
    return found


def _vote(session: Session, run_id: int) -> None:
    """One vote and the approval of the step that waits, once all of its pictures are there."""
    step = next((one for one in run_detail(session, run_id).steps if one.approved_at is None), None)
    if step is None or step.wanted == 0 or step.active < step.wanted or step.contest_id is None:
        return
    showing = contest.next_showing(session, step.contest_id)
    if showing is not None:
        pair = [member.id for member in showing.members]
        contest.cast(session, step.contest_id, pair, pair[0], sitting=uuid.uuid4())
    preview = gates.gate_preview(session, step.id, step.top_k)
    if step.is_last:
        gates.choose_winner(session, preview.members[0].candidate_id, actor="operator")
    else:
        gates.approve(session, step.id, step.top_k, actor="operator")


async def play_day(settings: Settings) -> PostView:
    """Start the whole core, do the day, stop."""
    core = Core(settings, kind="app")
    await core.start()
    try:
        return await Operator(core).finish()
    finally:
        await core.stop()
