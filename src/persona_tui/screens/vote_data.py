"""What the vote view shows and does, as functions of a session; they run in threads.

Services are imported inside them, so that opening the view loads nothing heavy.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from persona_tui.screens.runs_data import thumbnail

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunDetail
    from persona_tui.services.media import MediaStore
    from persona_tui.services.voting.contest import Duel, Member, OpenContest, Standings

ACTOR = "operator"
ENDED = ("completed", "cancelled")
Kind = Literal["duel", "single", "making", "stuck", "nothing"]


@dataclass(frozen=True)
class Seat:
    """Where the operator sits: what decides which contest is shown.

    Attributes:
        run_id: the run to stay with; None for the most valuable contest.
        skipped: contests passed over.
        duel: the pair on the screen, which stays as long as both pictures take part.
    """

    persona_id: int | None
    run_id: int | None = None
    skipped: frozenset[int] = frozenset()
    duel: Duel | None = None


@dataclass(frozen=True)
class Scene:
    """What is to be seen.

    Attributes:
        kind: duel; single: one picture alone; making: none yet; stuck: none, and none will come by itself;
            nothing: no run needs the operator.
        duel: the pair, where there is one.
        standings: of the step's contest, once it has pictures.
        pictures: member id → file to show, the likeliest winners first; None where it is gone.
        parent: file of the picture from which the step's are made, while none is here.
        others: further contests that wait for votes.
        wrapped: every contest had been passed over, so they begin anew.
        resting: runs that failed or are paused, where nothing else is to be seen.
    """

    kind: Kind
    run: RunDetail | None = None
    step: RunStepView | None = None
    duel: Duel | None = None
    standings: Standings | None = None
    pictures: dict[int, Path | None] = field(default_factory=dict)
    parent: Path | None = None
    others: int = 0
    wrapped: bool = False
    resting: int = 0

    @property
    def contest_id(self) -> int | None:
        """The contest shown, if there is one."""
        return self.standings.contest_id if self.standings else None

    @property
    def shown(self) -> tuple[Member, ...]:
        """The pictures on the screen, left to right."""
        if self.standings is None or self.duel is None:
            return self.standings.members[:1] if self.standings else ()
        known = {member.id: member for member in self.standings.members}
        # A picture that arrived between the two readings is in the duel alone.
        left, right = self.duel.left, self.duel.right
        return (known.get(left.id, left), known.get(right.id, right))

    @property
    def leader(self) -> Member | None:
        """The picture that would win now."""
        return self.standings.members[0] if self.standings and self.standings.members else None

    @property
    def next_step(self) -> RunStepView | None:
        """The step that follows the one shown."""
        if self.run is None or self.step is None:
            return None
        return next((other for other in self.run.steps if other.position == self.step.position + 1), None)

    @property
    def going_on(self) -> int:
        """How many pictures an approval would let through."""
        return min(self.step.top_k, self.step.active) if self.step else 0


@dataclass(frozen=True)
class Accepted:
    """What accepting did.

    Attributes:
        went_on: pictures that go on.
        to_come: pictures that are made of them.
        step: name of the step that makes them.
        winner_id: the candidate that won, after the last step.
        post_id: the draft made of it.
    """

    run_id: int
    went_on: int
    to_come: int = 0
    step: str = ""
    winner_id: int | None = None
    post_id: int | None = None


def look(session: Session, media: MediaStore, seat: Seat) -> Scene:
    """What is to be seen from this seat."""
    from persona_tui.services.voting.contest import open_contests

    contests = sorted(open_contests(session, seat.persona_id), key=_value)
    run = _seated_run(session, seat)
    fresh = [contest for contest in contests if contest.contest_id not in seat.skipped]
    wrapped = run is None and bool(contests) and not fresh
    if run is None:
        run = _best_run(session, seat.persona_id, fresh or contests)
    if run is None:
        return _nothing(session, seat.persona_id)
    others = sum(contest.run_id != run.id for contest in contests)
    return replace(_scene_of(session, media, run, seat.duel), others=others, wrapped=wrapped)


def _value(contest: OpenContest) -> tuple[bool, int, int, int]:
    """Sort key: a choice before a lone picture, then what is nearest to a post, then the fuller one."""
    return (contest.pictures < 2, -contest.position, -contest.pictures, contest.contest_id)


def _seated_run(session: Session, seat: Seat) -> RunDetail | None:
    from persona_tui.errors import UnknownName
    from persona_tui.services.generation.runs import run_detail

    if seat.run_id is None:
        return None
    try:
        run = run_detail(session, seat.run_id)
    except UnknownName:
        return None
    return None if run.status in ENDED else run


def _best_run(session: Session, persona_id: int | None, contests: Sequence[OpenContest]) -> RunDetail | None:
    """The best contest's run, else the newest whose pictures are being made."""
    from persona_tui.services.generation.progress import ACTIVE
    from persona_tui.services.generation.runs import list_runs, run_detail

    if contests:
        return run_detail(session, contests[0].run_id)
    live = list_runs(session, persona_id, ACTIVE, limit=1)
    return run_detail(session, live[0].id) if live else None


