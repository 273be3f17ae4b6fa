"""The panel beside the pictures of the vote view, where a terminal has room for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens import runs_lines, runs_servers
from persona_tui.screens.vote_lines import SURE, about, certainty, confidence, key
from persona_tui.widgets.marks import counted, dim

if TYPE_CHECKING:
    from persona_tui.actions import Registry
    from persona_tui.screens.vote_data import Scene
    from persona_tui.screens.vote_stage import Looks
    from persona_tui.services.generation.runs import RunDetail
    from persona_tui.services.voting.contest import VotingProgress

STANDINGS_SHOWN = 12
PARTS = ("Contest", "How sure", "Your pace", "Prompt", "Ratings")
"""Titles from top to bottom."""
WAYS = {"duel": "two at once", "grid": "four at once"}


def parts(scene: Scene, registry: Registry, looks: Looks) -> Iterator[tuple[str, list[Content]]]:
    """Titles and lines."""
    assert scene.run is not None
    about = [Content.styled(scene.run.name, "bold"), *runs_lines.step_lines(scene.run)]
    if scene.queued:
        more = f"{counted(scene.queued, 'more contest')} to vote on"
        about.append(key(registry, "queue") + dim(more))
    yield "Contest", about
    yield "How sure", list(_certainty_lines(scene))
    if scene.progress is not None:
        yield "Your pace", list(_pace_lines(scene.progress))
    yield "Prompt", [prompt(scene.run)]
    if looks.revealed:
        yield "Ratings", list(_ratings(scene))


def prompt(run: RunDetail) -> Content:
    """The LoRAs with their weights, and the prompt."""
    words = Content.empty()
    if run.loras:
        named = ", ".join(f"{lora.label} {lora.weight:.2g}" for lora in run.loras)
        words = dim("LoRA: ") + Content(f"{named}  ")
    return words + dim(run.prompt)


def _certainty_lines(scene: Scene) -> Iterator[Content]:
    if not scene.is_choice or scene.standings is None:
        yield Content("Only one picture, so there is nothing to compare.")
        return
    yield Content(counted(scene.standings.votes, "vote"))
    if not scene.standings.votes:
        yield dim("Ratings are hidden until you ask for them.")
        return
    share, far = certainty(scene), scene.progress
    sure = far.sure if far is not None else share >= SURE
    filled = 1.0 if sure else min(share / SURE, 0.99)
    yield runs_servers.bar(filled, 40)
    yield confidence(share, sure)
    if far is None:
        return
    if not sure and far.votes_to_go is not None:
        when = "" if far.minutes_to_go is None else f", {about(far.minutes_to_go)}"
        yield dim(f"about {counted(far.votes_to_go, 'more vote')}{when}, to be sure")
    yield dim(f"leader is best: {far.p_best:.0%}, regret {far.regret:.2f} logit")


def _pace_lines(far: VotingProgress) -> Iterator[Content]:
    if far.per_minute is not None and far.median_ms is not None:
        yield dim(f"{far.per_minute:.0f} votes a minute, {far.median_ms / 1000:.1f} s each")
    if far.consistency is not None:
        yield dim(f"{far.consistency:.0%} of {counted(far.repeats, 'hidden repeat')} judged alike")
    if far.faster is not None:
        yield Content(f"You find the winner sooner with {WAYS[far.faster]}.")


def _ratings(scene: Scene) -> Iterator[Content]:
    assert scene.standings is not None
    shown = {member.id for member in scene.shown}
    for place, member in enumerate(scene.standings.members[:STANDINGS_SHOWN], start=1):
        mark = Content.styled("▸ ", "$title") if member.id in shown else Content("  ")
        flag = Content.styled(" ⚑", "$warning") if member.flagged else Content.empty()
        yield (
            mark
            + Content(f"{place:2}. picture {member.candidate_id}  ")
            + Content.styled(f"{member.elo_score}", "$section")
            + dim(f"  {member.p_best:.0%} the best")
            + flag
        )
