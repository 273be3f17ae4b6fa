"""The library's words: what stands below a thumbnail, and all about one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.widgets.marks import counted, dim, duration

if TYPE_CHECKING:
    from persona_tui.services.library.depletion import Forecast
    from persona_tui.services.library.pictures import LibraryPicture
    from persona_tui.services.planning.picture_facts import Origin, PictureFacts

PARTS = ("Picture", "Where it lies", "Measures", "Origin", "Lineage", "Prompt")
"""Titles of the panel beside the pictures, from top to bottom."""
STAGES = {
    "staged": ("◌", "waits for a look", "$warning"),
    "rejected": ("✗", "rejected", "$error"),
    "deleted": ("✗", "deleted", "$error"),
}
KINDS = {"still": "photo", "video": "video", "generated": "generated"}
SOFT = 60.0
"""Variance of the Laplacian at 512 px below which a picture looks soft."""


def state(picture: LibraryPicture) -> Content:
    """`✅ in a post` that is out or planned, `○ unposted`, or why it does not count."""
    if picture.stage in STAGES:
        icon, word, style = STAGES[picture.stage]
        return Content.styled(f"{icon} {word}", style)
    return (
        Content.styled("✅ in a post", "$success")
        if picture.posted
        else Content.styled("○ unposted", "$info")
    )


def tile(picture: LibraryPicture, *, marked: bool, note: str, tall: bool) -> Content:
    """What stands below a thumbnail: two lines, or one where there is little room.

    Args:
        note: what a search or a shelf says of it.
    """
    lead = Content.styled("✓ ", "$success bold") if marked else Content.empty()
    lead += Content.styled("⚑ ", "$warning") if picture.flagged else Content.empty()
    if not tall:
        words = state(picture)
        return lead + words[: words.plain.index(" ") + 1] + (Content(note) if note else dim(picture.label))
    rating = (
        Content.styled(f"  {picture.rating}", "$section") if picture.rating is not None else Content.empty()
    )
    second = Content.styled(note, "$section") if note else state(picture) + rating
    return lead + Content(picture.label) + Content("\n") + second


def outlook(forecast: Forecast, now: datetime, zone: tzinfo) -> Iterator[str]:
    """`used up in 3 weeks, 05/12`: when a cluster has no picture left to post; nothing where nobody draws."""
    if forecast.empty_at is None:
        return
    if not forecast.unposted:
        yield "used up"
        return
    days = (forecast.empty_at - now).days
    if days > 730:
        yield f"lasts for {days // 365} years"
        return
    when = f"{forecast.empty_at.astimezone(zone):%d %b}"
    yield f"used up in {counted(days, 'day') if days < 15 else counted(round(days / 7), 'week')}, {when}"


def lines(picture: LibraryPicture, facts: PictureFacts | None, zone: tzinfo) -> Content:
    """Two lines on a picture, where there is no room for the panel."""
    flag = Content.styled("  ⚑ flagged", "$warning") if picture.flagged else Content.empty()
    first = Content.styled(picture.label, "bold") + flag + Content("  ") + state(picture)
    first += dim("  " + "  ".join(_what(picture, facts, zone)))
    if facts is None:
        return first
    second = [*(f"in {name}" for name in facts.clusters[:2]), *map(_plain, _measures(facts))]
    if facts.origin is not None:
        second = [*_short_origin(picture, facts.origin), *second]
    return first + Content("\n") + dim("  ".join(second) or picture.caption)


def _plain(content: Content) -> str:
    return content.plain


def parts(
    picture: LibraryPicture, facts: PictureFacts | None, zone: tzinfo, names: Mapping[int, str]
) -> Iterator[tuple[str, list[Content]]]:
    """Titles and lines of the panel that tells all about a picture.

    Args:
        names: of the persona's clusters.
    """
    flag = Content.styled("  ⚑ flagged", "$warning") if picture.flagged else Content.empty()
    about = [Content.styled(picture.label, "bold") + flag, state(picture)]
    about += [dim("  ".join(_what(picture, facts, zone)))]
    about += [Content(picture.caption)] if picture.caption else []
    if facts is not None and facts.reject_reason:
        about.append(Content.styled(f"because: {facts.reject_reason}", "$error"))
    if facts is not None and facts.source_path:
        about.append(dim(facts.source_path))
    yield "Picture", about
    clusters = [Content(names[one]) for one in picture.cluster_ids if one in names]
    yield "Where it lies", clusters or [dim("in no cluster yet")]
    if facts is None:
        return
    yield "Measures", [*_measures(facts), *_problems(facts)] or [dim("not analysed yet")]
    if (origin := facts.origin) is not None:
        yield "Origin", list(_origin(picture, origin))
        if len(origin.way) > 1:
            yield "Lineage", [_lineage(origin)]
        yield "Prompt", [Content(origin.prompt)]


def _what(picture: LibraryPicture, facts: PictureFacts | None, zone: tzinfo) -> Iterator[str]:
    yield KINDS[picture.kind]
    yield f"{picture.width}×{picture.height}"
    if facts is not None and facts.byte_count:
        size = facts.byte_count
        yield f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"
    if facts is not None and facts.format:
        yield facts.format
    if facts is not None and facts.duration_seconds:
        yield duration(facts.duration_seconds)
    if picture.taken_at is not None:
        yield f"taken {picture.taken_at:%Y-%m-%d %H:%M}"
    else:
        came = "made" if picture.kind == "generated" else "imported"
        yield f"{came} {picture.created_at.astimezone(zone):%Y-%m-%d}"


def _measures(facts: PictureFacts) -> Iterator[Content]:
    if facts.faces is not None:
        yield Content(f"☺ {counted(facts.faces, 'face')}")
    if facts.sharpness is not None:
        words, soft = f"sharpness {facts.sharpness:.0f}", facts.sharpness < SOFT
        yield Content.styled(f"{words}, soft" if soft else words, "$warning" if soft else "")
    if facts.exposure is not None:
        yield Content(f"exposure {facts.exposure:.2f}")
    if facts.aesthetic is not None:
        yield Content.styled(f"aesthetic {facts.aesthetic:.1f} of 10", "$section")
    if facts.objects:
        yield dim(", ".join(facts.objects[:6]))


def _problems(facts: PictureFacts) -> Iterator[Content]:
    for kind, problem in facts.problems:
        yield Content.styled(f"⚠ {kind}: ", "$warning") + dim(problem or "could not be done")


def _short_origin(picture: LibraryPicture, origin: Origin) -> Iterator[str]:
    yield f"rating {picture.rating}{_margin(origin)}, {counted(origin.votes, 'vote')}"
    yield origin.pipeline
    if len(origin.way) > 1:
        yield f"from #{origin.way[-2]}"
    yield from (f"LoRA {words}" for words in origin.loras)


def _origin(picture: LibraryPicture, origin: Origin) -> Iterator[Content]:
    yield (
        Content("rating ")
        + Content.styled(f"{picture.rating}", "$section")
        + dim(f"{_margin(origin)}  {counted(origin.votes, 'vote')}")
    )
    yield Content(origin.run) + dim(f"  run {origin.run_id}, step {origin.step}")
    yield Content(origin.pipeline)
    yield from (Content(f"LoRA {words}") for words in origin.loras)
    yield dim(f"seed {origin.seed}")


def _lineage(origin: Origin) -> Content:
    """`the prompt › 1 › 5`: the way that led to a picture."""
    found = dim("the prompt")
    for one in origin.way:
        found += Content.styled(" › ", "$rule")
        found += Content.styled(f"#{one}", "bold") if one == origin.way[-1] else Content(f"#{one}")
    return found


def _margin(origin: Origin) -> str:
    return f" ±{origin.margin}" if origin.margin is not None else ""
