"""The day: gap → idea → pictures → vote → winner → caption → scheduled → posted, with scripted votes."""

from __future__ import annotations

import time
import uuid
from asyncio import to_thread
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sqlmodel import Session

from persona_tui.errors import NotAllowedNow
from persona_tui.headless.demo import PERSONA, demo_world
from persona_tui.resources import Say
from persona_tui.runtime import Core, wait_until
from persona_tui.services.generation import gates
from persona_tui.services.generation.runs import RunView, create_run, run_detail
from persona_tui.services.library.analysis import measure
from persona_tui.services.planning import captions, gaps, ideas
from persona_tui.services.planning.personas import find_persona
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.post_views import get_post
from persona_tui.services.publishing.winners import draft_for_winner
from persona_tui.services.voting import contest
from persona_tui.services.voting.contest import Member
from persona_tui.settings import Settings

PATIENCE = timedelta(minutes=3)
VOTES_PER_STEP = 12


@dataclass(frozen=True)
class DemoResult:
    """The day in figures, as `demo --headless --json` prints it."""

    persona: str
    gaps_before: list[dict[str, Any]]
    ideas: int
    candidates: int
    votes: int
    winner: int
    cluster: str
    post: dict[str, Any]
    gaps_after: list[dict[str, Any]]
    seconds: float


def told(result: DemoResult) -> Iterator[str]:
    """The day in a few lines for people."""
    yield f"🎉 {result.persona}: {result.ideas} ideas, {result.candidates} pictures, {result.votes} votes"
    yield f"   candidate {result.winner} won and joined “{result.cluster}”"
    yield f"   post {result.post['id']} is {result.post['state']} as {result.post['media_id']}"
    yield f"   in {result.seconds:.1f} s"


async def play(*, say: Say) -> DemoResult:
    """Play gap → idea → pictures → vote → winner → caption → scheduled → posted, without a screen.

    Raises:
        PersonaError: a step failed, in words.
    """
    with demo_world(say) as settings:
        return await play_once(settings, say=say)


async def play_once(settings: Settings, *, say: Say) -> DemoResult:
    """Play one day in a demo world that is there already.

    Raises:
        PersonaError: a step failed, in words.
    """
    core = Core(settings, kind="scheduler", say=say)
    await core.start()
    try:
        return await _Day(core, say).play()
    finally:
        await core.stop()


