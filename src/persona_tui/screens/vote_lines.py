"""The vote view's words: what is judged, how sure the choice is, and what Enter would do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens import runs_lines, runs_servers
from persona_tui.widgets.marks import counted, dim, duration, say, short

if TYPE_CHECKING:
    from persona_tui.actions import Registry
    from persona_tui.screens.vote_data import Asked, Scene
    from persona_tui.screens.vote_stage import Looks
    from persona_tui.services.generation.health import EngineStatus
    from persona_tui.services.voting.contest import Member

SURE = 0.9
"""Probability from which the choice is sure enough to accept."""
GAP = "   "
PLACES = ("first", "second", "third", "fourth")
"""Actions that take a picture by its place."""
AIMS = {"reject": "Reject which", "flag": "Flag which"}


def key(registry: Registry, *names: str) -> Content:
    """`[x] `: the keys of these actions, each one's first."""
    labels = " ".join(registry.label(f"vote.{name}") for name in names)
    return Content.assemble(("[", "$dim"), (labels, "$title bold"), ("] ", "$dim"))


def head(scene: Scene, registry: Registry) -> Content:
    """`Bowl by the window  step 1 of 2, base, 4 pictures`."""
    if scene.run is None or scene.step is None:
        return Content.empty()
    facts = [f"step {scene.step.position} of {len(scene.run.steps)}, {scene.step.name}"]
    if scene.standings is not None:
        facts.append(counted(len(scene.standings.members), "picture"))
    words = Content.styled(short(scene.run.name, 60), "bold") + dim("  " + ", ".join(facts))
    if scene.queued:
        words += dim("  ") + key(registry, "queue") + dim(f"{counted(scene.queued, 'more contest')}")
    if scene.run.status in ("paused", "failed"):
        words += Content("  ") + runs_lines.status_mark(scene.run.status)
    return words


def asking(scene: Scene, asks: Asked) -> Content:
    """Why another step's pictures are here, and what is being asked."""
    places = place_words(scene)
    at = next(
        (
            place
            for place, member in zip(places, scene.shown, strict=True)
            if member.candidate_id == asks.parent
        ),
        "",
    )
    step = scene.step.name if scene.step else ""
    return (
        Content.styled(f"Picture {asks.rejected} is rejected. ", "bold")
        + Content(f"It grew from picture {asks.parent}, the {at} one here")
        + Content(f", beside another of {step}. Which of these two is better?")
    )


def certainty(scene: Scene) -> float:
    """How probable it is that what Enter takes is right."""
    if scene.standings is None or scene.step is None:
        return 0.0
    return scene.standings.p_best if scene.step.is_last else scene.standings.p_top_k


def status(scene: Scene, room: int) -> Content:
    """The line below the pictures: how far the votes have come, as much of it as fits.

    Args:
        room: columns.
    """
    if not scene.is_choice:
        return Content("Only one picture")
    line = Content.empty()
    for fact in facts(scene):
        longer = line + Content(GAP) + fact if line else fact
        if longer.cell_length > room:
            break
        line = longer
    return line


def facts(scene: Scene) -> Iterator[Content]:
    """`12 votes`, a bar, time to sure, pace, regret and consistency: the most telling first."""
    share, far = certainty(scene), scene.progress
    if scene.standings is None:
        return
    yield Content(counted(scene.standings.votes, "vote"))
    if not scene.standings.votes:
        yield dim("ratings are hidden until you ask for them")
        return
    sure = far.sure if far is not None else share >= SURE
    filled = 1.0 if sure else min(share / SURE, 0.99)
    yield runs_servers.bar(filled) + Content("  ") + confidence(share, sure)
    if far is None:
        return
    if not sure and far.minutes_to_go is not None:
        yield Content(f"~{about(far.minutes_to_go)} to sure")
    elif not sure and far.votes_to_go is not None:
        yield Content(f"~{counted(far.votes_to_go, 'vote')} to sure")
    yield dim(f"regret {far.regret:.2f}")
    if far.per_minute is not None:
        yield dim(f"{far.per_minute:.0f} votes/min")
    if far.consistency is not None:
        yield dim(f"{far.consistency:.0%} of {counted(far.repeats, 'repeat')} alike")


def confidence(share: float, sure: bool) -> Content:
    """How sure the choice is, and why that is enough: right in nine of ten cases, or as good as any other."""
    if not sure:
        return runs_lines.confidence(share)
    words = f"✅ sure enough, {share:.0%}"
    return Content.styled(words if share >= SURE else f"{words}: hardly any is better", "$success")


