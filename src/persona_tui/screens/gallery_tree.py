"""The tree of a run: pictures below those from which they grew, and what is still to come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType

from persona_tui.actions import TABLES, bindings
from persona_tui.screens import gallery_lines
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.marks import dim

if TYPE_CHECKING:
    from persona_tui.screens.gallery_data import Album, Leaf
    from persona_tui.services.generation.places import PlaceView

Key = tuple[str, int]
SMALL = 60
"""Up to so many pictures the whole tree is unfolded at first."""


@dataclass(frozen=True, slots=True)
class Twig:
    """A row of the tree: a picture, or places without one.

    Attributes:
        key: what it stands for, the same after each reading.
        leaf: the picture; None for places.
        places: one that is made or given up, or several that wait.
        lines: for each level above it, whether that branch goes on below; the last is its own.
        unfolded: its children are shown; None where it has none.
    """

    key: Key
    leaf: Leaf | None
    places: tuple[PlaceView, ...]
    lines: tuple[bool, ...]
    unfolded: bool | None

    @property
    def depth(self) -> int:
        """0 for what grew from the prompt alone."""
        return len(self.lines) - 1


class Forest:
    """Which rows the tree has; only unfolded branches are walked."""

    def __init__(self) -> None:
        self._children: Mapping[int | None, Sequence[Leaf]] = {}
        self._places: Mapping[int | None, Sequence[PlaceView]] = {}
        self._parents: Mapping[int, int | None] = {}
        self._folded: set[int] = set()
        self._unfolded: set[int] = set()
        self._all = True

    def plant(self, leaves: Iterable[Leaf], places: Iterable[PlaceView]) -> None:
        """Take what was read; folds stay as they are."""
        children: dict[int | None, list[Leaf]] = {}
        waiting: dict[int | None, list[PlaceView]] = {}
        for leaf in leaves:
            children.setdefault(leaf.picture.parent_id, []).append(leaf)
        for place in places:
            waiting.setdefault(place.parent_id, []).append(place)
        self._children, self._places = children, waiting
        self._parents = {leaf.id: parent for parent, found in children.items() for leaf in found}
        self._all = len(self._parents) <= SMALL

    def forget_folds(self) -> None:
        """Another run: fold as at first."""
        self._folded, self._unfolded = set(), set()

    def is_unfolded(self, candidate_id: int) -> bool:
        """Whether a picture's children are shown, if it has any."""
        if candidate_id in self._folded:
            return False
        return self._all or candidate_id in self._unfolded

    def has_children(self, candidate_id: int) -> bool:
        """Whether something grows from it, or is to."""
        return candidate_id in self._children or candidate_id in self._places

    def set_unfolded(self, candidate_id: int, unfolded: bool) -> None:
        """Show a picture's children, or hide them."""
        self._folded.discard(candidate_id)
        self._unfolded.discard(candidate_id)
        (self._unfolded if unfolded else self._folded).add(candidate_id)

    def set_all(self, unfolded: bool) -> None:
        """Show all children, or only what grew from the prompt alone."""
        everyone = {one for one in self._parents if self.has_children(one)}
        self._folded = set() if unfolded else everyone
        self._unfolded = everyone if unfolded else set()

    def open_way_to(self, candidate_id: int) -> None:
        """Unfold all that hides a picture."""
        parent = self._parents.get(candidate_id)
        while parent is not None:
            if not self.is_unfolded(parent):
                self.set_unfolded(parent, True)
            parent = self._parents.get(parent)

    def parent_of(self, twig: Twig) -> int | None:
        """The picture from which a row grew."""
        if twig.leaf is not None:
            return twig.leaf.picture.parent_id
        return twig.places[0].parent_id

    def twigs(self) -> tuple[Twig, ...]:
        """The rows that are to be seen, from top to bottom."""
        return tuple(self._walk(None, ()))

    def _walk(self, parent: int | None, above: tuple[bool, ...]) -> Iterator[Twig]:
        leaves, places = self._children.get(parent, ()), _grouped(self._places.get(parent, ()))
        last = len(leaves) + len(places)
        for number, leaf in enumerate(leaves, start=1):
            lines = (*above, number < last)
            grows = self.has_children(leaf.id)
            unfolded = self.is_unfolded(leaf.id) if grows else None
            yield Twig(("picture", leaf.id), leaf, (), lines, unfolded)
            if unfolded:
                yield from self._walk(leaf.id, lines)
        for number, group in enumerate(places, start=len(leaves) + 1):
            yield Twig(("place", group[0].slot_id), None, group, (*above, number < last), None)