def _nothing(session: Session, persona_id: int | None) -> Scene:
    from persona_tui.services.generation.runs import list_runs

    return Scene("nothing", resting=len(list_runs(session, persona_id, ["failed", "paused"])))


def _scene_of(session: Session, media: MediaStore, run: RunDetail, duel: Duel | None) -> Scene:
    from persona_tui.services.voting.contest import next_duel, standings

    step = run.current
    if not step.active or step.contest_id is None:
        kind: Kind = "stuck" if run.status in ("failed", "paused") else "making"
        return Scene(kind, run, step, parent=_parent(session, media, step))
    standing = standings(session, step.contest_id)
    if len(standing.members) > 1:
        kept = duel if duel is not None and _takes_part(duel, standing) else None
        pair = kept or next_duel(session, step.contest_id)
    else:
        pair = None
    kind = "single" if pair is None else "duel"
    return Scene(kind, run, step, pair, standing, _files(media, standing))


def _parent(session: Session, media: MediaStore, step: RunStepView) -> Path | None:
    from persona_tui.services.generation.tree import list_candidates

    for picture in list_candidates(session, step.run_id) if step.position > 1 else ():
        if picture.position == step.position - 1 and picture.gate_rank == 1:
            return thumbnail(media, picture.media_key, picture.sha256)
    return None


def _takes_part(duel: Duel, standing: Standings) -> bool:
    ids = {member.id for member in standing.members}
    return duel.contest_id == standing.contest_id and {duel.left.id, duel.right.id} <= ids


def _files(media: MediaStore, standing: Standings) -> dict[int, Path | None]:
    likeliest = sorted(standing.members, key=lambda member: -member.p_best)
    return {member.id: thumbnail(media, member.media_key, member.sha256) for member in likeliest}


def cast_and_look(
    session: Session,
    media: MediaStore,
    seat: Seat,
    duel: Duel,
    chosen: int | None,
    *,
    sitting: uuid.UUID,
    response_ms: int | None,
) -> Scene:
    """Record one vote, and give what comes next.

    Args:
        chosen: member id; None for "not sure".
        response_ms: milliseconds from the pictures' appearance to the key.
    """
    from persona_tui.services.voting.contest import cast

    cast(
        session,
        duel.contest_id,
        (duel.left.id, duel.right.id),
        chosen,
        sitting=sitting,
        response_ms=response_ms,
    )
    return look(session, media, replace(seat, duel=None))


def take_back_and_look(
    session: Session,
    media: MediaStore,
    seat: Seat,
    contest_id: int,
    before: Duel | None,
    *,
    sitting: uuid.UUID,
) -> Scene | None:
    """Take the sitting's last vote in a contest back, and show its pair again.

    Args:
        before: the pair of that vote, if it is still known.

    Returns:
        None when there is no such vote.
    """
    from persona_tui.services.voting.contest import undo

    if undo(session, contest_id, sitting=sitting) is None:
        return None
    return look(session, media, replace(seat, duel=before or seat.duel))


def accept(session: Session, run_id: int) -> Accepted:
    """Let the step's best pictures go on; after the last step, make the best one a winner and a draft.

    Raises:
        NotAllowedNow: there is no picture, pictures are still to come, or the run has ended.
    """
    from persona_tui.errors import NotAllowedNow
    from persona_tui.services.generation.gates import approve, choose_winner
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.publishing.winners import draft_for_winner
    from persona_tui.services.voting.contest import standings

    run = run_detail(session, run_id)
    step = run.current
    if not step.active or step.contest_id is None:
        raise NotAllowedNow("There is no picture to accept.", hint="Wait for one, or take a rejection back.")
    if not step.is_last:
        approval = approve(session, step.id, min(step.top_k, step.active), actor=ACTOR)
        following = next(other for other in run.steps if other.position == step.position + 1)
        return Accepted(run_id, len(approval.candidate_ids), approval.opened, following.name)
    best = standings(session, step.contest_id).members[0].candidate_id
    choose_winner(session, best, actor=ACTOR)
    post_id = draft_for_winner(session, best).id if run.persona_id is not None else None
    return Accepted(run_id, 1, winner_id=best, post_id=post_id)
