"""`persona-tui photos search`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from persona_tui.cli.frame import AsJson, PersonaName, note, persona_of, resources, show, table

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.services.library.pictures import PictureFilters, PictureRef
    from persona_tui.services.library.search import Query, SearchPage

Order = Literal["newest", "oldest", "taken", "rating", "cluster"]
Stage = Literal["accepted", "staged", "rejected", "deleted"]
Kind = Literal["still", "video", "generated"]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DAY")]


def search(
    persona: PersonaName,
    words: Annotated[str, typer.Argument(help="What is to be seen; needs CLIP.")] = "",
    like: Annotated[
        str | None, typer.Option(metavar="PICTURE", help='As "photo 12" or "candidate 5".')
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="Like what performed best.")] = False,
    diverse: Annotated[bool, typer.Option("--diverse", help="Each as different as can be.")] = False,
    pillar: Annotated[str | None, typer.Option(help="In clusters of this pillar.")] = None,
    cluster: Annotated[str | None, typer.Option(help="In this cluster.")] = None,
    unclustered: Annotated[bool | None, typer.Option("--unclustered/--clustered")] = None,
    posted: Annotated[bool | None, typer.Option("--posted/--unposted")] = None,
    rating: Annotated[int | None, typer.Option(help="At least this rating; 1000 is the middle.")] = None,
    faces: Annotated[int | None, typer.Option(help="Exactly so many faces.")] = None,
    since: Day = None,
    until: Day = None,
    flagged: Annotated[bool | None, typer.Option("--flagged/--unflagged")] = None,
    stage: Annotated[Stage | None, typer.Option(help="Other than accepted ones.")] = None,
    lora: Annotated[str | None, typer.Option(help="Made with this LoRA.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Made by this pipeline.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only of this kind.")] = None,
    name: Annotated[str | None, typer.Option(help="Part of a name, caption or prompt.")] = None,
    order: Annotated[Order, typer.Option(help="Of a search by filters alone.")] = "newest",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Pictures on a page.")] = 50,
    page: Annotated[int, typer.Option(min=1, help="Which page.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Find pictures, photos and generated ones alike; all that is said must hold."""
    from persona_tui.services.library.pictures import PictureFilters
    from persona_tui.services.library.search import Query

    given: dict[str, Any] = {
        "unclustered": unclustered,
        "posted": posted,
        "rating_min": rating,
        "faces_min": faces,
        "faces_max": faces,
        "since": since and since.replace(tzinfo=UTC),
        "until": until and until.replace(tzinfo=UTC),
        "flagged": flagged,
        "stage": stage,
        "kind": kind,
        "text_in_name": name,
    }
    with resources() as opened:
        with opened.database.session_scope() as session:
            persona_id = persona_of(session, persona).id
            given |= _named(session, persona_id, pillar, cluster, lora, pipeline)
        filters: PictureFilters = PictureFilters(**given)
        query = Query(words, ref_of(like) if like else None, best, filters, diverse, order)
        found = asyncio.run(_search(opened, persona_id, query, limit, page))
    if found.basis == "ratings":
        note("ℹ️  No post has insights yet: the best by votes were taken.")
    show(found, as_json, lambda: _lines(found, page))


def ref_of(words: str) -> PictureRef:
    """The picture of `photo 12` or `candidate 5`.

    Raises:
        InvalidRequest: it names none.
    """
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.library.pictures import PictureRef

    kind, _, number = words.strip().lower().partition(" ")
    if kind not in {"photo", "candidate"} or not number.strip().isdecimal():
        raise InvalidRequest(f"{words!r} names no picture.", hint='Say "photo 12" or "candidate 5".')
    return PictureRef(**{f"{kind}_id": int(number)})


def _named(
    session: Session,
    persona_id: int,
    pillar: str | None,
    cluster: str | None,
    lora: str | None,
    pipeline: str | None,
) -> dict[str, int]:
    """Filters by name as filters by id."""
    from persona_tui.services.generation.pipelines import get_pipeline
    from persona_tui.services.library.clusters import find_cluster
    from persona_tui.services.loras.registry import find_lora
    from persona_tui.services.planning.pillars import find_pillar

    found: dict[str, int] = {}
    if pillar is not None:
        found["pillar_id"] = find_pillar(session, persona_id, pillar).id
    if cluster is not None:
        found["cluster_id"] = find_cluster(session, persona_id, cluster).id
    if lora is not None:
        found["lora_model_id"] = find_lora(session, lora).id
    if pipeline is not None:
        found["pipeline_id"] = get_pipeline(session, pipeline).id
    return found


async def _search(opened: Resources, persona_id: int, query: Query, limit: int, page: int) -> SearchPage:
    from contextlib import aclosing

    from persona_tui.pool import WorkPool
    from persona_tui.services.library.search import search

    async with aclosing(WorkPool()) as pool:
        scope, settings = opened.database.session_scope, opened.settings
        return await search(scope, pool, settings, persona_id, query, limit=limit, offset=(page - 1) * limit)


def _lines(found: SearchPage, page: int) -> list[str]:
    if not found.found:
        return ["ℹ️  No picture is like that."]
    rows = table(
        ["picture", "likeness", "size", "posted", "rating", "name"],
        (
            [
                one.picture.ref,
                "–" if one.similarity is None else f"{one.similarity:.2f}",
                f"{one.picture.width}×{one.picture.height}",
                one.picture.posted,
                one.picture.rating,
                one.picture.label,
            ]
            for one in found.found
        ),
    )
    return [*rows, *([f"… and more: --page {page + 1} shows them."] if found.next_offset is not None else [])]
