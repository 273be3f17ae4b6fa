"""Clusters & photos: the library's shelves with their stock, and the pictures on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.events import Resize

from persona_tui.errors import PersonaError
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.clusters_import import (
    ImportPanel,
    ImportPlan,
    ask_what_to_import,
    failure_lines,
)
from persona_tui.screens.clusters_reading import (
    Shelf,
    Shot,
    load_shelves,
    load_shots,
    shelf_row,
    shot_row,
    tile_words,
)
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.fields import ChoiceField, LongTextField, TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.thumbnails import Thumbnails
from persona_tui.widgets.viewer import ViewedPicture, ViewerDialog

if TYPE_CHECKING:
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.planning.pillars import PillarView


class ClustersScreen(PersonaScreen):
    """Clusters on the left, the pictures of one of them on the right."""

    SCOPE = "clusters"
    TITLE = "Clusters & photos"
    HELP = (
        "The library. A cluster is a batch of pictures that belong together and serve a pillar; the dot says "
        "how many of them were not posted yet. Photos come in from a folder, winners of runs by themselves."
    )
    TOPICS = frozenset({"cluster", "photo", "pillar", "candidate", "post"})
    CSS_PATH = "clusters.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._shots: tuple[Shot, ...] = ()
        self._only_unposted = False
        self._target: int | None = None

    def compose_body(self) -> ComposeResult:
        yield EmptyState("No clusters yet.", "clusters.new", icon="📷", id="clusters-empty")
        with Container(id="panes"):
            with Vertical(id="clusters-part"):
                yield SectionTitle("Clusters", id="clusters-title")
                yield DataList(
                    [
                        Column("Stock", 8),
                        Column("Cluster", share=3),
                        Column("Pillar", share=2, from_width=48),
                        Column("Unposted", 8, align="right"),
                    ],
                    shelf_row,
                    key=lambda shelf: shelf.key,
                    id="clusters",
                )
            with Vertical(id="pictures-part"):
                yield SectionTitle("Pictures", id="pictures-title")
                yield DataList(
                    [Column("Picture"), Column("", 10), Column("Size", 10, from_width=40)],
                    shot_row,
                    key=lambda shot: shot.key,
                    empty="nothing here",
                    id="pictures",
                )
                yield PicturePane("", id="preview")
                yield Thumbnails(tile_words, id="thumbnails")
        yield ImportPanel(id="import")

    @property
    def shelf_list(self) -> DataList[Shelf]:
        """The list of clusters."""
        found: DataList[Shelf] = self.query_one("#clusters", DataList)
        return found

    @property
    def shot_list(self) -> DataList[Shot]:
        """The list of pictures."""
        found: DataList[Shot] = self.query_one("#pictures", DataList)
        return found

    @property
    def pictures(self) -> DataList[Shot] | Thumbnails[Shot]:
        """What shows the pictures at this size."""
        return self.query_one(Thumbnails) if self.has_class("-wide") else self.shot_list

    @property
    def panel(self) -> ImportPanel:
        """The import's panel."""
        return self.query_one(ImportPanel)

    def on_mount(self) -> None:
        self.shelf_list.focus()

    def on_resize(self, _event: Resize) -> None:
        """At another size other widgets show the pictures."""
        if isinstance(self.focused, Thumbnails) or self.focused is self.shot_list:
            self.call_after_refresh(self._focus_pictures)

    def _focus_pictures(self) -> None:
        self.pictures.focus()

    # Reading

    async def reload(self) -> None:
        persona_id = self.shell.persona_id
        shelves = await self.read(load_shelves, persona_id) if persona_id is not None else ()
        self.set_class(not shelves, "-empty")
        empty = self.query_one(EmptyState)
        if persona_id is None:
            empty.text, empty.action = "No persona yet.\nA cluster belongs to one.", "global.personas"
        else:
            empty.text, empty.action = (
                "No clusters yet.\nA cluster gathers pictures that belong together.",
                "clusters.new",
            )
        self.shelf_list.show(shelves)
        if self._target is not None and self.shelf_list.go_to(self._target):
            self.shelf_list.focus()
        self._target = None
        unposted = sum(shelf.cluster.unposted for shelf in shelves if shelf.cluster is not None)
        title = self.query_one("#clusters-title", SectionTitle)
        title.note = f"{counted(unposted, 'picture')} unposted"

    def aim(self, **target: int) -> None:
        """Look at `cluster_id`."""
        self._target = target.get("cluster_id")
        self.request_reload()

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        if event.list.id == "clusters":
            self.spawn(partial(self._load_shots, event.item), group="shots", exclusive=True, quiet=True)
        else:
            self.query_one(Thumbnails).show(self.shot_list.items, event.index)
            self.spawn(partial(self._preview, event.item), group="preview", exclusive=True, quiet=True)

    async def _load_shots(self, shelf: Shelf) -> None:
        persona_id = self.shell.persona_id
        if persona_id is not None:
            self._shots = await self.read(load_shots, persona_id, shelf.key)
            self._show_shots(shelf)

    def _show_shots(self, shelf: Shelf) -> None:
        listed = [shot for shot in self._shots if not (self._only_unposted and shot.posted)]
        title = self.query_one("#pictures-title", SectionTitle)
        title.title = shelf.name
        notes = [counted(len(listed), "picture")]
        notes += ["unposted only"] if self._only_unposted else []
        if shelf.cluster is not None:
            notes.append(shelf.cluster.pillar or "no pillar")
        title.note = ", ".join(notes)
        self.set_class(not listed, "-no-pictures")
        self.shot_list.show(listed)
        if not listed:
            self.query_one(Thumbnails).show((), 0)
            key = self.shell.registry.label("clusters.import")
            self.query_one("#preview", PicturePane).show(None, f"No pictures yet: {key} imports a folder.")

    async def _preview(self, shot: Shot) -> None:
        pane, media = self.query_one("#preview", PicturePane), self.shell.core.resources.media
        try:
            path = await asyncio.to_thread(media.thumbnail, shot.media_key, shot.sha256)
        except PersonaError as problem:
            pane.show(None, problem.message)
            return
        pane.show(path, shot.label)

    def on_thumbnails_highlighted(self, event: Thumbnails.Highlighted) -> None:
        self.shot_list.cursor = event.index

    # Going in and out

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        if event.list.id == "clusters":
            self._focus_pictures()
        else:
            self.action_open()

    def on_thumbnails_opened(self, _event: Thumbnails.Opened) -> None:
        self.action_open()

    def step_back(self) -> bool:
        if self.panel.running:
            self.panel.stop()
            self.flash("Stopping after this file…", "busy")
        elif self.focused is self.pictures:
            self.shelf_list.focus()
        elif self._only_unposted:
            self.action_unposted()
        else:
            return super().step_back()
        return True

    # Clusters

    def action_new(self) -> None:
        self.spawn(self._new, group="ask")

    async def _new(self) -> None:
        from persona_tui.services.library.clusters import create_cluster

        persona_id = self.shell.persona_id
        if persona_id is None:
            self.flash("A cluster belongs to a persona; there is none yet.", "info")
            return
        made: list[ClusterView] = []

        async def submit(values: Mapping[str, Any]) -> None:
            words = {"name": values["name"], "ai_prompt": values["prompt"]}
            made.append(await self.act(create_cluster, persona_id, words, pillar_id=values["pillar"]))

        pillars = [(pillar.id, pillar.name) for pillar in await self._pillars()]
        form = FormDialog(
            "New cluster",
            [
                TextField(name="name", label="Name", required=True),
                ChoiceField(name="pillar", label="Pillar", choices=[*pillars, (None, "none yet")]),
                LongTextField(name="prompt", label="Prompt", hint="What its pictures show; may stay empty."),
            ],
            submit=submit,
        )
        if await self.ask(form) and made:
            self._target = made[0].id
            self.request_reload()
            key = self.shell.registry.label("clusters.import")
            self.flash(f"Cluster “{made[0].name}” is there. {key} imports photos into it.")

    async def _pillars(self) -> tuple[PillarView, ...]:
        from persona_tui.services.planning.pillars import list_pillars

        persona_id = self.shell.persona_id
        return await self.read(list_pillars, persona_id) if persona_id is not None else ()

    def _cluster(self) -> ClusterView | None:
        shelf = self.shelf_list.current
        if shelf is None or shelf.cluster is None:
            self.flash("There is no cluster here to do that with.", "info")
            return None
        return shelf.cluster

    def action_rename(self) -> None:
        if (cluster := self._cluster()) is not None:
            self.spawn(partial(self._rename, cluster), group="ask")

    async def _rename(self, cluster: ClusterView) -> None:
        from persona_tui.services.library.clusters import rename_cluster

        async def submit(values: Mapping[str, Any]) -> None:
            await self.act(rename_cluster, cluster.id, values["name"])

        field = TextField(name="name", label="Name", value=cluster.name, required=True)
        if await self.ask(FormDialog("Rename the cluster", [field], submit=submit)):
            self.request_reload()
            self.flash("The cluster has its new name.")

    def action_pillar(self) -> None:
        if (cluster := self._cluster()) is not None:
            self.spawn(partial(self._choose_pillar, cluster), group="ask")

    async def _choose_pillar(self, cluster: ClusterView) -> None:
        from persona_tui.services.library.clusters import assign_pillar

        choices = [Choice(p.id, p.name, f"{p.weight:g} %") for p in await self._pillars()]
        key = self.shell.registry.label("global.personas")
        dialog = ChoiceDialog(
            f"Which pillar does “{cluster.name}” serve?",
            choices,
            current=cluster.pillar_id,
            empty=f"no pillars yet: {key} is where they are made",
        )
        if (chosen := await self.ask(dialog)) is not None:
            await self.act(assign_pillar, cluster.id, chosen.value)
            self.request_reload()
            self.flash(f"“{cluster.name}” serves {chosen.label} now.")

    def action_prompt(self) -> None:
        if (cluster := self._cluster()) is not None:
            words = cluster.ai_prompt or "It was made without one."
            self.app.push_screen(TextDialog(f"Prompt of “{cluster.name}”", words))

    # Pictures

    def _shot(self) -> Shot | None:
        shot = self.shot_list.current
        if shot is None:
            self.flash("There is no picture here to do that with.", "info")
        return shot

    def action_open(self) -> None:
        if self._shot() is not None:
            self.spawn(self._view, group="ask")

    async def _view(self) -> None:
        shots = self.shot_list.items
        pictures = [ViewedPicture(shot.media_key, shot.sha256, shot.label) for shot in shots]
        viewer = ViewerDialog(self.shell.core.resources.media, pictures, self.shot_list.cursor)
        last = await self.ask(viewer)
        if last is not None:
            self.shot_list.cursor = last

    def action_draft(self) -> None:
        if (shot := self._shot()) is not None:
            self.spawn(partial(self._draft, shot), group="ask")

    async def _draft(self, shot: Shot) -> None:
        from persona_tui.services.publishing.winners import draft_for_winner

        post = await self.act(draft_for_winner, shot.candidate_id, photo_id=shot.photo_id)
        await self.shell.go_to("posts", post_id=post.id, propose=1)

    def action_add(self) -> None:
        if (shot := self._shot()) is not None:
            self.spawn(partial(self._add, shot), group="ask")

    async def _add(self, shot: Shot) -> None:
        from persona_tui.services.library.clusters import add_picture

        here = self.shelf_list.current_key
        choices = [
            Choice(shelf.key, shelf.name, shelf.cluster.pillar or "")
            for shelf in self.shelf_list.items
            if shelf.cluster is not None and shelf.key != here
        ]
        dialog = ChoiceDialog(f"Put {shot.label} into which cluster?", choices, empty="there is no other one")
        if (chosen := await self.ask(dialog)) is not None:
            await self.act(add_picture, chosen.value, photo_id=shot.photo_id, candidate_id=shot.candidate_id)
            self.request_reload()
            self.flash(f"{shot.label} is in “{chosen.label}” as well.")

    def action_unposted(self) -> None:
        self._only_unposted = not self._only_unposted
        if (shelf := self.shelf_list.current) is not None:
            self._show_shots(shelf)

    # Importing

    def action_import(self) -> None:
        if self.panel.running:
            key = self.shell.registry.label("global.back")
            self.flash(f"An import is running already; {key} stops it.", "info")
        else:
            self.spawn(self._ask_and_import, group="ask")

    async def _ask_and_import(self) -> None:
        persona_id = self.shell.persona_id
        if persona_id is None:
            self.flash("Photos belong to a persona; there is none yet.", "info")
            return
        shelf = self.shelf_list.current
        plan = await ask_what_to_import(self, persona_id, self.shelf_list.items, shelf)
        if plan is not None:
            self.spawn(partial(self._import, plan), group="import")

    async def _import(self, plan: ImportPlan) -> None:
        tally = await self.panel.run(plan)
        self.flash(tally.sentence(), "warn" if tally.failed or tally.stopped else "ok", seconds=10)
        self.request_reload()
        if tally.failed:
            self.app.push_screen(
                TextDialog(tally.failed_words(), Content("\n").join(failure_lines(tally.failed)))
            )
