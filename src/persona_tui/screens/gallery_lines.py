"""The gallery's words: a picture's state, its place in the tree, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens import runs_lines, runs_servers
from persona_tui.widgets.marks import counted, dim

if TYPE_CHECKING:
    from persona_tui.screens.gallery_data import Album, Leaf

PARTS = ("Picture", "Origin", "Prompt", "Run")
"""Titles of the panel beside the pictures, from top to bottom."""


def state(leaf: Leaf) -> tuple[str, str, str]:
    """Icon of two columns, word and style of a picture's state."""
    if leaf.picture.winner:
        return "⭐", "winner", "$section"
    if leaf.picture.status == "rejected":
        return "✗ ", "rejected", "$error"
    if leaf.picture.gate_rank is not None:
        return "✅", "went on", "$success"
    return "● ", "active", "$title"


def mark(leaf: Leaf) -> Content:
    """`⭐ winner`."""
    icon, word, style = state(leaf)
    return Content.styled(f"{icon} {word}", style)


def tile(leaf: Leaf) -> Content:
    """Two lines below a thumbnail: state and number, rating and votes."""
    icon, _, style = state(leaf)
    first = Content.styled(f"{icon} ", style) + Content(f"{leaf.id}") + dim(f"  {leaf.picture.step}")
    if leaf.picture.status == "rejected":
        return first + Content("\n") + Content.styled("rejected", style)
    votes = dim(f"  {counted(leaf.trace.votes, 'vote')}")
    return first + Content("\n") + Content.styled(f"{leaf.picture.elo_score}", "$section") + votes


def rating(leaf: Leaf) -> Content:
    """`rating 1042  9 votes`."""
    score = Content.styled(f"{leaf.picture.elo_score}", "$section")
    return Content("rating ") + score + dim(f"  {counted(leaf.trace.votes, 'vote')}")


def branch(leaf: Leaf) -> Content:
    """The picture behind the lines that lead to it."""
    above = "".join("│  " if goes_on else "   " for goes_on in leaf.lines[:-1])
    own = "├─ " if leaf.lines[-1] else "└─ "
    return dim(above + own) + Content(f"picture {leaf.id}") + dim(f"  {leaf.picture.step}")


def head(album: Album, leaf: Leaf | None) -> Content:
    """The line above the pictures: which run, and which of its pictures."""
    if album.run is None:
        return Content.empty()
    words = runs_lines.status_mark(album.run.status) + Content("  ")
    words += Content.styled(album.run.name, "bold") + dim(f"  {counted(len(album.leaves), 'picture')}")
    if leaf is not None:
        words += dim(f", this is {album.leaves.index(leaf) + 1} of {len(album.leaves)}")
    return words


def lines(album: Album, leaf: Leaf) -> Iterator[Content]:
    """Three lines on a picture, where there is no room for the panel."""
    place = (
        dim(f"  place {leaf.place} in {leaf.picture.step}") if leaf.place else dim(f"  {leaf.picture.step}")
    )
    yield (
        Content.styled(leaf.label, "bold") + Content("  ") + mark(leaf) + Content("  ") + rating(leaf) + place
    )
    yield dim("  ".join(_origin(leaf)))
    if album.run is not None:
        yield dim(" ".join(album.run.prompt.split()))


def parts(album: Album, leaf: Leaf | None, zone: tzinfo) -> Iterator[tuple[str, list[Content]]]:
    """Titles and lines of the panel that tells all about a picture and its run."""
    if leaf is not None:
        place = [dim(f"place {leaf.place} in {leaf.picture.step}")] if leaf.place else []
        about = [Content.styled(leaf.label, "bold") + Content("  ") + mark(leaf), rating(leaf), *place]
        if leaf.children:
            about.append(dim(f"{counted(leaf.children, 'picture')} made from it"))
        if leaf.trace.rejected_with not in (None, leaf.id):
            about.append(dim(f"rejected together with picture {leaf.trace.rejected_with}"))
        yield "Picture", about
        made = leaf.picture.created_at.astimezone(zone)
        yield "Origin", [*map(Content, _origin(leaf)), dim(f"made {made:%m/%d %H:%M}")]
    if album.run is not None:
        yield "Prompt", [Content(album.run.prompt)]
        status = runs_lines.status_mark(album.run.status) + Content("  ")
        yield "Run", [status + Content.styled(album.run.name, "bold"), *runs_lines.step_lines(album.run)]


def _origin(leaf: Leaf) -> Iterator[str]:
    picture, trace = leaf.picture, leaf.trace
    yield f"seed {picture.seed}"
    yield f"from picture {picture.parent_id}" if picture.parent_id is not None else "from the prompt alone"
    yield f"{picture.width}×{picture.height}"
    if trace.endpoint:
        version = f" (ComfyUI {trace.server_version})" if trace.server_version else ""
        yield f"{runs_servers.host(trace.endpoint)}{version}"
    if trace.seconds is not None:
        yield f"in {trace.seconds:.1f} s"
    if trace.loras:
        yield f"with {', '.join(trace.loras)}"