class _Day:
    """The operator's day, step by step."""

    def __init__(self, core: Core, say: Say) -> None:
        self.core = core
        self.say = say
        self.sitting = uuid.uuid4()
        self.votes = 0

    async def play(self) -> DemoResult:
        began = time.monotonic()
        if not await wait_until(self._leads, timeout=PATIENCE):
            raise NotAllowedNow("Another demo is running.", hint="Leave it first.")
        persona_id = await self._do(lambda session: find_persona(session, PERSONA).id)
        before = await self._gaps(persona_id)
        run_id, proposed = await self._begin_run(persona_id, before[0].pillar_id)
        await self._vote_through(run_id)
        run = await self._do(lambda session: run_detail(session, run_id))
        assert run.winner_id is not None
        post = await self._publish(run.winner_id)
        after = await self._gaps(persona_id)
        return DemoResult(
            PERSONA,
            [asdict(gap) for gap in before],
            proposed,
            sum(step.active + step.rejected for step in run.steps),
            self.votes,
            run.winner_id,
            post["cluster"],
            post,
            [asdict(gap) for gap in after],
            round(time.monotonic() - began, 2),
        )

    async def _do(self, work: Callable[[Session], Any]) -> Any:
        def inside() -> Any:
            with self.core.database.session_scope() as session:
                return work(session)

        return await to_thread(inside)

    async def _leads(self) -> bool:
        return self.core.leader

    async def _gaps(self, persona_id: int) -> tuple[gaps.PillarGap, ...]:
        now = await self.core.now()
        found: tuple[gaps.PillarGap, ...] = await self._do(
            lambda session: gaps.analyse(session, persona_id, now)
        )
        return found

    async def _begin_run(self, persona_id: int, pillar_id: int) -> tuple[int, int]:
        self.say("Asking for ideas…")
        proposed = await self.core.propose_ideas(persona_id, pillar_id)

        def begin(session: Session) -> int:
            idea = ideas.accept_idea(session, proposed[0].id)
            run = create_run(
                session,
                {
                    "persona_id": persona_id,
                    "pipeline": "two-step",
                    "prompt": idea.prompt,
                    "name": idea.title,
                    "cluster_id": idea.cluster_id,
                    "pillar_id": pillar_id,
                    "content_suggestion_id": idea.id,
                },
            )
            ideas.mark_used(session, idea.id)
            return run.id

        self.say(f"Making pictures for “{proposed[0].title}”…")
        return await self._do(begin), len(proposed)

    async def _vote_through(self, run_id: int) -> None:
        steps = (await self._do(lambda session: run_detail(session, run_id))).steps
        for position in range(1, len(steps) + 1):
            step = await self._finished_step(run_id, position)
            self.say(f"Voting on {step.active} pictures of step {position}…")
            await self._vote(await self._do(partial(contest.contest_of_step, run_step_id=step.id)))
            await self._do(partial(self._close, step=step))

    async def _finished_step(self, run_id: int, position: int) -> Any:
        async def finished() -> bool:
            run: RunView = await self._do(lambda session: run_detail(session, run_id))
            if run.status == "failed":
                raise NotAllowedNow(f"The run failed: {run.reason}", hint="See the log.")
            step = run.steps[position - 1]
            return step.wanted > 0 and step.active >= step.wanted

        if not await wait_until(finished, timeout=PATIENCE):
            raise NotAllowedNow("The pictures did not come in time.", hint="See the log.")
        return (await self._do(lambda session: run_detail(session, run_id))).steps[position - 1]

    async def _vote(self, contest_id: int) -> None:
        """Vote for the calmer, better exposed picture until the best one is sure enough."""
        marks: dict[str, float] = {}
        for _ in range(VOTES_PER_STEP):
            showing = await self._do(lambda session: contest.next_showing(session, contest_id))
            if showing is None:
                return
            best = max(showing.members, key=lambda member: self._mark(member, marks))
            vote = partial(
                contest.cast,
                contest_id=contest_id,
                shown=[member.id for member in showing.members],
                chosen=best.id,
                sitting=self.sitting,
                voter="script",
            )
            await self._do(vote)
            self.votes += 1
            if (await self._do(lambda session: contest.standings(session, contest_id))).sure:
                return

    def _mark(self, member: Member, marks: dict[str, float]) -> float:
        if member.sha256 not in marks:
            seen = measure(self.core.resources.media.get(member.media_key))
            # In drawn pictures fine contrast is mostly noise.
            marks[member.sha256] = -seen.sharpness * (1 + 4 * seen.clipped_bright)
        return marks[member.sha256]

    def _close(self, session: Session, step: Any) -> None:
        preview = gates.gate_preview(session, step.id, step.top_k)
        if step.is_last:
            gates.choose_winner(session, preview.members[0].candidate_id, actor="script")
        else:
            gates.approve(session, step.id, step.top_k, actor="script")

    async def _publish(self, winner_id: int) -> dict[str, Any]:
        post_id: int = await self._do(lambda session: draft_for_winner(session, winner_id).id)
        self.say("Writing the caption…")
        words = await self.core.propose_caption(post_id)

        def schedule(session: Session) -> None:
            most = self.core.settings.instagram.max_hashtags
            captions.write_proposal(session, post_id, words, max_hashtags=most)
            posts.publish_now(session, post_id)

        await self._do(schedule)
        self.say("Publishing…")

        async def settled() -> bool:
            post = await self._do(lambda session: get_post(session, post_id))
            return post.state in {"published", "failed", "fix_needed", "needs_human", "paused", "missed"}

        await wait_until(settled, timeout=PATIENCE)
        post = await self._do(lambda session: get_post(session, post_id))
        return {
            "id": post.id,
            "state": post.state,
            "media_id": post.media_id,
            "permalink": post.permalink,
            "caption": post.full_caption,
            "reason": post.reason,
            "cluster": post.cluster,
        }