def about(minutes: float) -> str:
    """A length of time that is only estimated: `40 s`, `5 min`, `2 h 10 min`."""
    seconds = max(round(minutes * 6), 1) * 10
    return duration(seconds) if seconds < 90 or seconds >= 3600 else f"{round(minutes)} min"


def coming(scene: Scene, *, waits: bool = False) -> Content:
    """`2 more are coming`, as long as the step is not complete.

    Args:
        waits: the step is accepted as soon as they are here.
    """
    step = scene.step
    if step is None or not step.unseen:
        return Content.empty()
    after = ", then it goes on" if waits else ""
    return Content.styled(
        f"⏳ {step.unseen} more {'is' if step.unseen == 1 else 'are'} coming{after}", "$title"
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


def then(scene: Scene, registry: Registry, looks: Looks) -> Content:
    """The lowest line: what the next key means, or what Enter would do."""
    if looks.aims is not None:
        names = place_actions(scene)
        back = Content.assemble(("[", "$dim"), (registry.label("global.back"), "$title bold"), ("] ", "$dim"))
        question = Content.styled(f"{AIMS[looks.aims]} picture?  ", "bold $warning")
        return question + key(registry, *names) + dim("choose it  ") + back + dim("none")
    if looks.zoomed:
        return (
            Content.styled("100 %  ", "bold")
            + key(registry, "pan-left", "pan-down", "pan-up", "pan-right")
            + dim("move all  ")
            + key(registry, "zoom")
            + dim("whole pictures")
        )
    if scene.asks is not None:
        rejects = key(registry, "reject") + dim("reject here, too  ")
        return rejects + key(registry, "next") + dim("go on without an answer")
    far = scene.progress
    does = Content.styled(accepting(scene), "$success" if far is not None and far.sure else "")
    words = coming(scene, waits=looks.waits) or key(registry, "accept") + does
    if far is not None and far.faster == "grid" and looks.count == 2:
        words += Content(GAP) + key(registry, "grid") + dim("four at once find it sooner for you")
    elif far is not None and far.faster == "duel" and looks.count > 2:
        words += Content(GAP) + key(registry, "grid") + dim("two at once find it sooner for you")
    return words


def place_actions(scene: Scene) -> tuple[str, ...]:
    """The actions that choose the pictures shown, in their order."""
    return ("left", "right") if scene.kind == "duel" else PLACES[: len(scene.shown)]


def place_words(scene: Scene) -> tuple[str, ...]:
    """How the places of the pictures shown are called."""
    return ("left", "right") if scene.kind == "duel" else PLACES[: len(scene.shown)]


def captions(scene: Scene, registry: Registry, looks: Looks) -> list[Content]:
    """Below each picture: its key, its rating once that may be seen, and where it comes from."""
    names = place_actions(scene) if scene.is_choice else ("",)
    return [
        _caption(member, key(registry, name) if name else Content.empty(), scene, looks)
        for member, name in zip(scene.shown, names, strict=True)
    ]


def _caption(member: Member, chooses: Content, scene: Scene, looks: Looks) -> Content:
    line = chooses
    if scene.is_choice and looks.aims is not None:
        line += Content.styled(f"{looks.aims} it  ", "$warning")
    elif scene.is_choice and not looks.revealed:
        line += Content("this one")
    if looks.revealed:
        low, high = member.interval
        named = "rating " if len(scene.shown) < 3 else ""  # four side by side have no room for the word
        rating = f"{named}{member.elo_score} ±{(high - low) // 2}, {member.p_best:.0%}"
        line += Content.styled(rating, "$section")
    if scene.asks is not None and member.candidate_id == scene.asks.parent:
        line += Content.styled(f"  parent of picture {scene.asks.rejected}", "$section")
    if member.flagged:
        line += Content.styled("  ⚑ flagged", "$warning")
    if looks.info:
        grown = f", from picture {member.parent_id}" if member.parent_id else ""
        line += Content("\n") + dim(f"picture {member.candidate_id}, seed {member.seed}{grown}")
    return line


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


def nothing(resting: int, between_loras: int = 0) -> str:
    """What an empty view says.

    Args:
        resting: runs that failed or are paused.
        between_loras: contests between two LoRAs that wait for votes.
    """
    words = "Nothing to vote on.\nPictures are made of ideas."
    if between_loras:
        waits = "wait" if between_loras > 1 else "waits"
        words = (
            f"No run waits for votes.\n{counted(between_loras, 'contest')} between LoRAs {waits} for yours."
        )
    if resting:
        words += f" {counted(resting, 'run').capitalize()} failed or paused: see Runs."
    return words
