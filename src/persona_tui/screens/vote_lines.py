"""The vote view's words: what is judged, how sure the choice is, and what Enter would do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens import runs_lines, runs_servers
from persona_tui.widgets.marks import counted, dim, say, short

if TYPE_CHECKING:
    from persona_tui.screens.vote_data import Accepted, Scene
    from persona_tui.screens.vote_stage import Looks
    from persona_tui.services.generation.health import EngineStatus
    from persona_tui.services.voting.contest import Member

SURE = 0.9
"""Probability from which the choice is sure enough to accept."""
STANDINGS_SHOWN = 12
PARTS = ("Contest", "How sure", "Accept", "Prompt", "Ratings")
"""Titles of the panel beside the pictures, from top to bottom."""


def head(scene: Scene) -> Content:
    """`Bowl by the window  step 1 of 2, base, 4 pictures`."""
    if scene.run is None or scene.step is None:
        return Content.empty()
    facts = [f"step {scene.step.position} of {len(scene.run.steps)}, {scene.step.name}"]
    if scene.standings is not None:
        facts.append(counted(len(scene.standings.members), "picture"))
    if scene.others:
        facts.append(f"{counted(scene.others, 'more contest')}")
    words = Content.styled(short(scene.run.name, 60), "bold") + dim("  " + ", ".join(facts))
    if scene.run.status in ("paused", "failed"):
        words += Content("  ") + runs_lines.status_mark(scene.run.status)
    return words


def certainty(scene: Scene) -> float:
    """How probable it is that what Enter takes is right."""
    if scene.standings is None or scene.step is None:
        return 0.0
    return scene.standings.p_best if scene.step.is_last else scene.standings.p_top_k


def progress(scene: Scene) -> Content:
    """`12 votes  ━━━━━━━───  fairly sure, 81 %`."""
    if scene.standings is None:
        return Content.empty()
    share = certainty(scene)
    words = Content(counted(scene.standings.votes, "vote")) + Content("  ")
    words += runs_servers.bar(share / SURE) + Content("  ") + runs_lines.confidence(share)
    return words + Content.styled("  ✅", "$success") if share >= SURE else words


def coming(scene: Scene, *, waits: bool = False) -> Content:
    """`2 more are coming`, as long as the step is not complete.

    Args:
        waits: the step is accepted as soon as they are here.
    """
    step = scene.step
    if step is None or not step.unseen:
        return Content.empty()
    then = ", then it goes on" if waits else ""
    return Content.styled(
        f"⏳ {step.unseen} more {'is' if step.unseen == 1 else 'are'} coming{then}", "$title"
    )


def accepting(scene: Scene) -> str:
    """What Enter does now."""
    step, following = scene.step, scene.next_step
    if step is None:
        return ""
    if following is None:
        return "the leading picture wins and becomes a draft"
    if step.active == 1:
        return f"it goes on to {following.name}"
    best = "best" if scene.going_on == 1 else f"best {scene.going_on}"
    goes = "goes" if scene.going_on == 1 else "go"
    return f"the {best} of {step.active} {goes} on to {following.name}"


def status(scene: Scene, enter: str, looks: Looks) -> Content:
    """The line below the pictures.

    Args:
        enter: label of the key that accepts.
    """
    judged = Content("Only one picture") if scene.kind == "single" else progress(scene)
    key = Content.assemble(("[", "$dim"), (enter, "$title"), ("] ", "$dim"))
    then = coming(scene, waits=looks.waits) or key + dim(accepting(scene))
    return judged + Content("   ") + then


def caption(member: Member, key: str, looks: Looks) -> Content:
    """Below a picture: its key, its rating once that may be seen, and where it comes from.

    Args:
        key: label of the key that chooses it; empty where there is no choice.
    """
    line = Content.empty()
    if key:
        line = Content.assemble(("[", "$dim"), (key, "$title bold"), ("] ", "$dim"), "this one")
    if looks.revealed:
        line += Content.styled(f"  rating {member.elo_score}, {member.p_best:.0%} the best", "$section")
    if looks.info:
        grown = f", from picture {member.parent_id}" if member.parent_id else ""
        line += Content("\n") + dim(f"picture {member.candidate_id}, seed {member.seed}{grown}")
    return line


def aside(scene: Scene, enter: str, looks: Looks) -> Iterator[tuple[str, list[Content]]]:
    """Titles and lines of the panel beside the pictures."""
    assert scene.run is not None
    about = [Content.styled(scene.run.name, "bold"), *runs_lines.step_lines(scene.run)]
    if scene.others:
        about.append(dim(f"{counted(scene.others, 'more contest')} to vote on"))
    yield "Contest", about
    yield "How sure", list(_certainty_lines(scene))
    key = Content.assemble(("[", "$dim"), (enter, "$title bold"), ("] ", "$dim"))
    yield (
        "Accept",
        [line for line in (coming(scene, waits=looks.waits), key + Content(accepting(scene))) if line],
    )
    yield "Prompt", [Content(scene.run.prompt)]
    if looks.revealed:
        yield "Ratings", list(_ratings(scene))


def _certainty_lines(scene: Scene) -> Iterator[Content]:
    if scene.kind == "single" or scene.standings is None:
        yield Content("Only one picture, so there is nothing to compare.")
    else:
        share = certainty(scene)
        yield Content(counted(scene.standings.votes, "vote"))
        yield runs_servers.bar(share / SURE, 20) + Content("  ") + runs_lines.confidence(share)
        if share >= SURE:
            yield say("ok", "Sure enough to accept")


def _ratings(scene: Scene) -> Iterator[Content]:
    assert scene.standings is not None
    shown = {member.id for member in scene.shown}
    for place, member in enumerate(scene.standings.members[:STANDINGS_SHOWN], start=1):
        mark = Content.styled("▸ ", "$title") if member.id in shown else Content("  ")
        yield (
            mark
            + Content(f"{place:2}. picture {member.candidate_id}  ")
            + Content.styled(f"{member.elo_score}", "$section")
            + dim(f"  {member.p_best:.0%} the best")
        )


def making(scene: Scene, engine: EngineStatus | None, now: datetime, *, skip: str) -> Iterator[Content]:
    """While pictures are made: the steps, what is on the servers, what comes next.

    Args:
        skip: label of the key that goes to another contest.
    """
    assert scene.run is not None and scene.step is not None
    yield dim(scene.run.prompt)
    yield Content.empty()
    yield from runs_lines.step_lines(scene.run)
    if engine is not None:
        yield from runs_servers.job_lines([job for job in engine.jobs if job.run_id == scene.run.id], now)
    if engine is None or not any(endpoint.healthy for endpoint in engine.endpoints):
        yield from runs_servers.endpoint_lines(engine)
    yield Content.empty()
    yield dim("Next: " + _coming_next(scene))
    if scene.others:
        more = f"{counted(scene.others, 'other contest')} can be voted on meanwhile."
        yield Content.assemble(("[", "$dim"), (skip, "$title"), ("] ", "$dim"), more)


def _coming_next(scene: Scene) -> str:
    assert scene.step is not None
    if scene.step.wanted == 1:
        choice = "you look at the picture"
    else:
        choice = "you choose between them as soon as two are here"
    following = scene.next_step
    if following is None:
        return f"{choice}; the winner becomes a draft post."
    more = counted(following.children_per_parent, "picture")
    return f"{choice}; {following.name} then makes {more} of the best."


def stuck(scene: Scene, runs: str) -> Iterator[Content]:
    """Why a run stands still without a picture, and the key that leads to what helps."""
    assert scene.run is not None
    if scene.run.status == "paused":
        yield say("warn", f"“{scene.run.name}” is paused, and it has no picture to vote on yet.")
    else:
        reason = scene.run.reason or "It has no picture."
        yield say("error", f"“{scene.run.name}” failed: {reason}")
    yield Content.empty()
    yield from runs_lines.step_lines(scene.run)
    yield Content.empty()
    yield Content.assemble(
        ("Press ", "$dim"), (f"[{runs}]", "$title bold"), (" for Runs, where it resumes", "$dim")
    )


def nothing(resting: int) -> str:
    """What an empty view says.

    Args:
        resting: runs that failed or are paused.
    """
    words = "Nothing to vote on.\nPictures are made of ideas."
    if resting:
        words += f" {counted(resting, 'run').capitalize()} failed or paused: see Runs."
    return words


def accepted(done: Accepted) -> str:
    """What was accepted, in a sentence."""
    if done.winner_id is not None:
        draft = " A draft post is made of it." if done.post_id is not None else ""
        return f"Picture {done.winner_id} won.{draft}"
    went = "The best picture goes on" if done.went_on == 1 else f"The best {done.went_on} pictures go on"
    return f"{went}: {done.step} makes {counted(done.to_come, 'picture')}."
