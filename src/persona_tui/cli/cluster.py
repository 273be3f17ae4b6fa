"""`persona-tui cluster`: add, list, show, rename, merge, split, move, mark, samples, suggest, forecast."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli import cluster_building
from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    group,
    persona_of,
    require_consent,
    resources,
    session,
    show,
    table,
)

if TYPE_CHECKING:
    from persona_tui.services.library.clusters import ClusterView

commands = group("Clusters: pictures that belong together.")
cluster_building.register(commands)

ClusterName = Annotated[str, typer.Argument(metavar="CLUSTER", help="The cluster's name.")]


@commands.command("add")
def add(
    persona: PersonaName,
    name: ClusterName,
    pillar: Annotated[str | None, typer.Option(help="Its primary pillar.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add an empty cluster."""
    from persona_tui.services.library.clusters import create_cluster
    from persona_tui.services.planning.pillars import find_pillar

    with session() as opened:
        persona_id = persona_of(opened, persona).id
        pillar_id = find_pillar(opened, persona_id, pillar).id if pillar else None
        made = create_cluster(opened, persona_id, {"name": name}, pillar_id=pillar_id)
    show(made, as_json, lambda: [f"✅ {made.name} is there."])


@commands.command("list")
def list_(persona: PersonaName, as_json: AsJson = False) -> None:
    """A persona's clusters with their stock."""
    from persona_tui.services.library.clusters import list_clusters

    with session() as opened:
        clusters = list_clusters(opened, persona_of(opened, persona).id)
    show(
        clusters,
        as_json,
        lambda: table(
            ["cluster", "pillar", "pictures", "unposted", "to review", "proposed name", "status"],
            (
                [c.name, c.pillar, c.pictures, c.unposted, c.to_review, c.proposed_name, c.status]
                for c in clusters
            ),
        ),
    )


@commands.command("show")
def show_(persona: PersonaName, name: ClusterName, as_json: AsJson = False) -> None:
    """A cluster with its pictures."""
    from persona_tui.services.library.clusters import cluster_pictures, find_cluster

    with session() as opened:
        cluster = find_cluster(opened, persona_of(opened, persona).id, name)
        pictures = cluster_pictures(opened, cluster.id)
    show(
        {"cluster": cluster, "pictures": pictures},
        as_json,
        lambda: table(
            ["picture", "size", "posted", "label"],
            (
                [
                    f"photo {p.photo_id}" if p.photo_id else f"candidate {p.candidate_id}",
                    f"{p.width}×{p.height}",
                    p.posted,
                    p.label,
                ]
                for p in pictures
            ),
        ),
    )


@commands.command("rename")
def rename(
    persona: PersonaName,
    name: ClusterName,
    new_name: Annotated[str, typer.Argument(help="The new name.")],
    as_json: AsJson = False,
) -> None:
    """Give a cluster another name."""
    from persona_tui.services.library.clusters import find_cluster, rename_cluster

    with session() as opened:
        cluster = find_cluster(opened, persona_of(opened, persona).id, name)
        renamed = rename_cluster(opened, cluster.id, new_name)
    show(renamed, as_json, lambda: [f"✅ It is called {renamed.name} now."])


