"""The gallery's words: a picture's state, its place in the tree, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens import runs_lines, runs_servers
from persona_tui.widgets.marks import counted, dim

if TYPE_CHECKING:
    from persona_tui.screens.gallery_data import Album, Leaf
    from persona_tui.screens.gallery_tree import Twig
    from persona_tui.services.generation.places import PlaceView
    from persona_tui.services.generation.runs import RunView

PARTS = ("Picture", "Origin", "Lineage", "Prompt", "Run")
"""Titles of the panel beside the pictures, from top to bottom."""


def state(leaf: Leaf, passes: bool = False) -> tuple[str, str, str]:
    """Icon of two columns, word and style of a picture's state.

    Args:
        passes: it would go on, or win, if its step were approved now.
    """
    if leaf.picture.winner:
        return "⭐", "winner", "$section"
    if leaf.picture.status == "rejected":
        return "✗ ", "rejected", "$error"
    if leaf.picture.gate_rank is not None:
        return "✅", "went on", "$success"
    if passes:
        return "▲ ", "would win" if leaf.may_win else "would go on", "$section"
    return "● ", "active", "$title"


def mark(leaf: Leaf, passes: bool = False) -> Content:
    """`⭐ winner`."""
    icon, word, style = state(leaf, passes)
    return Content.styled(f"{icon} {word}", style)


def name(leaf: Leaf) -> Content:
    """`picture 12  ⚑ flagged`."""
    flag = Content.styled("  ⚑ flagged", "$warning") if leaf.flagged else Content.empty()
    return Content.styled(leaf.label, "bold") + flag


PLACES = {
    "busy": ("▶ ", "being made", "$title"),
    "open": ("◌ ", "waits", "$dim"),
    "failed": ("✗ ", "given up", "$error"),
}
"""Icon of two columns, word and style of a place without a picture."""


def place_mark(places: Sequence[PlaceView]) -> Content:
    """`▶ being made`, for a place without a picture."""
    icon, word, style = PLACES[places[0].state]
    return Content.styled(f"{icon} {word}", style)


def score(leaf: Leaf, revealed: bool) -> Content:
    """The rating; `?` where it is still voted on and nobody asked for it."""
    if leaf.picture.status == "rejected":
        return Content.empty()
    if leaf.secret and not revealed:
        return dim("?")
    return Content.styled(f"{leaf.picture.elo_score}", "$section")


def tile(leaf: Leaf, revealed: bool, *, marked: bool, passes: bool) -> Content:
    """Four lines below a thumbnail: which one, its state, rank with rating, votes."""
    icon, word, style = state(leaf, passes)
    first = Content.styled("✓ ", "$success bold") if marked else Content.empty()
    first += Content.styled("⚑ ", "$warning") if leaf.flagged else Content.empty()
    if leaf.picture.parent_id is not None:
        first += dim(f"{leaf.picture.parent_id} › ")
    first += Content.styled(f"{leaf.id}", "bold") + dim(f"  {leaf.picture.step}")
    found = [first, Content.styled(f"{icon} {word}", style)]
    if leaf.picture.status == "rejected":
        found.append(dim("its branch is out"))
    elif leaf.secret and not revealed:
        found.append(dim("rating hidden"))
    else:
        found.append(dim(f"#{leaf.place}  ") + score(leaf, revealed) + dim(_margin(leaf)))
    return Content("\n").join([*found, dim(counted(leaf.trace.votes, "vote"))])


def _margin(leaf: Leaf) -> str:
    """` ±35`: half the width of the rating's 90 % interval; empty where nothing is known of it."""
    if leaf.interval is None:
        return ""
    low, high = leaf.interval
    return f" ±{round((high - low) / 2)}"


def rating(leaf: Leaf, revealed: bool, *, brief: bool = False) -> Content:
    """`rating 1042 ±35  9 votes`; in brief `1042 ±35 9 votes`."""
    hidden = leaf.secret and not revealed
    if brief:
        known = dim("" if hidden else _margin(leaf))
        return score(leaf, revealed) + known + dim(f" {counted(leaf.trace.votes, 'vote')}")
    votes = dim(f"  {counted(leaf.trace.votes, 'vote')}")
    if hidden:
        return dim("rating hidden") + votes
    return Content("rating ") + score(leaf, revealed) + dim(_margin(leaf)) + votes


def branch(twig: Twig) -> Content:
    """A row of the tree behind the lines that lead to it."""
    above = "".join("│  " if goes_on else "   " for goes_on in twig.lines[:-1])
    own = "├─" if twig.lines[-1] else "└─"
    fold = {None: "─ ", True: "▾ ", False: "▸ "}[twig.unfolded]
    if twig.leaf is not None:
        hidden = twig.unfolded is False and twig.leaf.children
        grown = f"  +{twig.leaf.children}" if hidden else ""
        return (
            dim(above + own)
            + Content.styled(fold, "$title" if twig.unfolded is not None else "$dim")
            + Content(f"picture {twig.leaf.id}")
            + Content.styled(" ⚑" if twig.leaf.flagged else "", "$warning")
            + dim(f"  {twig.leaf.picture.step}{grown}")
        )
    first = twig.places[0]
    words = {
        "busy": f"job {first.job_id}",
        "open": counted(len(twig.places), "picture"),
        "failed": "no picture",
    }
    return dim(above + own + fold) + dim(f"{words[first.state]}  {first.step}")


