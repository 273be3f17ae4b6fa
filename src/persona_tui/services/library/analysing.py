"""How each kind of analysis is done: pictures out of the store, answers into rows."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col

from persona_tui.errors import InvalidRequest, PersonaError, StorageError
from persona_tui.gpu import embedding, faces
from persona_tui.gpu.pictures import Source, Unreadable
from persona_tui.models.library import PictureAnalysis
from persona_tui.pool import WorkerDied, WorkTimeout
from persona_tui.services import events
from persona_tui.services.jobs import JobTools
from persona_tui.services.library import analyses, embeddings, pooled, vision
from persona_tui.services.library.analyses import Ability, Kind, State
from persona_tui.services.library.analysis import PictureMeasures, measure_all
from persona_tui.services.library.embeddings import EmbeddingModel
from persona_tui.services.library.pictures import PictureRef

log = structlog.get_logger("persona_tui.library")


@dataclass(frozen=True)
class Picture:
    """A picture that is to be analysed.

    Attributes:
        key, sha256: in media storage; of a film those of its poster.
    """

    ref: PictureRef
    persona_id: int
    key: str
    sha256: str

    @property
    def subject(self) -> str:
        """As the audit trail names it."""
        ref = self.ref
        return (
            f"photos:{ref.photo_id}" if ref.photo_id is not None else f"image_candidates:{ref.candidate_id}"
        )


@dataclass(frozen=True)
class Failure:
    """Why a picture has no outcome of this kind."""

    problem: str
    state: State = "failed"


@dataclass(frozen=True)
class Work:
    """One kind.

    Attributes:
        most: pictures of one job; the next job goes on, so that jobs take turns.
        at_once: pictures that are looked at, and written, together.
        look: what is found for each of them; a `Failure` where nothing is.
        write: keeps what was found for one.
    """

    most: int
    at_once: int
    look: Callable[[JobTools, Sequence[Picture]], Awaitable[Sequence[Any]]]
    write: Callable[[Session, Sequence[tuple[Picture, Any]]], None]


async def analyse(tools: JobTools, kind: Kind, ability: Ability, refs: Sequence[PictureRef]) -> None:
    """Do one kind for these pictures; each that fails has its sentence, and spoils no other.

    While what was found for some is written, the next ones are looked at.

    Raises:
        vision.Away: nobody can be asked now; what was done is kept.
    """
    work = WORK[kind]
    pictures = await to_thread(_pictures, tools, refs)
    before: tuple[Sequence[Picture], asyncio.Task[Sequence[Any]]] | None = None
    try:
        for first in range(0, len(pictures), work.at_once):
            some = pictures[first : first + work.at_once]
            begun = asyncio.create_task(_look(tools, kind, some))
            before, ready = (some, begun), before
            if ready is not None:
                await to_thread(_write, tools, kind, ability, ready[0], await ready[1])
        if before is not None:
            await to_thread(_write, tools, kind, ability, before[0], await before[1])
    finally:
        if before is not None:
            before[1].cancel()
            await asyncio.gather(before[1], return_exceptions=True)


async def _look(tools: JobTools, kind: Kind, pictures: Sequence[Picture]) -> Sequence[Any]:
    """What is found for each; should the child die of one of several, they are tried one by one."""
    try:
        return await WORK[kind].look(tools, pictures)
    except (WorkerDied, WorkTimeout) as problem:
        if len(pictures) == 1:
            return [Failure(problem.message)]
    except vision.Away:
        raise
    except PersonaError as problem:
        return [Failure(problem.message, "unknown")] * len(pictures)
    except Exception as problem:  # a library's own; it must not stop the other pictures
        log.exception("analysis failed", kind=kind)
        if len(pictures) == 1:
            return [Failure(f"It could not be done ({type(problem).__name__}).")]
    return [found for picture in pictures for found in await _look(tools, kind, [picture])]


def _write(
    tools: JobTools, kind: Kind, ability: Ability, pictures: Sequence[Picture], found: Sequence[Any]
) -> None:
    """Keep outcomes of some pictures in one transaction; those that are gone are left out."""
    with tools.scope() as session:
        done = []
        for picture, one in zip(pictures, found, strict=True):
            failure = one if isinstance(one, Failure) else None
            state: State = failure.state if failure else "done"
            problem = failure.problem if failure else ""
            there = analyses.record(session, picture.ref, kind, state, ability.version, problem)
            if there and failure is None:
                done.append((picture, one))
        WORK[kind].write(session, done)
        events.emit_all(session, [_event(picture.ref) for picture in pictures])


def _event(ref: PictureRef) -> tuple[events.Topic, int]:
    if ref.photo_id is not None:
        return "photo", ref.photo_id
    assert ref.candidate_id is not None
    return "candidate", ref.candidate_id


def _pictures(tools: JobTools, refs: Sequence[PictureRef]) -> list[Picture]:
    """Where these pictures lie; those without a persona, or gone, are left out."""
    values = {"photos": [ref.photo_id for ref in refs], "candidates": [ref.candidate_id for ref in refs]}
    with tools.scope() as session:
        rows = session.execute(text(_WHERE), values).all()
    return [Picture(PictureRef(row[0], row[1]), *row[2:]) for row in rows]


_WHERE = """
SELECT p.id, NULL::bigint, p.persona_id, coalesce(p.poster_key, p.media_key),
       coalesce(p.poster_sha256, p.sha256)