@commands.command("merge")
def merge(
    persona: PersonaName,
    into: Annotated[str, typer.Argument(metavar="CLUSTER", help="The one that stays.")],
    others: Annotated[list[str], typer.Argument(metavar="OTHER…", help="Those that go into it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put clusters together; posts, runs and pillars of those that go follow their pictures."""
    from persona_tui.services.library.clusters import find_cluster
    from persona_tui.services.library.merging import merge_clusters

    with session() as opened:
        persona_id = persona_of(opened, persona).id
        kept = find_cluster(opened, persona_id, into)
        gone = [find_cluster(opened, persona_id, other).id for other in others]
        question = f"Put {', '.join(others)} into {kept.name}? They can't be told apart again."
        require_consent(yes, question, refusal="Clusters are merged for good")
        merged = merge_clusters(opened, kept.id, gone)
    show(merged, as_json, lambda: [f"✅ {merged.name} has {merged.pictures} pictures."])


@commands.command("split")
def split(
    persona: PersonaName,
    name: ClusterName,
    new_name: Annotated[str | None, typer.Option("--into", help="Name of the part, with --picture.")] = None,
    pictures: Annotated[
        list[str] | None, typer.Option("--picture", help='Goes into the part, as "photo 12"; again for more.')
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Split a cluster into the parts that its pictures form, or some pictures off it."""
    from persona_tui.cli.search import ref_of
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.library.clusters import find_cluster
    from persona_tui.services.library.merging import split_off

    if bool(new_name) != bool(pictures):
        raise InvalidRequest("--picture and --into go together.", hint="Say both, or neither.")
    parts: tuple[ClusterView, ...]
    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            cluster = find_cluster(opened_session, persona_of(opened_session, persona).id, name)
            if new_name and pictures:
                part, _ = split_off(opened_session, cluster.id, [ref_of(one) for one in pictures], new_name)
                parts = (find_cluster(opened_session, cluster.persona_id, cluster.name), part)
        if not new_name:
            parts = asyncio.run(cluster_building.split(opened, cluster.id))
    show(parts, as_json, lambda: [f"✅ {part.name}: {part.pictures} pictures" for part in parts])


@commands.command("move")
def move(
    persona: PersonaName,
    into: Annotated[str, typer.Argument(metavar="CLUSTER", help="Where they go.")],
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE…", help='As "photo 12".')],
    keep: Annotated[bool, typer.Option("--keep", help="They stay in their other clusters too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put pictures into a cluster, and take them out of the others."""
    from persona_tui.cli.search import ref_of
    from persona_tui.services.library.clusters import find_cluster
    from persona_tui.services.library.membership import move_pictures

    with session() as opened:
        cluster = find_cluster(opened, persona_of(opened, persona).id, into)
        refs = [ref_of(one) for one in pictures]
        change = move_pictures(opened, refs, into=cluster.id, out_of=() if keep else None)
    show(change, as_json, lambda: [f"✅ {len(change.added)} pictures are in {cluster.name} now."])


@commands.command("mark")
def mark(
    persona: PersonaName,
    name: ClusterName,
    unusable: Annotated[bool, typer.Option("--unusable/--usable")] = True,
    as_json: AsJson = False,
) -> None:
    """Mark a cluster unusable: none of its pictures is offered for a post. Or usable again."""
    from persona_tui.services.library.clusters import find_cluster, set_usable

    with session() as opened:
        cluster = find_cluster(opened, persona_of(opened, persona).id, name)
        marked = set_usable(opened, cluster.id, usable=not unusable)
    show(marked, as_json, lambda: [f"✅ {marked.name} is {marked.status}."])


@commands.command("samples")
def samples(
    persona: PersonaName,
    name: ClusterName,
    folder: Annotated[Path, typer.Argument(help="Made when missing.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures at most.")] = 10,
    link: Annotated[bool, typer.Option("--link", help="Links instead of copies.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write some of a cluster's pictures into a folder, as different from each other as can be."""
    from persona_tui.services.library.clusters import find_cluster
    from persona_tui.services.library.embeddings import current_model
    from persona_tui.services.library.samples import choose_samples, export_samples

    with resources() as opened:
        model = current_model(opened.settings)
        with opened.database.session_scope() as opened_session:
            cluster = find_cluster(opened_session, persona_of(opened_session, persona).id, name)
            chosen = choose_samples(opened_session, cluster.id, model.hash, count)
        made = export_samples(chosen, opened.media, folder, "link" if link else "copy")
    show([str(path) for path in made], as_json, lambda: [f"✅ {path}" for path in made])


@commands.command("suggest")
def suggest(persona: PersonaName, as_json: AsJson = False) -> None:
    """Clusters that are too small, too big, or nearly one with another."""
    from persona_tui.services.library.embeddings import current_model
    from persona_tui.services.library.merging import suggestions

    with resources() as opened, opened.database.session_scope() as opened_session:
        model = current_model(opened.settings)
        found = suggestions(opened_session, persona_of(opened_session, persona).id, model.hash)
    show(found, as_json, lambda: [one.sentence for one in found] or ["🎉 Nothing calls for a change."])


@commands.command("forecast")
def forecast(persona: PersonaName, as_json: AsJson = False) -> None:
    """When each cluster has no picture left to post, by the posting plan."""
    from persona_tui.services.library import depletion

    with resources() as opened:
        now = opened.now()
        with opened.database.session_scope() as opened_session:
            found = depletion.forecast(opened_session, persona_of(opened_session, persona).id, now)
    show(
        found,
        as_json,
        lambda: table(
            ["cluster", "unposted", "a week", "empty"],
            ([one.name, one.unposted, one.per_week, one.empty_at] for one in found),
        ),
    )