def _grouped(places: Sequence[PlaceView]) -> list[tuple[PlaceView, ...]]:
    """Each place that is made or given up by itself; those that wait together, per step."""
    made = [(place,) for place in places if place.state == "busy"]
    waiting: dict[int, list[PlaceView]] = {}
    for place in places:
        if place.state == "open":
            waiting.setdefault(place.position, []).append(place)
    given_up = [(place,) for place in places if place.state == "failed"]
    return [*made, *(tuple(group) for group in waiting.values()), *given_up]


class BranchList(DataList[Twig]):
    """The rows of a forest, with keys that fold and that go from parent to child.

    Args:
        revealed: whether secret ratings are to be told.
        progress: job's id → how far it is, 0 to 1.
        passes: whether a picture would go on if its step were approved now.
    """

    SCOPES: ClassVar[tuple[str, ...]] = ("branches", "list")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["branches"])]

    def __init__(
        self,
        revealed: Callable[[], bool],
        progress: Callable[[int], float | None],
        passes: Callable[[int], bool],
        *,
        id: str,
    ) -> None:
        self.forest = Forest()
        self._revealed = revealed
        self._progress = progress
        self._passes = passes
        super().__init__(
            [
                Column("Picture"),
                Column("State", 15),
                Column("Rating", 6, align="right"),
                Column("Votes", 5, align="right"),
            ],
            self._twig_cells,
            key=lambda twig: twig.key,
            id=id,
        )

    def _twig_cells(self, twig: Twig) -> list[Cell]:
        name = gallery_lines.branch(twig)
        if twig.leaf is None:
            share = self._progress(twig.places[0].job_id or 0)
            return [
                name,
                gallery_lines.place_mark(twig.places),
                dim("" if share is None else f"{share:.0%}"),
                "",
            ]
        rating = gallery_lines.score(twig.leaf, self._revealed())
        mark = gallery_lines.mark(twig.leaf, self._passes(twig.leaf.id))
        return [name, mark, rating, dim(str(twig.leaf.trace.votes))]

    def plant(self, album: Album, leaves: Sequence[Leaf]) -> None:
        """Show what was read."""
        self.forest.plant(leaves, album.places)
        self._show_twigs()

    def seek(self, candidate_id: int) -> None:
        """Put the cursor onto a picture, and unfold what hides it."""
        if not self.go_to(("picture", candidate_id)):
            self.forest.open_way_to(candidate_id)
            self._show_twigs()
            self.go_to(("picture", candidate_id))

    def _show_twigs(self) -> None:
        self.show(self.forest.twigs())

    # Folding

    def action_fold(self) -> None:
        twig = self.current
        if twig is not None and twig.leaf is not None and twig.unfolded:
            self.forest.set_unfolded(twig.leaf.id, False)
            self._show_twigs()
        else:
            self.action_parent()

    def action_unfold(self) -> None:
        twig = self.current
        if twig is None or twig.leaf is None or twig.unfolded is None:
            return
        if twig.unfolded:
            self.cursor += 1
        else:
            self.forest.set_unfolded(twig.leaf.id, True)
            self._show_twigs()

    def action_unfold_all(self) -> None:
        self.forest.set_all(True)
        self._show_twigs()

    def action_fold_all(self) -> None:
        top = self.current
        while top is not None and (parent := self.forest.parent_of(top)) is not None:
            self.go_to(("picture", parent))
            top = self.current
        self.forest.set_all(False)
        self._show_twigs()

    # Going from one to another

    def action_parent(self) -> None:
        twig = self.current
        parent = self.forest.parent_of(twig) if twig is not None else None
        if parent is not None:
            self.go_to(("picture", parent))

    def action_previous(self) -> None:
        self._to_sibling(-1)

    def action_next(self) -> None:
        self._to_sibling(1)

    def _to_sibling(self, by: int) -> None:
        """To the next row of the same depth, unless another branch begins before it."""
        here = self.current
        if here is None:
            return
        index = self.cursor + by
        while 0 <= index < len(self.items) and self.items[index].depth > here.depth:
            index += by
        if 0 <= index < len(self.items) and self.items[index].depth == here.depth:
            self.cursor = index
