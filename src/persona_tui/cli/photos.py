"""`persona-tui photos`: import real pictures, list them, and find those that look alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shlex import quote
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from persona_tui.cli import analysis, photos_staging, search
from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    first_of,
    group,
    note,
    persona_of,
    resources,
    session,
    show,
    table,
)

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.library.booking import FileOutcome
    from persona_tui.services.library.imports import Import

commands = group("Real photographs.")
photos_staging.register(commands)
commands.command("analyse")(analysis.analyse)
commands.command("missing")(analysis.missing)
commands.command("search")(search.search)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder, read with all below, or a file.")]
Cluster = Annotated[str | None, typer.Option(help="Cluster they go into; made when missing.")]
Pillar = Annotated[str | None, typer.Option(help="Primary pillar of a new cluster.")]
Accept = Annotated[bool, typer.Option("--accept", help="They count at once, without a look.")]
Kept = Annotated[
    Literal["copy", "reference"] | None,
    typer.Option("--keep", help="Keep a copy, or only where each lies; default is library.kept."),
]
ICONS = {"imported": "✅", "already there": "ℹ️ ", "failed": "❌"}
_EVERY = 2.0  # seconds between two lines on how far it is


@commands.command("import")
def import_(
    persona: PersonaName,
    path: Folder,
    cluster: Cluster = None,
    pillar: Pillar = None,
    accept: Accept = False,
    keep: Kept = None,
    as_json: AsJson = False,
) -> None:
    """Import pictures and films. Originals are never touched; run again it goes on where it was."""
    from persona_tui.services.library.files import require_pictures
    from persona_tui.services.library.imports import Import, ImportPlan

    with resources() as opened:
        scope = opened.database.session_scope
        with scope() as opened_session:
            persona_id = persona_of(opened_session, persona).id
        require_pictures(path)
        with scope() as opened_session:
            cluster_id = cluster_named(opened_session, persona_id, cluster, pillar)
        plan = ImportPlan(persona_id, path, accept, keep or opened.settings.library.kept, cluster_id)
        outcomes = _followed(Import(scope, opened.media, plan), say=not as_json)
    counts = {word: sum(done.outcome == word for done in outcomes) for word in ICONS}
    show(
        {"counts": counts, "files": [_plain(done) for done in outcomes]} if as_json else counts,
        as_json,
        lambda: [
            ", ".join(f"{count} {word}" for word, count in counts.items()),
            *_next_step(persona, counts, accept),
        ],
    )
    if counts["failed"] and not counts["imported"] and not counts["already there"]:
        raise typer.Exit(1)


def _followed(under_way: Import, *, say: bool) -> list[FileOutcome]:
    """All outcomes; each is told as it comes, and every other second how far it is."""
    progress = _progress(under_way)
    outcomes = []
    for done in under_way:
        outcomes.append(done)
        if say:
            note(f"{ICONS[done.outcome]} {done.name}: {done.outcome}, {done.sentence}")
            progress(len(outcomes))
    return outcomes


def _progress(under_way: Import) -> Callable[[int], None]:
    from persona_tui.widgets.marks import duration
    from persona_tui.widgets.progress import Pace

    pace, last = Pace(), monotonic()

    def tell(done: int) -> None:
        nonlocal last
        pace.report(done)
        if monotonic() - last < _EVERY:
            return
        last = monotonic()
        total = under_way.total
        left = None if total is None else pace.remaining(total)
        of_all = "" if total is None else f" of {total:,}"
        time_left = "" if left is None else f", about {duration(left)} left"
        note(f"⏳ {done:,}{of_all} files, {pace.rate:.1f}/s{time_left}")

    return tell


def _plain(done: FileOutcome) -> dict[str, object]:
    from persona_tui.services.library.files import shown

    return {
        "path": shown(done.path),
        "outcome": done.outcome,
        "photo_id": done.photo_id,
        "sentence": done.sentence,
        "near_id": done.near_id,
    }


def _next_step(persona: str, counts: dict[str, int], accept: bool) -> list[str]:
    if accept or not counts["imported"]:
        return []
    return [f"They wait for a look: `persona-tui photos accept {quote(persona)} --all` takes them all."]


def cluster_named(
    opened_session: Session, persona_id: int, cluster: str | None, pillar: str | None
) -> int | None:
    """The cluster of that name, made when missing; None where none was named."""
    from persona_tui.errors import UnknownName
    from persona_tui.services.library.clusters import create_cluster, find_cluster
    from persona_tui.services.planning.pillars import find_pillar

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
    stage: Annotated[
        Literal["staged", "accepted", "rejected", "deleted"] | None, typer.Option(help="Only these.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """A persona's photos, the newest first; deleted ones only when asked for."""
    from persona_tui.services.library.photos import list_photos

    with session() as opened:
        found = list_photos(opened, persona_of(opened, persona).id, stage=stage, limit=limit + 1)
    photos = first_of(found, limit)
    show(
        photos,
        as_json,
        lambda: table(
            ["photo", "name", "kind", "size", "stage", "caption", "imported"],
            (
                [p.id, p.original_name, p.kind, f"{p.width}×{p.height}", p.standing, p.caption, p.created_at]
                for p in photos
            ),
        ),
    )


@commands.command()
def near(
    persona: PersonaName,
    bits: Annotated[int, typer.Option(min=0, max=7, help="Most bits of 64 that may differ.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Photos that look alike, in pairs, the most alike first. None is dropped for it."""
    from persona_tui.services.library.near import near_pairs

    with session() as opened:
        pairs = near_pairs(opened, persona_of(opened, persona).id, bits)
    show(
        pairs,
        as_json,
        lambda: table(
            ["photo", "looks like", "bits"], ([pair.photo_id, pair.other_id, pair.bits] for pair in pairs)
        ),
    )


@commands.command()
def watch(
    persona: PersonaName,
    path: Annotated[Path | None, typer.Argument(metavar="FOLDER", help="Folder to watch.")] = None,
    cluster: Cluster = None,
    accept: Accept = False,
    keep: Kept = None,
    stop: Annotated[bool, typer.Option("--stop", help="Watch it no longer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import what comes into a folder, again and again; without a folder: what is watched."""
    from persona_tui.services.library import watch as watching
    from persona_tui.services.library.files import shown

    with resources() as opened, opened.database.session_scope() as opened_session:
        persona_id = persona_of(opened_session, persona).id
        if path is not None and stop:
            watching.unwatch(opened_session, persona_id, path)
        elif path is not None:
            watching.watch(
                opened_session,
                persona_id,
                path,
                accept=accept,
                kept=keep or opened.settings.library.kept,
                cluster_id=cluster_named(opened_session, persona_id, cluster, None),
            )
        folders = watching.watched(opened_session, persona_id)
        bad = [one for folder in folders for one in watching.left_out(opened_session, folder)]
    for one in bad:
        note(f"⚠️  {shown(one.path)}: {one.sentence}")
    show(
        folders,
        as_json,
        lambda: table(
            ["folder", "pictures", "kept as", "looked at"],
            (
                [w.root, "count at once" if w.accept else "wait for a look", w.kept, w.looked_at]
                for w in folders
            ),
        ),
    )
