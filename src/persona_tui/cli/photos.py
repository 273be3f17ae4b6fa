"""`persona-tui photos`: import and list real pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from persona_tui.cli.frame import AsJson, PersonaName, group, persona_of, resources, session, show, table
from persona_tui.cli.search import search

commands = group("Real photographs.")
commands.command("search")(search)


@commands.command("import")
def import_(
    persona: PersonaName,
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder, read with all below, or a file.")],
    cluster: Annotated[str | None, typer.Option(help="Cluster they go into; made when missing.")] = None,
    pillar: Annotated[str | None, typer.Option(help="Primary pillar of a new cluster.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import pictures. Originals are never touched; run again it goes on where it was."""
    from persona_tui.services.library.photos import find_files, import_photos

    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            persona_id = persona_of(opened_session, persona).id
        files = find_files(path)
        with opened.database.session_scope() as opened_session:
            cluster_id = _cluster(opened_session, persona_id, cluster, pillar)
        outcomes = []
        for done in import_photos(
            opened.database.session_scope, opened.media, persona_id, files, cluster_id=cluster_id
        ):
            outcomes.append(done)
            if not as_json:
                icon = {"imported": "✅", "already there": "ℹ️ ", "failed": "❌"}[done.outcome]
                print(f"{icon} {done.path.name}: {done.outcome}, {done.sentence}", file=sys.stderr)
    counts = {
        word: sum(done.outcome == word for done in outcomes)
        for word in ("imported", "already there", "failed")
    }
    show(
        {"counts": counts, "files": outcomes} if as_json else counts,
        as_json,
        lambda: [", ".join(f"{count} {word}" for word, count in counts.items())],
    )
    if counts["failed"] and not counts["imported"] and not counts["already there"]:
        raise typer.Exit(1)


def _cluster(opened_session: object, persona_id: int, cluster: str | None, pillar: str | None) -> int | None:
    from sqlmodel import Session

    from persona_tui.errors import UnknownName
    from persona_tui.services.library.clusters import create_cluster, find_cluster
    from persona_tui.services.planning.pillars import find_pillar

    assert isinstance(opened_session, Session)
    if cluster is None:
        return None
    try:
        return find_cluster(opened_session, persona_id, cluster).id
    except UnknownName:
        pillar_id = find_pillar(opened_session, persona_id, pillar).id if pillar else None
        return create_cluster(opened_session, persona_id, {"name": cluster}, pillar_id=pillar_id).id


@commands.command("list")
def list_(
    persona: PersonaName,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """A persona's photos, the newest first."""
    from persona_tui.services.library.photos import list_photos

    with session() as opened:
        photos = list_photos(opened, persona_of(opened, persona).id, limit=limit)
    show(
        photos,
        as_json,
        lambda: table(
            ["photo", "name", "size", "stage", "imported"],
            ([p.id, p.original_name, f"{p.width}×{p.height}", p.stage, p.created_at] for p in photos),
        ),
    )
