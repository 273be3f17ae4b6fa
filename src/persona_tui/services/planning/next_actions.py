"""What to do next: at most three sentences, the most urgent first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from persona_tui.services.planning.overview import DashboardView

ActionKind = Literal["settle", "vote", "caption", "schedule", "ideas", "gap", "setup"]

RANKS = ("🔴", "🟡", "🔵")
"""Icons of the first, second and third thing to do."""
TITLE_LENGTH = 32

_PERSON_WORDS = {
    "needs_human": "may be out already",
    "fix_needed": "must be fixed",
    "missed": "missed its time",
    "paused": "waits for its account",
    "failed": "failed",
}
"""What is so with a post in a state that only a person ends, the gravest first."""


@dataclass(frozen=True)
class NextAction:
    """Something to do next.

    Attributes:
        icon: 🔴 for the first, 🟡 for the second, 🔵 for the third.
        sentence: what to do, without the key.
        mode: the view where it is done.
        target: what that view is aimed at, such as `{"post_id": 7}`; a 1 says that an act begins at once.
    """

    kind: ActionKind
    icon: str
    sentence: str
    mode: str
    target: Mapping[str, int] = field(default_factory=dict)


Found = tuple[ActionKind, str, str, Mapping[str, int]]
"""An action without its rank."""


def next_actions(view: DashboardView) -> tuple[NextAction, ...]:
    """The three most urgent things to do; none when nothing is due."""
    if view.persona is None:
        found = [] if view.personas else [_setup("Create your first persona", new_persona=1)]
    else:
        found = [action for source in _SOURCES for action in source(view)]
    return tuple(
        NextAction(kind, icon, sentence, mode, target)
        for icon, (kind, sentence, mode, target) in zip(RANKS, found, strict=False)
    )


def _held(view: DashboardView) -> Iterator[Found]:
    """After a restore or a copy nothing goes out until the operator confirms (R1)."""
    if "held" in view.waiting:
        yield "settle", "Publishing is held: look what happened, then confirm", "settings", {}


def _settle(view: DashboardView) -> Iterator[Found]:
    """Posts that only a person can move."""
    stuck = [view.waiting[state] for state in _PERSON_WORDS if state in view.waiting]
    if not stuck:
        return
    gravest, count = stuck[0], sum(waiting.count for waiting in stuck)
    words = _PERSON_WORDS[gravest.kind]
    if count == 1:
        sentence = f"Settle a post that {words}{_named(gravest.first_title)}"
    else:
        sentence = f"Settle {count} posts; the first {words}"
    yield "settle", sentence, "posts", {"post_id": gravest.first_id}


def _vote(view: DashboardView) -> Iterator[Found]:
    """Pictures that wait for a choice; a contest that is complete comes before one that still grows."""
    complete = {run.id for run in view.runs if run.status == "waiting"}
    open_ones = [found for found in view.contests if found.run_id in complete or found.pictures > 1]
    open_ones.sort(key=lambda found: found.run_id not in complete)
    if open_ones:
        first = open_ones[0]
        sentence = f"Vote on {_pictures(first.pictures)} of “{_short(first.run_name)}”"
        if len(open_ones) > 1:
            sentence += f", and {len(open_ones) - 1} more"
        yield "vote", sentence, "vote", {"run_id": first.run_id}


def _caption(view: DashboardView) -> Iterator[Found]:
    found = view.waiting.get("uncaptioned")
    if found:
        what = f"Caption {found.count} drafts" if found.count > 1 else "Caption the draft"
        yield "caption", what + _named(found.first_title), "posts", {"post_id": found.first_id, "caption": 1}


def _schedule(view: DashboardView) -> Iterator[Found]:
    found = view.waiting.get("captioned")
    if found and view.persona is not None and not view.persona.has_account:
        yield _connect(view, f"so that {_posts(found.count)} can be scheduled")
    elif found:
        what = f"Schedule {found.count} ready posts" if found.count > 1 else "Schedule the ready post"
        yield "schedule", what + _named(found.first_title), "posts", {"post_id": found.first_id}


def _ideas(view: DashboardView) -> Iterator[Found]:
    pending, accepted = view.waiting.get("pending"), view.waiting.get("accepted")
    if pending:
        what = f"Decide on {pending.count} ideas" if pending.count > 1 else "Decide on the idea"
        yield "ideas", what + _named(pending.first_title), "ideas", {"idea_id": pending.first_id}
    elif accepted:
        sentence = f"Make pictures of “{_short(accepted.first_title)}”, which is accepted"
        yield "ideas", sentence, "ideas", {"idea_id": accepted.first_id}


def _gap(view: DashboardView) -> Iterator[Found]:
    missing = [branch.gap for branch in view.pillars if branch.gap and branch.gap.gap > 0]
    if missing:
        largest = max(missing, key=lambda gap: (gap.gap, gap.priority, gap.weight))
        sentence = f"Fill the gap in {_short(largest.name)}: {_pictures(largest.gap)} missing"
        yield "gap", sentence, "ideas", {"pillar_id": largest.pillar_id, "propose": 1}


def _set_up(view: DashboardView) -> Iterator[Found]:
    assert view.persona is not None
    if not view.persona.pillars:
        sentence = f"Give {_short(view.persona.name)} a first content pillar"
        yield _setup(sentence, persona_id=view.persona.id, new_pillar=1)
    if not view.persona.has_account and "captioned" not in view.waiting:
        yield _connect(view, "to post to")


_SOURCES: tuple[Callable[[DashboardView], Iterator[Found]], ...] = (
    _held,
    _settle,
    _vote,
    _caption,
    _schedule,
    _ideas,
    _gap,
    _set_up,
)
"""The most urgent first."""


def _setup(sentence: str, **target: int) -> Found:
    return "setup", sentence, "personas", target


def _connect(view: DashboardView, why: str) -> Found:
    assert view.persona is not None
    return _setup(f"Connect an Instagram account {why}", persona_id=view.persona.id, connect=1)


def _named(title: str) -> str:
    return f": “{_short(title)}”" if title else ""


def _short(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _posts(count: int) -> str:
    return "a post" if count == 1 else f"{count} posts"


__all__ = ["RANKS", "ActionKind", "NextAction", "next_actions"]
