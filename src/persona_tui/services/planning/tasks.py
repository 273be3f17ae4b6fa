"""Planning's background jobs."""

from __future__ import annotations

from asyncio import to_thread

from procrastinate import Blueprint, JobContext
from sqlmodel import Session

from persona_tui.errors import UnknownName
from persona_tui.services import jobs
from persona_tui.services.jobs import JobTools
from persona_tui.services.planning.captions import propose_caption, write_proposal
from persona_tui.services.publishing.formats import CHANGES_IN
from persona_tui.services.publishing.transitions import locked_post

NAMESPACE = "planning"


def make_blueprint() -> Blueprint:
    """The room's tasks, made anew for each App: an App changes the tasks that it takes up."""
    blueprint = Blueprint()
    blueprint.task(name="write_caption", pass_context=True)(write_missing_caption)
    return blueprint


def request_caption(session: Session, post_id: int) -> None:
    """Have a post's words written in the background, unless it has some; one after the other."""
    jobs.defer(
        session, "planning:write_caption", once=f"caption of {post_id}", alone="captions", post_id=post_id
    )


async def write_missing_caption(context: JobContext, post_id: int) -> None:
    """Propose a caption and write it into the post, unless it has words by now or takes none any more."""
    tools: JobTools = context.additional_context["tools"]
    most = tools.settings.instagram.max_hashtags

    def lacks() -> bool:
        with tools.scope() as session:
            return _lacks(session, post_id)

    if not await to_thread(lacks):
        return
    proposal = await propose_caption(tools.scope, tools.writers, tools.media, post_id, max_hashtags=most)

    def write() -> None:
        with tools.scope() as session:
            if _lacks(session, post_id):
                write_proposal(session, post_id, proposal, max_hashtags=most)

    await to_thread(write)


def _lacks(session: Session, post_id: int) -> bool:
    """Whether the post has no words and still takes some; it is locked until the transaction ends."""
    try:
        post = locked_post(session, post_id)
    except UnknownName:
        return False
    return post.state in CHANGES_IN and post.kind != "story" and not (post.caption or post.alt_text)
