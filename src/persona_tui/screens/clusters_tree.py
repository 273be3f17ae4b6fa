"""The library's tree: shelves that hold every kind of picture, and the pillars with their clusters below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.content import Content

from persona_tui.actions import TABLES, bindings
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.marks import dim, stock_dot

if TYPE_CHECKING:
    from datetime import datetime

    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.library.depletion import Forecast
    from persona_tui.services.planning.pillars import PillarView

Key = tuple[str, int]
ALL: Key = ("all", 0)
SHELVES: Mapping[str, tuple[str, str]] = {
    "all": ("◆", "All pictures"),
    "unclustered": ("○", "In no cluster"),
    "staged": ("◌", "Waiting for a look"),
    "reviews": ("◐", "Unsure where"),
    "near": ("≈", "Near-duplicates"),
    "rejected": ("✗", "Rejected"),
    "deleted": ("✗", "Deleted"),
}
"""Name of each shelf → its icon of one column, and its title."""
ALWAYS = ("all", "unclustered")
"""Shelves that are shown while they are empty, too."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A row of the tree.

    Attributes:
        key: what it stands for, the same after each reading.
        depth: 0 for shelves and pillars, 1 for clusters.
        title: what it is called.
        cluster: on a cluster's row.
        pillar: on a pillar's row.
        count: pictures on it; None while they are being counted.
        unfolded: its clusters are shown; None on a row that has none.
    """

    key: Key
    depth: int
    title: str
    cluster: ClusterView | None = None
    pillar: PillarView | None = None
    count: int | None = None
    unfolded: bool | None = None

    @property
    def kind(self) -> str:
        """`all`, `unclustered` …, `pillar`, `loose`, `cluster`."""
        return self.key[0]


@dataclass(frozen=True)
class Catalogue:
    """What the tree is made of.

    Attributes:
        counts: name of each shelf → pictures on it, as far as they are counted.
        forecasts: cluster's id → when it will have nothing left to post.
        read_at: the database's clock then; None before anything was read.
    """

    clusters: tuple[ClusterView, ...] = ()
    pillars: tuple[PillarView, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    forecasts: Mapping[int, Forecast] = field(default_factory=dict)
    read_at: datetime | None = None

    def clusters_of(self, pillar_id: int | None) -> list[ClusterView]:
        """Those whose primary pillar it is, by name."""
        return [cluster for cluster in self.clusters if cluster.pillar_id == pillar_id]


def branches(catalogue: Catalogue, folded: Iterable[Key], kept: str = "") -> Iterator[Branch]:
    """The rows from top to bottom.

    Args:
        kept: a shelf that is shown though it may be empty: the cursor is on it.
    """
    hidden = set(folded)
    for name, (_, title) in SHELVES.items():
        count = catalogue.counts.get(name)
        if name in ALWAYS or name == kept or count:
            yield Branch((name, 0), 0, title, count=count)
    for pillar in catalogue.pillars:
        yield from _group(
            ("pillar", pillar.id), pillar.name, catalogue.clusters_of(pillar.id), hidden, pillar
        )
    loose = catalogue.clusters_of(None)
    if loose:
        yield from _group(("loose", 0), "No pillar", loose, hidden)


def _group(
    key: Key, title: str, clusters: Sequence[ClusterView], hidden: set[Key], pillar: PillarView | None = None
) -> Iterator[Branch]:
    unfolded = key not in hidden if clusters else None
    unposted = sum(cluster.unposted for cluster in clusters if cluster.status == "active")
    yield Branch(key, 0, title, pillar=pillar, count=unposted, unfolded=unfolded)
    if unfolded:
        for cluster in clusters:
            yield Branch(("cluster", cluster.id), 1, cluster.name, cluster=cluster)


def row(branch: Branch) -> list[Cell]:
    """A branch's cells: icon and title; how many pictures."""
    if branch.cluster is not None:
        return _cluster_row(branch.cluster)
    if branch.kind in SHELVES:
        count = "…" if branch.count is None else _short(branch.count)
        icon = Content.styled(f"{SHELVES[branch.kind][0]} ", "$section")
        return [icon + Content.styled(branch.title, "bold" if branch.kind == "all" else ""), dim(count)]
    fold = {None: "  ", True: "▼ ", False: "▶ "}[branch.unfolded]
    title = Content.styled(fold, "$title") + Content.styled(branch.title, "bold $title")
    return [title, dim("empty") if branch.unfolded is None else dim(_short(branch.count or 0))]


def _cluster_row(cluster: ClusterView) -> list[Cell]:
    if cluster.status != "active":
        name = Content("  ") + Content.styled("✗ ", "$dim") + Content.styled(cluster.name, "$dim strike")
        return [name, dim("out")]
    name = Content("  ") + stock_dot(cluster.unposted, word=False) + Content(f" {cluster.name}")
    if getattr(cluster, "proposed_name", ""):
        name += Content.styled(" ✎", "$info")
    return [name, Content(_short(cluster.unposted)) + dim(f"/{_short(cluster.pictures)}")]


def _short(count: int) -> str:
    """`999`, `1.2k`, `100k`."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 10_000 else f"{count // 1000}k"


class LibraryTree(DataList[Branch]):
    """The tree's rows, with keys that fold and unfold."""

    SCOPES: ClassVar[tuple[str, ...]] = ("folds", "list")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["folds"])]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            [Column("", share=1), Column("", 7, align="right")], row, key=lambda branch: branch.key, id=id
        )
        self._catalogue = Catalogue()
        self._folded: set[Key] = set()

    @property
    def catalogue(self) -> Catalogue:
        """What the rows are made of."""
        return self._catalogue

    def plant(self, catalogue: Catalogue) -> None:
        """Take what was read; folds and the cursor stay as they are."""
        self._catalogue = catalogue
        self._show_branches()

    def seek(self, key: Key) -> bool:
        """Put the cursor onto a row, and unfold what hides it; False if there is no such row."""
        if self.go_to(key):
            return True
        hiding = set(self._folded)
        self._folded.clear()
        self._show_branches()
        if self.go_to(key):
            return True
        self._folded = hiding
        self._show_branches()
        return False

    def _show_branches(self) -> None:
        kept = self.current.kind if self.current is not None else ""
        self.show(tuple(branches(self._catalogue, self._folded, kept)))

    def _group_of(self, branch: Branch) -> Key | None:
        """The row below which it stands, or itself where it can be folded."""
        if branch.unfolded is not None:
            return branch.key
        if branch.cluster is None:
            return None
        return ("pillar", branch.cluster.pillar_id) if branch.cluster.pillar_id is not None else ("loose", 0)

    def action_fold(self) -> None:
        branch = self.current
        group = self._group_of(branch) if branch is not None else None
        if group is None:
            return
        self.go_to(group)
        self._folded.add(group)
        self._show_branches()

    def action_unfold(self) -> None:
        branch = self.current
        if branch is None or branch.unfolded is None:
            return
        if branch.unfolded:
            self.cursor += 1
        else:
            self._folded.discard(branch.key)
            self._show_branches()

    def action_unfold_all(self) -> None:
        self._folded.clear()
        self._show_branches()

    def action_fold_all(self) -> None:
        branch = self.current
        if branch is not None and (group := self._group_of(branch)) is not None:
            self.go_to(group)
        self._folded = {one.key for one in self.items if one.unfolded is not None}
        self._show_branches()
