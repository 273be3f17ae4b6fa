"""`persona-tui cluster`: add, list, show, rename."""

from __future__ import annotations

from typing import Annotated

import typer

from persona_tui.cli.frame import AsJson, PersonaName, group, persona_of, session, show, table

commands = group("Clusters: pictures that belong together.")

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
            ["cluster", "pillar", "pictures", "unposted"],
            ([c.name, c.pillar, c.pictures, c.unposted] for c in clusters),
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