FROM photos p WHERE p.id = ANY (CAST(:photos AS bigint[])) AND p.persona_id IS NOT NULL
UNION ALL
SELECT NULL, c.id, c.persona_id, c.media_key, c.sha256
FROM image_candidates c WHERE c.id = ANY (CAST(:candidates AS bigint[])) AND c.persona_id IS NOT NULL
ORDER BY 1, 2
"""


async def _seen(tools: JobTools, pictures: Sequence[Picture]) -> list[Source | Failure]:
    """The pictures' thumbnails: 768 px, upright, eight-bit sRGB, which is what most kinds need."""

    def of(picture: Picture) -> Source | Failure:
        try:
            return tools.media.thumbnail(picture.key, picture.sha256)
        except PersonaError as problem:
            return Failure(problem.message)

    return await to_thread(lambda: [of(picture) for picture in pictures])


async def _by_children(
    sources: Sequence[Source | Failure], ask: Callable[[list[Source]], Awaitable[Sequence[Any]]]
) -> list[Any]:
    """What a child finds for the sources that are there, in the order of all."""
    there = [source for source in sources if not isinstance(source, Failure)]
    answers = iter(await ask(there) if there else ())
    found = [source if isinstance(source, Failure) else next(answers) for source in sources]
    return [Failure(one.problem) if isinstance(one, Unreadable) else one for one in found]


# Measures


async def _measure(tools: JobTools, pictures: Sequence[Picture]) -> Sequence[Any]:
    return await _by_children(
        await _seen(tools, pictures), lambda sources: tools.pool.run(measure_all, sources)
    )


def _write_measures(session: Session, found: Sequence[tuple[Picture, PictureMeasures]]) -> None:
    for picture, measures in found:
        values = asdict(measures)
        columns = {name: values.pop(name) for name in ("sharpness", "exposure")}
        _keep(session, picture.ref, columns, values)


# Embedding


async def _embed(tools: JobTools, pictures: Sequence[Picture]) -> Sequence[Any]:
    """Each vector with the model that made it: the weights may be exchanged before it is written."""
    model = await to_thread(embeddings.current_model, tools.settings)
    found = await _by_children(
        await _seen(tools, pictures),
        lambda sources: tools.models.run(embedding.embed, model.weights, sources),
    )
    return [one if isinstance(one, Failure) else (model, one) for one in found]


def _write_vectors(
    session: Session, found: Sequence[tuple[Picture, tuple[EmbeddingModel, embedding.Vector]]]
) -> None:
    for model in {model for _, (model, _) in found}:
        mine = [(picture.ref, vector) for picture, (made_by, vector) in found if made_by == model]
        embeddings.store(session, model, mine)


# Faces


async def _find_faces(tools: JobTools, pictures: Sequence[Picture]) -> Sequence[Any]:
    """In the originals: a face of 48 px is a few pixels in a thumbnail."""
    return [await _faces_of(tools, picture) for picture in pictures]


async def _faces_of(tools: JobTools, picture: Picture) -> faces.Faces | Failure:
    path = tools.media.path(picture.key)
    try:
        source: Source = path if path is not None else await to_thread(tools.media.get, picture.key)
        found: faces.Faces = await tools.models.run(
            pooled.find_faces_in, source, tools.settings.faces.detector
        )
    except (InvalidRequest, StorageError) as problem:
        return Failure(problem.message)
    except OSError:
        return Failure(f"The picture {picture.key} is gone.")
    return found


def _write_faces(session: Session, found: Sequence[tuple[Picture, faces.Faces]]) -> None:
    for picture, one in found:
        columns = {
            "faces": len(one.found),
            "face_share": one.best.height_share if one.best else None,
            "face_model": faces.MODEL if one.best else None,
            "face_vector": list(one.vector) if one.vector else None,
        }
        _keep(session, picture.ref, columns, {"faces": [asdict(face) for face in one.found]})


# Descriptions


async def _describe(tools: JobTools, pictures: Sequence[Picture]) -> Sequence[Any]:
    """One call a picture, of its thumbnail, which holds neither place nor camera."""
    sources = await _seen(tools, pictures)
    return [await _described(tools, *pair) for pair in zip(pictures, sources, strict=True)]


async def _described(tools: JobTools, picture: Picture, source: Source | Failure) -> Any:
    if isinstance(source, Failure):
        return source
    data = source if isinstance(source, bytes) else await to_thread(source.read_bytes)
    try:
        return await vision.describe(
            tools.scope, tools.seers, data, persona_id=picture.persona_id, subject=picture.subject
        )
    except PersonaError as problem:  # refused, blocked or garbled: of this picture alone
        return Failure(problem.message)


def _write_descriptions(
    session: Session, found: Sequence[tuple[Picture, tuple[vision.Description, str]]]
) -> None:
    for picture, (said, by) in found:
        columns = {
            "caption": said.caption,
            "objects": [seen.model_dump() for seen in said.objects],
            "aesthetic": said.aesthetic,
        }
        _keep(session, picture.ref, columns, {"described_by": by})


def _keep(session: Session, ref: PictureRef, columns: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Write some of a picture's findings beside the others."""
    made = insert(PictureAnalysis).values(**ref.columns, **columns, details=dict(details))
    changed = {name: made.excluded[name] for name in columns}
    merged = col(PictureAnalysis.details).op("||")(made.excluded.details)
    key = "photo_id" if ref.photo_id is not None else "image_candidate_id"
    session.execute(made.on_conflict_do_update(index_elements=[key], set_={**changed, "details": merged}))


WORK: Mapping[Kind, Work] = {
    "measures": Work(256, 32, _measure, _write_measures),
    "embedding": Work(1024, 128, _embed, _write_vectors),
    "faces": Work(32, 1, _find_faces, _write_faces),
    "vision": Work(32, 1, _describe, _write_descriptions),
}
