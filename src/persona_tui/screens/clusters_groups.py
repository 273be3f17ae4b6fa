"""What the keys do with one cluster: made, renamed, given to a pillar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.fields import ChoiceField, LongTextField, TextField
from persona_tui.widgets.form import FormDialog

if TYPE_CHECKING:
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.planning.pillars import PillarView


async def new(screen: PersonaScreen, persona_id: int, pillars: Sequence[PillarView]) -> int | None:
    """Ask for a new cluster's name and pillar; its id once it is made."""
    from persona_tui.services.library.clusters import create_cluster

    made: list[ClusterView] = []

    async def submit(values: Mapping[str, Any]) -> None:
        words = {"name": values["name"], "ai_prompt": values["prompt"]}
        made.append(await screen.act(create_cluster, persona_id, words, pillar_id=values["pillar"]))

    known = [(pillar.id, pillar.name) for pillar in pillars]
    form = FormDialog(
        "New cluster",
        [
            TextField(name="name", label="Name", required=True),
            ChoiceField(name="pillar", label="Pillar", choices=[*known, (None, "none yet")]),
            LongTextField(name="prompt", label="Prompt", hint="What its pictures show; may stay empty."),
        ],
        submit=submit,
    )
    if not await screen.ask(form) or not made:
        return None
    key = screen.shell.registry.label("clusters.import")
    screen.flash(f"Cluster “{made[0].name}” is there. {key} imports photos into it.")
    return made[0].id


async def rename(screen: PersonaScreen, cluster: ClusterView) -> None:
    """Ask for another name."""
    from persona_tui.services.library.clusters import rename_cluster

    async def submit(values: Mapping[str, Any]) -> None:
        await screen.act(rename_cluster, cluster.id, values["name"])

    field = TextField(name="name", label="Name", value=cluster.name, required=True)
    if await screen.ask(FormDialog("Rename the cluster", [field], submit=submit)):
        screen.flash("The cluster has its new name.")


async def choose_pillar(
    screen: PersonaScreen, title: str, pillars: Sequence[PillarView], current: int | None
) -> Choice[int] | None:
    """Ask for one of the persona's pillars."""
    choices = [Choice(pillar.id, pillar.name, f"{pillar.weight:g} %") for pillar in pillars]
    key = screen.shell.registry.label("global.personas")
    empty = f"no pillars yet: {key} is where they are made"
    return await screen.ask(ChoiceDialog(title, choices, current=current, empty=empty))


async def give_to_pillar(screen: PersonaScreen, cluster: ClusterView, pillars: Sequence[PillarView]) -> None:
    """Ask which pillar it serves."""
    from persona_tui.services.library.clusters import assign_pillar

    title = f"Which pillar does “{cluster.name}” serve?"
    if (chosen := await choose_pillar(screen, title, pillars, cluster.pillar_id)) is not None:
        await screen.act(assign_pillar, cluster.id, chosen.value)
        screen.flash(f"“{cluster.name}” serves {chosen.label} now.")


async def choose_cluster(
    screen: PersonaScreen, title: str, clusters: Sequence[ClusterView], without: int | None = None
) -> Choice[int] | None:
    """Ask for one of the clusters.

    Args:
        without: the one that is not meant.
    """
    choices = [
        Choice(cluster.id, cluster.name, cluster.pillar or "")
        for cluster in clusters
        if cluster.id != without
    ]
    key = screen.shell.registry.label("clusters.new")
    return await screen.ask(ChoiceDialog(title, choices, empty=f"there is no other one; {key} makes one"))