def lineage(way: Sequence[Leaf]) -> Content:
    """`prompt › picture 1 › picture 5`: the way that led to a picture."""
    found = dim("the prompt")
    for leaf in way:
        icon, _, style = state(leaf)
        last = leaf is way[-1]
        found += Content.styled(" › ", "$rule") + Content.styled(f"{icon.strip()} ", style)
        found += Content.styled(f"{leaf.id}", "bold") if last else Content(f"{leaf.id}")
        found += dim(f" {leaf.picture.step}")
    return found


def steps(run: RunView) -> Content:
    """`1 base 6 of 6 › 2 refine 3 of 4`: how far each step is."""
    found = []
    for step in run.steps:
        done = runs_lines.made(step)
        icon, style = ("✅", "$success") if step.approved else ("◌ ", "$dim")
        if step.is_open and not step.approved:
            icon, style = ("▶ ", "$title") if step.open or step.in_flight else ("◆ ", "$section")
        words = Content.styled(f"{icon} ", style) + Content(f"{step.position} {step.name} ")
        words += dim(f"{done} of {step.wanted}")
        if step.failed:
            words += Content.styled(f" ✗{step.failed}", "$error")
        found.append(words)
    return Content.styled("  ›  ", "$rule").join(found)


def place_lines(places: Sequence[PlaceView]) -> Iterator[Content]:
    """What is worth knowing about places without a picture."""
    first = places[0]
    whence = f"from picture {first.parent_id}" if first.parent_id is not None else "from the prompt alone"
    yield place_mark(places) + dim(f"  {first.step}, {whence}")
    if first.state == "open":
        yield dim(f"{counted(len(places), 'picture')} will be made here.")
    elif first.words:
        from persona_tui.services.generation.advice import advice

        yield Content(first.words)
        yield Content.styled(f"→ {advice(first.words)}", "$success")


def head(album: Album, place: int | None, shown: int, marked: int) -> Content:
    """The line above the pictures: which run, and which of its pictures.

    Args:
        place: of the picture under the cursor, from 1.
        shown: pictures that the filter leaves.
        marked: pictures that the operator marked.
    """
    if album.run is None:
        return Content.empty()
    words = runs_lines.status_mark(album.run.status) + Content("  ")
    if marked:
        words += Content.styled(f"✓ {marked} marked  ", "$success")
    words += Content.styled(album.run.name, "bold") + dim(f"  {counted(len(album.leaves), 'picture')}")
    if place is not None:
        words += dim(f", this is {place} of {shown}")
    return words


def origin(leaf: Leaf) -> Content:
    """Where a picture comes from, on one line."""
    return dim("  ".join(_origin(leaf)))


def lines(album: Album, leaf: Leaf, revealed: bool, passes: bool) -> Iterator[Content]:
    """Three lines on a picture, where there is no room for the panel."""
    gap, place = Content("  "), dim(f"  {_place(leaf, revealed) or leaf.picture.step}")
    yield name(leaf) + gap + mark(leaf, passes) + gap + rating(leaf, revealed) + place
    yield origin(leaf)
    if album.run is not None:
        yield dim(" ".join(album.run.prompt.split()))


def _place(leaf: Leaf, revealed: bool) -> str:
    """`place 2 in base`; empty where it is not to be told."""
    return (
        f"place {leaf.place} in {leaf.picture.step}" if leaf.place and (revealed or not leaf.secret) else ""
    )


def parts(
    album: Album, leaf: Leaf | None, zone: tzinfo, revealed: bool, passes: bool
) -> Iterator[tuple[str, list[Content]]]:
    """Titles and lines of the panel that tells all about a picture and its run."""
    if leaf is not None:
        place = [dim(words)] if (words := _place(leaf, revealed)) else []
        about = [name(leaf) + Content("  ") + mark(leaf, passes), rating(leaf, revealed), *place]
        if leaf.children:
            about.append(dim(f"{counted(leaf.children, 'picture')} made from it"))
        if leaf.trace.rejected_with not in (None, leaf.id):
            about.append(dim(f"rejected together with picture {leaf.trace.rejected_with}"))
        yield "Picture", about
        made = leaf.picture.created_at.astimezone(zone)
        loras = [Content(f"LoRA {use.words}") for use in album.run.loras] if album.run is not None else []
        yield "Origin", [*map(Content, _origin(leaf)), *loras, dim(f"made {made:%d %b %H:%M}")]
        yield "Lineage", [lineage(album.lineage(leaf))]
    if album.run is not None:
        yield "Prompt", [Content(album.run.prompt)]
        status = runs_lines.status_mark(album.run.status) + Content("  ")
        yield "Run", [status + Content.styled(album.run.name, "bold"), *runs_lines.step_lines(album.run)]


def _origin(leaf: Leaf) -> Iterator[str]:
    picture, trace = leaf.picture, leaf.trace
    yield f"seed {picture.seed}"
    yield f"from picture {picture.parent_id}" if picture.parent_id is not None else "from the prompt alone"
    yield f"{picture.width}×{picture.height}"
    if trace.seconds is not None:
        yield f"in {trace.seconds:.1f} s"
    if trace.endpoint:
        version = f" (ComfyUI {trace.server_version})" if trace.server_version else ""
        yield f"{runs_servers.host(trace.endpoint)}{version}"
    if trace.loras:
        yield f"with {', '.join(trace.loras)}"
