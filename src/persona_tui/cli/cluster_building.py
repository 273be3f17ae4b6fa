"""`persona-tui cluster`: build, review, take, dismiss, names."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.frame import AsJson, PersonaName, persona_of, resources, session, show, table

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.library.assigning import ReviewView
    from persona_tui.services.library.builds import Built
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.library.naming import Proposal

ReviewId = Annotated[int, typer.Argument(metavar="REVIEW", help="Its number in `cluster review`.")]


def register(commands: typer.Typer) -> None:
    """Add these commands to the group."""
    for name, command in (
        ("build", build),
        ("review", review),
        ("take", take),
        ("dismiss", dismiss),
        ("names", names),
    ):
        commands.command(name)(command)


def build(
    persona: PersonaName,
    method: Annotated[str, typer.Option(help="density (HDBSCAN), or means (k-means).")] = "density",
    background: Annotated[bool, typer.Option("--background", help="By the app or a worker.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put pictures that lie in no cluster into those they belong to, and make new ones of the rest."""
    from persona_tui.services.library.builds import request_build, without_vector
    from persona_tui.services.library.embeddings import current_model
    from persona_tui.widgets.marks import counted

    waiting = 0
    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            persona_id = persona_of(opened_session, persona).id
            if background:
                request_build(opened_session, persona_id, method)
                waiting = without_vector(opened_session, persona_id, current_model(opened.settings).hash)
        built = None if background else asyncio.run(_build(opened, persona_id, method))
    if built is None:
        first = f", once the vectors of {counted(waiting, 'picture')} are made" if waiting else ""
        queued = {"queued": True, "waiting": waiting}
        show(queued, as_json, lambda: [f"✅ The app or `persona-tui worker` builds them{first}."])
        return
    show(built, as_json, lambda: _lines(built))


def review(persona: PersonaName, as_json: AsJson = False) -> None:
    """Pictures that may belong to a cluster."""
    from persona_tui.services.library.assigning import list_reviews

    with session() as opened:
        found = list_reviews(opened, persona_of(opened, persona).id)
    show(
        found,
        as_json,
        lambda: table(
            ["review", "picture", "name", "nearest", "distance", "next", "distance"],
            (_row(one) for one in found),
        ),
    )


def take(
    number: ReviewId,
    into: Annotated[str | None, typer.Option(help="Another cluster than the proposed one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put a picture into the cluster that is proposed for it."""
    from persona_tui.services.library.assigning import persona_of_review, take_review
    from persona_tui.services.library.clusters import find_cluster

    with session() as opened:
        other = find_cluster(opened, persona_of_review(opened, number), into).id if into else None
        change = take_review(opened, number, into=other)
    show(change, as_json, lambda: ["✅ Taken."])


def dismiss(number: ReviewId, as_json: AsJson = False) -> None:
    """Say that a picture does not belong to the cluster that is proposed for it."""
    from persona_tui.services.library.assigning import dismiss_review

    with session() as opened:
        dismiss_review(opened, number)
    show({"dismissed": number}, as_json, lambda: ["✅ Dismissed."])


def names(
    persona: PersonaName,
    name: Annotated[str | None, typer.Argument(metavar="[CLUSTER]", help="One cluster only.")] = None,
    accept: Annotated[bool, typer.Option("--take", help="Give it the proposed name.")] = False,
    refuse: Annotated[bool, typer.Option("--dismiss", help="Drop the proposed name for good.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find names for built clusters; one that was found is taken or dismissed."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.library.clusters import find_cluster
    from persona_tui.services.library.naming import dismiss_name, take_name

    if (accept and refuse) or ((accept or refuse) and name is None):
        raise InvalidRequest("Say which cluster, and --take or --dismiss.", hint="See --help.")
    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            persona_id = persona_of(opened_session, persona).id
            one = find_cluster(opened_session, persona_id, name) if name is not None else None
            if one is not None and (accept or refuse):
                act = take_name if accept else dismiss_name
                decided = act(opened_session, one.id)
                show(decided, as_json, lambda: [f"✅ It is called {decided.name}."])
                return
        found = asyncio.run(_propose(opened, persona_id, None if one is None else [one.id]))
    show(
        found,
        as_json,
        lambda: table(["cluster", "name", "by"], ([row.cluster_id, row.name, row.by] for row in found)),
    )


async def split(opened: Resources, cluster_id: int) -> tuple[ClusterView, ...]:
    """Split a cluster into the parts that its pictures form."""
    from persona_tui.pool import WorkPool
    from persona_tui.services.library.builds import split_cluster
    from persona_tui.services.library.embeddings import current_model

    async with aclosing(WorkPool()) as pool:
        model = current_model(opened.settings)
        return await split_cluster(opened.database.session_scope, pool, cluster_id, model.hash)


async def _build(opened: Resources, persona_id: int, method: str) -> Built:
    from persona_tui.pool import WorkPool
    from persona_tui.services.library.builds import build_clusters
    from persona_tui.services.library.embeddings import current_model

    async with aclosing(WorkPool()) as pool:
        model = current_model(opened.settings)
        return await build_clusters(opened.database.session_scope, pool, persona_id, model.hash, method)


async def _propose(opened: Resources, persona_id: int, clusters: list[int] | None) -> tuple[Proposal, ...]:
    from persona_tui.pool import WorkPool
    from persona_tui.services.library.embeddings import current_model
    from persona_tui.services.library.naming import propose_names

    async with aclosing(WorkPool()) as pool:
        scope, model = opened.database.session_scope, current_model(opened.settings)
        return await propose_names(scope, pool, persona_id, model, opened.writers, cluster_ids=clusters)


def _lines(built: Built) -> list[str]:
    from persona_tui.widgets.marks import counted

    lines = [f"✅ {one.name}: {counted(one.pictures, 'picture')}" for one in built.made]
    made, joined = counted(len(built.made), "cluster").capitalize(), counted(built.joined, "picture")
    rest = f"{built.to_review} to review, {built.apart} like no others"
    lines.append(f"{made} made, {joined} joined others, {rest}.")
    if built.waiting:
        lines.append(
            f"⚠️  {counted(built.waiting, 'picture')} without a vector yet. The app or `persona-tui worker` "
            "makes them: build again then, or with --background, which waits for them."
        )
    return lines


def _row(one: ReviewView) -> list[object]:
    near, far = f"{one.distance:.2f}", None if one.other_distance is None else f"{one.other_distance:.2f}"
    return [one.id, one.picture.ref, one.picture.label, one.cluster, near, one.other, far]
