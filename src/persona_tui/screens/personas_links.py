"""What a persona is linked with: the clusters that serve its pillars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.fields import TextField
from persona_tui.widgets.form import FormDialog, Values

if TYPE_CHECKING:
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.planning.pillars import PillarView

NEW_CLUSTER = 0
"""Stands for a cluster that is still to be made; no row has this id."""


async def link_clusters(screen: PersonaScreen, pillar: PillarView) -> int:
    """Ask for one cluster after another until Esc; each serves the pillar from then on.

    Returns:
        How many were linked.
    """
    from persona_tui.services.library.clusters import assign_pillar, list_clusters

    linked, current = 0, None
    while True:
        choices = _choices(await screen.read(list_clusters, pillar.persona_id), pillar)
        dialog = ChoiceDialog(f"Which clusters serve {pillar.name}?", choices, current=current)
        chosen = await screen.ask(dialog)
        if chosen is None:
            return linked
        current = chosen.value
        if current == NEW_CLUSTER:
            linked += await _new_cluster(screen, pillar)
        else:
            await screen.act(assign_pillar, current, pillar.id)
            linked += 1


def _choices(clusters: tuple[ClusterView, ...], pillar: PillarView) -> list[Choice[int]]:
    """A new one first, then those without a pillar, then the others'."""
    ordered = sorted(
        clusters, key=lambda cluster: (cluster.pillar_id is not None, cluster.pillar_id == pillar.id)
    )
    choices = [Choice(NEW_CLUSTER, "+ a new cluster")]
    for cluster in ordered:
        note = f"serves {cluster.pillar}" if cluster.pillar else "without a pillar"
        here = cluster.pillar_id == pillar.id
        choices.append(Choice(cluster.id, cluster.name, "✓ serves it already" if here else note))
    return choices


async def _new_cluster(screen: PersonaScreen, pillar: PillarView) -> bool:
    from persona_tui.services.library.clusters import create_cluster

    async def submit(typed: Values) -> None:
        await screen.act(create_cluster, pillar.persona_id, typed, pillar_id=pillar.id)

    field = TextField(name="name", label="Name", required=True, longest=80)
    form = FormDialog("New cluster", [field], about=pillar.name, submit=submit)
    return await screen.ask(form) is not None
