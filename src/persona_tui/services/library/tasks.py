"""The library's background jobs."""

from __future__ import annotations

import os
from asyncio import to_thread

import structlog
from procrastinate import Blueprint, JobContext

from persona_tui.errors import InvalidRequest
from persona_tui.gpu import clip
from persona_tui.services import jobs
from persona_tui.services.jobs import JobTools
from persona_tui.services.library import analyses, embeddings, neighbours
from persona_tui.services.library.analyses import Ability, Kind, kind_of
from persona_tui.services.library.analysing import WORK, analyse
from persona_tui.services.library.assigning import assign_new, request_assignment
from persona_tui.services.library.builds import build_clusters, request_build, without_vector
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.library.vision import Away

NAMESPACE = "library"
VECTORS_SECONDS, VECTORS_LOOKS = 2, 150
"""Until a build looks again whether all pictures have their vectors, and how often when no more are made."""
AWAY_SECONDS = 300
"""Until a vision model that could not be reached is asked again."""

log = structlog.get_logger("persona_tui.library")


def make_blueprint() -> Blueprint:
    """The room's tasks, made anew for each App: an App changes the tasks that it takes up."""
    blueprint = Blueprint()
    blueprint.task(name="analyse_persona", pass_context=True)(analyse_persona)
    blueprint.task(name="analyse", pass_context=True)(analyse_kind)
    blueprint.task(name="fetch_clip", pass_context=True)(fetch_clip)
    blueprint.task(name="build_clusters", pass_context=True)(make_clusters)
    blueprint.task(name="assign_clusters", pass_context=True)(assign_clusters)
    blueprint.task(name="build_index", pass_context=True)(build_index)
    return blueprint


async def analyse_persona(context: JobContext, persona_id: int) -> None:
    """Queue each kind that a picture of the persona lacks."""
    tools: JobTools = context.additional_context["tools"]

    def queue() -> None:
        able = analyses.abilities(tools.settings)
        with tools.scope() as session:
            for kind in analyses.KINDS:
                if analyses.missing(session, persona_id, kind, able[kind], limit=1):
                    analyses.queue_kind(session, persona_id, kind)

    await to_thread(queue)


async def analyse_kind(context: JobContext, persona_id: int, kind: str) -> None:
    """Do one kind for some of the pictures that lack it; what is left goes to the next job."""
    tools: JobTools = context.additional_context["tools"]
    known = kind_of(kind)
    refs, ability = await to_thread(_begin, tools, persona_id, known)
    if not refs:
        if known == "embedding" and not ability.lack:
            await to_thread(_use_vectors, tools, persona_id)
        return
    wait = 0
    try:
        await analyse(tools, known, ability, refs)
    except Away as away:
        log.warning("no model sees pictures now", problem=str(away))
        wait = AWAY_SECONDS
    if wait or len(refs) == WORK[known].most:
        await to_thread(_go_on, tools, persona_id, known, wait)
    elif known == "embedding":
        await to_thread(_use_vectors, tools, persona_id)


def _begin(tools: JobTools, persona_id: int, kind: Kind) -> tuple[tuple[PictureRef, ...], Ability]:
    """The next pictures; none where the kind can't be done here, which is then written for all of them."""
    ability = analyses.abilities(tools.settings)[kind]
    with tools.scope() as session:
        if ability.lack:
            analyses.record_lack(session, persona_id, kind, ability)
            return (), ability
        if kind == "embedding":
            analyses.record_embedded(session, persona_id, ability)
        return analyses.missing(session, persona_id, kind, ability, limit=WORK[kind].most), ability


def _go_on(tools: JobTools, persona_id: int, kind: Kind, wait: int) -> None:
    with tools.scope() as session:
        analyses.queue_kind(session, persona_id, kind, wait=wait)


def _use_vectors(tools: JobTools, persona_id: int) -> None:
    """All pictures are embedded: new ones join clusters, an index is made where it is worth it, and contests
    of new ones may begin with what the persona's taste says of them.
    """
    model = embeddings.current_model(tools.settings)
    with tools.scope() as session:
        request_assignment(session, persona_id)
        neighbours.request_index(session, persona_id, model.hash)
        once = f"taste of {persona_id}"
        jobs.defer(session, "voting:predict", once=once, persona_id=persona_id, model_hash=model.hash)


async def make_clusters(
    context: JobContext, persona_id: int, method: str = "density", missing: int | None = None, looks: int = 0
) -> None:
    """Make clusters of the persona's pictures that lie in none, once all have their vectors.

    Where none is made any more, it begins with those that are there.

    Args:
        missing, looks: as `request_build` has them.
    """
    tools: JobTools = context.additional_context["tools"]
    model = await to_thread(embeddings.current_model, tools.settings)

    def waits() -> bool:
        with tools.scope() as session:
            now = without_vector(session, persona_id, model.hash)
            fewer = missing is None or now < missing
            if not now or (not fewer and looks >= VECTORS_LOOKS):
                return False
            analyses.queue_kind(session, persona_id, "embedding")
            request_build(
                session,
                persona_id,
                method,
                wait=VECTORS_SECONDS,
                missing=now if fewer else missing,
                looks=0 if fewer else looks + 1,
            )
            return True

    if await to_thread(waits):
        return
    await build_clusters(tools.scope, tools.models, persona_id, model.hash, method)


async def assign_clusters(context: JobContext, persona_id: int) -> None:
    """Put new pictures into the clusters that they belong to."""
    tools: JobTools = context.additional_context["tools"]
    model = await to_thread(embeddings.current_model, tools.settings)
    await assign_new(tools.scope, tools.models, persona_id, model.hash)


async def build_index(context: JobContext, persona_id: int, model_hash: str) -> None:
    """Make the index of a persona's vectors, as the role that owns the tables."""
    tools: JobTools = context.additional_context["tools"]
    if tools.owner is not None:
        await to_thread(neighbours.build_index, tools.owner, persona_id, model_hash)


async def fetch_clip(context: JobContext) -> None:
    """Fetch CLIP's weights, once they are wanted and not there; pictures are embedded anew after that."""
    tools: JobTools = context.additional_context["tools"]
    if not embeddings.may_fetch(tools.settings) or os.environ.get("HF_HUB_OFFLINE"):
        return
    try:
        await tools.models.run(clip.download, embeddings.clip_place(tools.settings).parent)
    except InvalidRequest as problem:
        log.warning("no CLIP", problem=problem.message, hint=problem.hint)
