"""Clusters & photos: what its keys do with the library's pictures and clusters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.content import Content

from persona_tui.screens import clusters_acts, clusters_groups, clusters_reading
from persona_tui.screens.clusters_acts import Undo
from persona_tui.screens.clusters_finding import ClustersFinding
from persona_tui.screens.clusters_import import ImportPlan, ask_what_to_import, failure_lines
from persona_tui.screens.clusters_shelves import Findings
from persona_tui.screens.clusters_view import ClustersView
from persona_tui.screens.posts_format import make_post
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.viewer import ViewedPicture, ViewerDialog

if TYPE_CHECKING:
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.library.pictures import LibraryPicture

PICTURE_ACTS = frozenset(
    {"mark", "range", "draft", "carousel", "plan", "move", "add", "flag", "open", "similar", "delete"}
)
CLUSTER_ACTS = frozenset({"rename", "prompt", "merge", "split", "unusable", "samples"})

WAITING = ("staged", "reviews", "rejected", "deleted")
"""Shelves of what does not count."""

PictureAct = Callable[[ClustersView, Sequence["LibraryPicture"]], Awaitable[Undo | None]]


class ClustersScreen(ClustersFinding):
    """The library; acts are on the marked pictures, or the one under the cursor, or on the tree's cluster."""

    SCOPE = "clusters"
    TITLE = "Clusters & photos"
    HELP = (
        "The library: photos that were imported and pictures that runs made, in one place. In the tree stand "
        "shelves and the pillars with their clusters; a cluster is a batch of pictures that belong together, "
        "and its dot says how many were not posted yet. Enter or Tab goes from the tree to its pictures, "
        "where Enter shows one alone and Tab goes back; the heavy line is above where you are. Space marks "
        "pictures ✓, r marks all up to the cursor, M all that are listed; then a key moves, flags, drafts, "
        "schedules or deletes them together, and u takes it back. / filters by "
        "name as you type, the keys 1 to 5 go through what else can be filtered for."
    )

    def __init__(self) -> None:
        super().__init__()
        self._undone: list[Undo] = []

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        picture = self.picture
        if action == "accept":
            waits = self._branch is not None and self._branch.kind in WAITING
            return picture is not None and waits
        if action == "reject":
            return picture is not None and picture.stage in ("accepted", "staged")
        if action == "caption":
            return picture is not None and picture.ref.photo_id is not None
        if action in PICTURE_ACTS:
            return picture is not None
        if action == "name":
            return bool(self._cluster is not None and self._cluster.proposed_name)
        if action == "mark_all":
            return bool(len(self._reel))
        if action in CLUSTER_ACTS:
            return self._cluster is not None
        if action == "undo":
            return bool(self._undone)
        if action == "clear":
            return self._chips.active
        return super().check_action(action, parameters)

    # Acts on pictures

    def _do(self, act: PictureAct) -> None:
        pictures = self._chosen()
        if not pictures:
            self.flash("There is no picture here to do that with.", "info")
        else:
            self.spawn(partial(self._carry_out, act, pictures), group="ask", exclusive=True)

    async def _carry_out(self, act: PictureAct, pictures: Sequence[LibraryPicture]) -> None:
        undo = await act(self, pictures)
        if undo is not None:
            self._undone.append(undo)
            self._marked = {}
            self.request_reload()

    def action_undo(self) -> None:
        if self._undone:
            self.spawn(partial(self._undo, self._undone.pop()), group="act")

    async def _undo(self, undo: Undo) -> None:
        await self.act(undo.work)
        self.flash(undo.words)
        self.request_reload()

    def action_flag(self) -> None:
        self._do(clusters_acts.flag)

    def action_plan(self) -> None:
        self._do(clusters_acts.plan)

    def action_move(self) -> None:
        self._do(partial(clusters_acts.put, catalogue=self.shelves.catalogue, out_of=self._from))

    def action_add(self) -> None:
        self._do(partial(clusters_acts.put, catalogue=self.shelves.catalogue, out_of=None, also=True))

    @property
    def _from(self) -> int | None:
        """The cluster in which the pictures shown lie."""
        return self._cluster.id if self._cluster is not None and not self._found else None

    def action_accept(self) -> None:
        self._do(self._deciding(take=True) or clusters_acts.accept)

    def action_reject(self) -> None:
        self._do(self._deciding(take=False) or clusters_acts.reject)

    def _deciding(self, *, take: bool) -> PictureAct | None:
        """What is done with unsure pictures, where these are shown."""
        source = self._source
        if not isinstance(source, Findings) or not source.reviews:
            return None
        return partial(clusters_acts.decide, reviews=source.reviews, take=take)

    def action_delete(self) -> None:
        self._do(clusters_acts.delete)

    def action_caption(self) -> None:
        self._do(clusters_acts.caption)

    def action_draft(self) -> None:
        pictures = self._chosen()
        if not pictures:
            self.flash("There is no picture here to do that with.", "info")
        else:
            self.spawn(partial(self._draft, pictures), group="ask", exclusive=True)

    async def _draft(self, pictures: Sequence[LibraryPicture]) -> None:
        post_id = await clusters_acts.draft(self, pictures)
        self._mark({})
        if len(pictures) == 1:
            await self.shell.go_to("posts", post_id=post_id, propose=1)

    def action_carousel(self) -> None:
        self.spawn(partial(self._carousel, self._chosen()), group="ask", exclusive=True)

    async def _carousel(self, pictures: Sequence[LibraryPicture]) -> None:
        post_id = await make_post(self, [picture.ref for picture in pictures], "carousel")
        self._mark({})
        await self.shell.go_to("posts", post_id=post_id, propose=1)

    def action_open(self) -> None:
        pictures = self._chosen()
        if not pictures:
            self.flash("There is no picture here to do that with.", "info")
        else:
            self.spawn(partial(self._view, pictures), group="ask", exclusive=True)

    async def _view(self, pictures: Sequence[LibraryPicture]) -> None:
        viewed = [ViewedPicture(one.media_key, one.sha256, one.label) for one in pictures]
        await self.ask(ViewerDialog(self.shell.core.resources.media, viewed))

    # Clusters

    @property
    def _cluster(self) -> ClusterView | None:
        return self._branch.cluster if self._branch is not None else None

    def _with_cluster(self, work: Callable[[ClusterView], Awaitable[object]]) -> None:
        cluster = self._cluster
        if cluster is None:
            self.flash("There is no cluster here to do that with.", "info")
        else:
            self.spawn(partial(self._change, work, cluster), group="ask", exclusive=True)

    async def _change(self, work: Callable[[ClusterView], Awaitable[object]], cluster: ClusterView) -> None:
        await work(cluster)
        self.request_reload()

    def action_new(self) -> None:
        self.spawn(self._new, group="ask", exclusive=True)

    async def _new(self) -> None:
        persona_id = self.shell.persona_id
        if persona_id is None:
            self.flash("A cluster belongs to a persona; there is none yet.", "info")
            return
        made = await clusters_groups.new(self, persona_id, self.shelves.catalogue.pillars)
        if made is not None:
            self._target = ("cluster", made)
            self.request_reload()

    def action_rename(self) -> None:
        self._with_cluster(partial(clusters_groups.rename, self))

    def action_pillar(self) -> None:
        if self._marked or self.focused is self.grid:
            act = partial(clusters_acts.move_to_pillar, catalogue=self.shelves.catalogue, out_of=self._from)
            self._do(act)
        else:
            pillars = self.shelves.catalogue.pillars
            self._with_cluster(partial(clusters_groups.give_to_pillar, self, pillars=pillars))

    def action_merge(self) -> None:
        self._with_cluster(self._merge)

    async def _merge(self, cluster: ClusterView) -> None:
        kept = await clusters_groups.merge(self, cluster, self.shelves.catalogue.clusters)
        if kept is not None:
            self._target = ("cluster", kept)

    def action_split(self) -> None:
        self._with_cluster(self._split)

    async def _split(self, cluster: ClusterView) -> None:
        if await clusters_groups.split(self, self._models, cluster, list(self._marked)):
            self._marked = {}

    def action_unusable(self) -> None:
        self._with_cluster(partial(clusters_groups.turn_usable, self))

    def action_name(self) -> None:
        self._with_cluster(partial(clusters_groups.decide_name, self))

    def action_samples(self) -> None:
        self._with_cluster(partial(clusters_groups.export, self))

    def _with_persona(self, work: Callable[[ClustersView, int], Coroutine[Any, Any, object]]) -> None:
        if self.shell.persona_id is None:
            self.flash("The library belongs to a persona; there is none yet.", "info")
        else:
            self.spawn(partial(work, self, self.shell.persona_id), group="ask", exclusive=True)

    def action_build(self) -> None:
        self._with_persona(clusters_groups.build)

    def action_suggestions(self) -> None:
        self._with_persona(self._suggest)

    async def _suggest(self, _screen: ClustersView, persona_id: int) -> None:
        cluster_id = await clusters_groups.suggest(self, persona_id)
        if cluster_id is not None:
            self.shelves.seek(("cluster", cluster_id))
            self.shelves.focus()

    def action_analyse(self) -> None:
        self._with_persona(self._analyse)

    async def _analyse(self, _screen: ClustersView, persona_id: int) -> None:
        from persona_tui.services.library.analyses import retry

        missing = await self.read(clusters_reading.what_is_missing, persona_id)
        again = await self.act(retry, persona_id)
        words = f", {again:,} of them once more" if again else ""
        if missing.lacks and not any(kind.waiting or kind.failed for kind in missing.kinds):
            self.flash(" ".join(missing.lacks), "info", seconds=15)
        else:
            self.flash(f"What is missing is looked at in the background{words}.", "busy")
        self.request_reload()

    def action_prompt(self) -> None:
        cluster = self._cluster
        if cluster is None:
            self.flash("There is no cluster here to do that with.", "info")
        else:
            words = cluster.ai_prompt or "It was made without one."
            self.app.push_screen(TextDialog(f"Prompt of “{cluster.name}”", words))

    # Importing

    def action_import(self) -> None:
        if self.panel.running:
            key = self.shell.registry.label("global.back")
            self.flash(f"An import is running already; {key} stops it.", "info")
        else:
            self.spawn(self._ask_and_import, group="ask", exclusive=True)

    async def _ask_and_import(self) -> None:
        persona_id = self.shell.persona_id
        if persona_id is None:
            self.flash("Photos belong to a persona; there is none yet.", "info")
            return
        plan = await ask_what_to_import(self, persona_id, self.shelves.catalogue.clusters, self._cluster)
        if plan is not None:
            self.spawn(partial(self._import, plan), group="import")

    async def _import(self, plan: ImportPlan) -> None:
        tally = await self.panel.run(plan)
        self.flash(tally.sentence(), "warn" if tally.failed or tally.stopped else "ok", seconds=10)
        self.request_reload()
        if tally.failed:
            lines = Content("\n").join(failure_lines(tally.failed))
            self.app.push_screen(TextDialog(tally.failed_words(), lines))
