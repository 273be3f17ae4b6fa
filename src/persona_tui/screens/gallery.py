"""Gallery & tree: what its keys do with a run's pictures."""

from __future__ import annotations

from functools import partial

from textual.content import Content

from persona_tui.screens import gallery_acts, gallery_order, runs_acts, runs_data
from persona_tui.screens.compare import MOST, CompareScreen
from persona_tui.screens.gallery_data import Leaf
from persona_tui.screens.gallery_view import GalleryView
from persona_tui.screens.winners import WinnersScreen
from persona_tui.widgets.reader import TextDialog

PICTURE_ACTS = frozenset({"winner", "reject", "outside", "all", "flag", "mark", "view"})


class GalleryScreen(GalleryView):
    """A run's pictures, and the acts on those that are marked, or on the one under the cursor."""

    SCOPE = "gallery"
    TITLE = "Gallery & tree"
    HELP = (
        "All pictures of a run with rating and votes: ⭐ the winner, ✅ went on to a next step, ✗ rejected, "
        "⚑ flagged, ▲ would go on, or win, if the step were approved now; + and - try another K, and the "
        "line above says what that costs. Space marks pictures ✓, and then a key rejects, flags or "
        "compares them all. Enter shows one alone, and arrow keys then go from one to the next. In the "
        "tree each picture stands below the one it grew from, beside what is still being made: ← → fold "
        "and unfold a branch, p goes to the parent, [ ] to its siblings. A rejection takes the branch "
        "along, and can be taken back. Ratings that are still voted on are hidden, and their order with "
        "them, until you ask."
    )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in PICTURE_ACTS:
            return self._leaf is not None and not self._places
        if action == "approve":
            return self._album.run is not None and runs_acts.may_approve(self._album.run)
        if action in {"compare", "mark_all", "sort", "filter"}:
            return bool(self._album.leaves)
        if action == "undo":
            return bool(self._last_rejection())
        if action in {"more", "fewer"}:
            return self._album.gate is not None and not self._at_last_step
        if action in {"tree", "vote", "ratings", "old_ratings"}:
            return self._album.run is not None
        return super().check_action(action, parameters)

    def action_runs(self) -> None:
        self.spawn(self._choose_run, group="ask", exclusive=True)

    async def _choose_run(self) -> None:
        chosen = await gallery_acts.choose_run(self, self._run_id)
        if chosen is not None:
            self._look_at_another_run(chosen)
            self._show_view()
            self.request_reload()

    def action_reject(self) -> None:
        self.spawn(self._reject, group="act")

    async def _reject(self) -> None:
        leaves = self._chosen()
        gone = await gallery_acts.reject(self, leaves) if leaves else ()
        if gone:
            self._rejected.append(gone)
            self._unmark()

    def _chosen(self) -> list[Leaf]:
        """The marked pictures; without a mark the one under the cursor."""
        marked = [leaf for leaf in self._album.arranged(True) if leaf.id in self._marked]
        return marked or ([self._leaf] if self._leaf is not None else [])

    def _last_rejection(self) -> tuple[int, ...]:
        """What goes together with the picture under the cursor, or the last that was rejected."""
        here = self._leaf
        if here is not None and here.picture.status == "rejected":
            return next((group for group in reversed(self._rejected) if here.id in group), (here.id,))
        return self._rejected[-1] if self._rejected else ()

    def action_undo(self) -> None:
        self.spawn(self._undo, group="act")

    async def _undo(self) -> None:
        group = self._last_rejection()
        if not group:
            return
        await gallery_acts.take_back(self, group)
        if group in self._rejected:
            self._rejected.remove(group)
        self._wanted = group[0]
        self.request_reload()

    # Marks, order and filter

    def action_mark(self) -> None:
        if self._leaf is not None:
            self._marked ^= {self._leaf.id}
            self._show_marks()

    def action_mark_all(self) -> None:
        shown = {leaf.id for leaf in self._leaves}
        self._marked = set() if self._marked >= shown else self._marked | shown
        self._show_marks()

    def _unmark(self) -> None:
        self._marked = set()
        self._show_marks()

    def _show_marks(self) -> None:
        self._show_cursor()
        self._show_words()

    def action_sort(self) -> None:
        self._order = gallery_order.following(self._order, gallery_order.ORDERS)
        self._show_marks()

    def action_filter(self) -> None:
        possible = gallery_order.worth_choosing(self._album.leaves)
        self._keep = gallery_order.following(self._keep, possible)
        if self._leaf not in self._leaves:
            self._leaf = self._first()
        self._show_marks()

    # Flags, and other views of the pictures

    def action_flag(self) -> None:
        self.spawn(self._flag, group="act")

    async def _flag(self) -> None:
        leaves = self._chosen()
        if leaves:
            await gallery_acts.flag(self, leaves)

    def action_compare(self) -> None:
        ids = tuple(leaf.id for leaf in self._album.arranged(self._revealed) if leaf.id in self._marked)
        if self._album.run is None or not 2 <= len(ids) <= MOST:
            key = self.shell.registry.label("gallery.mark")
            self.flash(f"Mark two to four pictures with [{key}] first; {_are(len(ids))} marked.", "info")
            return
        screen = CompareScreen(self._album.run.id, ids, self._rejected, revealed=self._revealed)
        self.app.push_screen(screen)

    def action_winners(self) -> None:
        self.app.push_screen(WinnersScreen())

    def action_view(self) -> None:
        self.spawn(self._view, group="ask", exclusive=True)

    async def _view(self) -> None:
        leaves, here = self._leaves, self._leaf
        index = await gallery_acts.view(
            self, leaves, leaves.index(here) if here in leaves else 0, zoomed=True
        )
        if index is not None:
            self._leaf = leaves[index]
            self._show_marks()

    # The gate

    @property
    def _at_last_step(self) -> bool:
        return self._album.run is not None and self._album.run.current.is_last

    def action_more(self) -> None:
        self._try_k(1)

    def action_fewer(self) -> None:
        self._try_k(-1)

    def _try_k(self, by: int) -> None:
        k = self._gate.try_other(by)
        if k is not None:
            self.spawn(partial(self._look_at_gate, k), group="gate", exclusive=True)

    async def _look_at_gate(self, k: int) -> None:
        step = self._album.run.current if self._album.run is not None else None
        if step is None:
            return
        self._gate.take(await self.read(runs_data.preview, step.id, k))
        self._tree.show(self._tree.items)
        self._show_marks()

    def action_winner(self) -> None:
        leaf, run = self._leaf, self._album.run
        if leaf is not None and run is not None:
            work = partial(gallery_acts.make_winner, self, run.winner_id, leaf.id)
            self.spawn(work, group="ask", exclusive=True)

    def action_approve(self) -> None:
        run = self._album.run
        if run is not None:
            k = self._gate.tried.get(run.current.id)
            self.spawn(partial(runs_acts.approve, self, run, k), group="ask", exclusive=True)

    def action_ratings(self) -> None:
        self._revealed = self._gate.shown = not self._revealed
        self._tree.plant(self._album, self._album.arranged(self._revealed))
        self._show_cursor()
        self._show_words()
        self.flash(
            "All ratings are shown." if self._revealed else "What is voted on is hidden again.", "info"
        )

    def action_old_ratings(self) -> None:
        run = self._album.run
        if run is not None:
            work = partial(gallery_acts.take_old_ratings, self, run.current)
            self.spawn(work, group="ask", exclusive=True)

    async def action_vote(self) -> None:
        if self._album.run is not None:
            await self.shell.go_to("vote", run_id=self._album.run.id)

    def action_outside(self) -> None:
        if self._leaf is not None:
            gallery_acts.show_outside(self, self._leaf.media_key)

    def action_all(self) -> None:
        text = Content("")
        for title, lines in self._parts():
            text += Content.styled(f"{title.upper()}\n", "$section bold") + Content("\n").join(lines)
            text += Content("\n\n")
        self.app.push_screen(TextDialog("Picture", text.rstrip()))


def _are(number: int) -> str:
    return f"{number or 'none'} {'is' if number == 1 else 'are'}"
