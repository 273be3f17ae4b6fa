"""What the keys do with clusters: made, renamed, given to a pillar, merged, split, built."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import ChoiceField, IntegerField, LongTextField, TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted

if TYPE_CHECKING:
    from persona_tui.services.jobs import Pool
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.library.pictures import PictureRef
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


async def merge(screen: PersonaScreen, cluster: ClusterView, clusters: Sequence[ClusterView]) -> int | None:
    """Ask into which cluster it goes, and for certain; the id of the one that stays."""
    from persona_tui.services.library.merging import merge_clusters

    chosen = await choose_cluster(screen, f"Merge “{cluster.name}” into which cluster?", clusters, cluster.id)
    if chosen is None:
        return None
    question = ConfirmDialog(
        f"Merge “{cluster.name}” into “{chosen.label}”?",
        f"Its {counted(cluster.pictures, 'picture')}, posts and runs follow, and “{cluster.name}” is gone.",
        title="Merge clusters",
        yes="Merge",
        no="Leave both",
    )
    if not await screen.ask(question):
        return None
    kept = await screen.act(merge_clusters, chosen.value, [cluster.id])
    screen.flash(f"“{kept.name}” has {counted(kept.pictures, 'picture')} now.")
    return kept.id


async def split(
    screen: PersonaScreen, pool: Pool, cluster: ClusterView, marked: Sequence[PictureRef]
) -> bool:
    """Split off the marked pictures under a new name; without marks, by how the pictures look.

    Returns:
        Whether that was done.
    """
    if marked:
        return await _split_off(screen, cluster, marked)
    from persona_tui.services.library.builds import split_cluster
    from persona_tui.services.library.embeddings import current_model

    screen.flash(f"Looking for parts of “{cluster.name}”…", "busy", seconds=60)
    settings = screen.shell.core.resources.settings
    model = await asyncio.to_thread(current_model, settings)
    parts = await split_cluster(screen.shell.database.session_scope, pool, cluster.id, model.hash)
    screen.flash(f"“{cluster.name}” is {counted(len(parts), 'cluster')} now.", seconds=10)
    return True


async def _split_off(screen: PersonaScreen, cluster: ClusterView, marked: Sequence[PictureRef]) -> bool:
    from persona_tui.services.library.merging import split_off

    async def submit(values: Mapping[str, Any]) -> None:
        await screen.act(split_off, cluster.id, marked, values["name"])

    field = TextField(name="name", label="Name", value=f"{cluster.name} 2", required=True)
    about = f"The {counted(len(marked), 'marked picture')} go into a new cluster."
    if not await screen.ask(FormDialog(f"Split “{cluster.name}”", [field], about=about, submit=submit)):
        return False
    screen.flash(f"{counted(len(marked), 'picture')} left “{cluster.name}” for a new cluster.")
    return True


async def turn_usable(screen: PersonaScreen, cluster: ClusterView) -> None:
    """Leave it out of planning, or let it in again."""
    from persona_tui.services.library.clusters import set_usable

    usable = cluster.status != "active"
    await screen.act(set_usable, cluster.id, usable)
    words = "is planned with again" if usable else "is left out of planning"
    screen.flash(f"“{cluster.name}” {words}.")


async def decide_name(screen: PersonaScreen, cluster: ClusterView) -> None:
    """Take or dismiss the name that was proposed."""
    from persona_tui.services.library.naming import dismiss_name, take_name

    if not cluster.proposed_name:
        screen.flash(f"No name is proposed for “{cluster.name}”.", "info")
        return
    choices = [
        Choice(take_name, f"Call it “{cluster.proposed_name}”"),
        Choice(dismiss_name, "Dismiss the proposal", "it is not made again"),
    ]
    chosen = await screen.ask(ChoiceDialog(f"A name for “{cluster.name}”", choices))
    if chosen is not None:
        view = await screen.act(chosen.value, cluster.id)
        screen.flash(f"The cluster is called “{view.name}”.")


async def build(screen: PersonaScreen, persona_id: int) -> None:
    """Queue a build, and say what it waits for."""
    from persona_tui.services.library.builds import request_build, without_vector
    from persona_tui.services.library.embeddings import current_model

    model = await asyncio.to_thread(current_model, screen.shell.core.resources.settings)
    job = await screen.act(request_build, persona_id)
    missing = await screen.read(without_vector, persona_id, model.hash)
    where = screen.shell.registry.label("global.jobs")
    if missing:
        which = "A build waits already" if job is None else "The build waits"
        screen.flash(f"{which} for vectors of {counted(missing, 'picture')}; it goes on by itself.", "busy")
    elif job is None:
        screen.flash("A build waits already; its clusters come here by themselves.", "info")
    else:
        screen.flash(
            f"Clusters are built in the background and come here; {where} shows how far it is.", "busy"
        )


async def suggest(screen: PersonaScreen, persona_id: int) -> int | None:
    """Show what could be better; the id of the cluster to look at."""
    from persona_tui.services.library.embeddings import current_model
    from persona_tui.services.library.merging import suggestions

    model = await asyncio.to_thread(current_model, screen.shell.core.resources.settings)
    found = await screen.read(suggestions, persona_id, model.hash)
    choices = [Choice(one.cluster_id, one.sentence, one.why) for one in found]
    dialog = ChoiceDialog("What could be better", choices, empty="nothing: every cluster is of a good size")
    chosen = await screen.ask(dialog)
    if chosen is None:
        return None
    label = screen.shell.registry.label
    screen.flash(f"[{label('clusters.merge')}] merges it, [{label('clusters.split')}] splits it.", "info")
    return int(chosen.value)


async def export(screen: PersonaScreen, cluster: ClusterView) -> None:
    """Ask for a folder, and copy some of the pictures there."""
    from persona_tui.services.library.embeddings import current_model
    from persona_tui.services.library.samples import choose_samples, export_samples

    resources = screen.shell.core.resources
    made: list[Path] = []

    async def submit(values: Mapping[str, Any]) -> None:
        model = await asyncio.to_thread(current_model, resources.settings)
        samples = await screen.read(choose_samples, cluster.id, model.hash, values["count"])
        folder = Path(values["folder"]).expanduser()
        made.extend(await asyncio.to_thread(export_samples, samples, resources.media, folder))

    fields = [
        TextField(
            name="folder", label="Folder", required=True, longest=4096, hint="Made if it is not there."
        ),
        IntegerField(name="count", label="How many", value=10, required=True, minimum=1, maximum=1000),
    ]
    if await screen.ask(FormDialog(f"Samples of “{cluster.name}”", fields, submit=submit)):
        screen.flash(f"{counted(len(made), 'file')} in {made[0].parent}.", seconds=10)
