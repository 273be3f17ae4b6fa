"""The library's background jobs."""

from __future__ import annotations

from asyncio import to_thread

from procrastinate import Blueprint, JobContext, RetryStrategy
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session

from persona_tui.models.library import Photo, PictureAnalysis
from persona_tui.services import events
from persona_tui.services.jobs import JobTools
from persona_tui.services.library.analysis import PictureMeasures, measure

NAMESPACE = "library"


def make_blueprint() -> Blueprint:
    """The room's tasks, made anew for each App: an App changes the tasks that it takes up."""
    blueprint = Blueprint()
    retry = RetryStrategy(max_attempts=4, exponential_wait=4)
    blueprint.task(name="analyse_photo", pass_context=True, retry=retry)(analyse_photo)
    return blueprint


async def analyse_photo(context: JobContext, photo_id: int) -> None:
    """Measure a photo; run twice it writes the same one row."""
    tools: JobTools = context.additional_context["tools"]

    def original() -> bytes | None:
        with tools.scope() as session:
            photo = session.get(Photo, photo_id)
            return None if photo is None else tools.media.get(photo.poster_key or photo.media_key)

    data = await to_thread(original)
    if data is None:
        return
    measures = await tools.pool.run(measure, data)

    def store() -> None:
        with tools.scope() as session:
            _store(session, photo_id, measures)

    await to_thread(store)


def _store(session: Session, photo_id: int, measures: PictureMeasures) -> None:
    values = {
        "sharpness": measures.sharpness,
        "exposure": measures.exposure,
        "details": {"clipped_dark": measures.clipped_dark, "clipped_bright": measures.clipped_bright},
    }
    session.execute(
        insert(PictureAnalysis)
        .values(photo_id=photo_id, **values)
        .on_conflict_do_update(index_elements=["photo_id"], set_=values)
    )
    events.emit(session, "photo", photo_id)
