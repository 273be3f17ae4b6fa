"""What the vote view shows, as functions of a session; they run in threads.

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
    from persona_tui.services.voting.comparison import ComparisonState
    from persona_tui.services.voting.contest import Member, OpenContest, Showing, Standings, VotingProgress

ENDED = ("completed", "cancelled")
DUEL, GRID = 2, 4
"""Pictures shown at once."""
Kind = Literal["duel", "grid", "single", "making", "stuck", "nothing"]


@dataclass(frozen=True)
class Asked:
    """What is asked after a rejection: whether the picture's parent deserved to go on.

    Attributes:
        rejected: the candidate that was rejected.
        parent: the candidate from which it grew.
    """

    rejected: int
    parent: int


@dataclass(frozen=True)
class Seat:
    """Where the operator sits: what decides which contest is shown, and how.

    Attributes:
        sitting: of the operator's votes.
        run_id: the run to stay with; None for the most valuable contest.
        skipped: contests passed over.
        showing: what is on the screen, which stays as long as all its pictures take part.
        count: pictures shown at once, if as many are there.
        asks: the question after a rejection, which comes before the run's contest.
    """

    persona_id: int | None
    sitting: uuid.UUID
    run_id: int | None = None
    skipped: frozenset[int] = frozenset()
    showing: Showing | None = None
    count: int = DUEL
    asks: Asked | None = None


@dataclass(frozen=True)
class Scene:
    """What is to be seen.

    Attributes:
        kind: duel; grid: three or four pictures; single: one alone; making: none yet; stuck: none, and none
            will come by itself; nothing: no run needs the operator.
        step: whose pictures are shown; with `asks` an earlier one than that at which the run stands.
        showing: the pictures to choose from, where there is a choice.
        standings: of the step's contest, once it has pictures.
        progress: how far its votes have come.
        pictures: member id → file to show, the likeliest winners first; None where it is gone.
        originals: member id → file in full size, of the pictures shown; None where it is not on this machine.
        asks: why an earlier step is asked about.
        parent: file of the picture from which the step's are made, while none is here.
        others: further contests of runs that wait for votes.
        between_loras: contests between two LoRAs that do.
        wrapped: every contest had been passed over, so they begin anew.
        resting: runs that failed or are paused, where nothing else is to be seen.
    """

    kind: Kind
    run: RunDetail | None = None
    step: RunStepView | None = None
    showing: Showing | None = None
    standings: Standings | None = None
    progress: VotingProgress | None = None
    pictures: dict[int, Path | None] = field(default_factory=dict)
    originals: dict[int, Path | None] = field(default_factory=dict)
    asks: Asked | None = None
    parent: Path | None = None
    others: int = 0
    between_loras: int = 0
    wrapped: bool = False
    resting: int = 0

    @property
    def queued(self) -> int:
        """How many contests wait for votes besides the one shown."""
        return self.others + self.between_loras

    @property
    def contest_id(self) -> int | None:
        """The contest shown, if there is one."""
        return self.standings.contest_id if self.standings else None

    @property
    def shown(self) -> tuple[Member, ...]:
        """The pictures on the screen, left to right and top to bottom."""
        if self.standings is None or self.showing is None:
            return self.standings.members[:1] if self.standings else ()
        known = {member.id: member for member in self.standings.members}
        # A picture that arrived between the two readings is in the showing alone.
        return tuple(known.get(member.id, member) for member in self.showing.members)

    @property
    def is_choice(self) -> bool:
        """Whether one of several pictures is to be chosen."""
        return self.showing is not None

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


def look(session: Session, media: MediaStore, seat: Seat) -> Scene:
    """What is to be seen from this seat."""
    from persona_tui.services.voting.comparison import waiting_comparisons

    contests = queue(session, seat.persona_id)
    between = len(waiting_comparisons(session, seat.persona_id))
    run = _seated_run(session, seat)
    fresh = [contest for contest in contests if contest.contest_id not in seat.skipped]
    wrapped = run is None and bool(contests) and not fresh
    if run is None:
        run = _best_run(session, seat.persona_id, fresh or contests)
    if run is None:
        return replace(_nothing(session, seat.persona_id), between_loras=between)
    others = sum(contest.run_id != run.id for contest in contests)
    scene = _parents_scene(session, media, run, seat) or _scene_of(session, media, run, seat)
    return replace(scene, others=others, between_loras=between, wrapped=wrapped)


def queue(session: Session, persona_id: int | None) -> list[OpenContest]:
    """The contests that wait for votes, the most valuable first."""
    from persona_tui.services.voting.contest import open_contests

    return sorted(open_contests(session, persona_id), key=_value)


def _value(contest: OpenContest) -> tuple[bool, int, int, int]:
    """Sort key: a choice before a lone picture, then what is nearest to a post, then the fuller one."""
    return (contest.pictures < 2, -contest.position, -contest.pictures, contest.contest_id)


def queue_with_certainty(session: Session, persona_id: int | None) -> list[tuple[OpenContest, Standings]]:
    """The contests that wait for votes with how sure each one is, the most valuable first."""
    from persona_tui.services.voting.contest import standings

    return [(one, standings(session, one.contest_id)) for one in queue(session, persona_id)]


def queue_between_loras(session: Session, persona_id: int | None) -> list[ComparisonState]:
    """The contests between two LoRAs that wait for votes, the newest first."""
    from persona_tui.services.voting.comparison import comparison_state, waiting_comparisons

    return [comparison_state(session, contest) for contest in waiting_comparisons(session, persona_id)]


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


def _scene_of(session: Session, media: MediaStore, run: RunDetail, seat: Seat) -> Scene:
    from persona_tui.services.voting.contest import next_showing, progress, standings

    step = run.current
    if not step.active or step.contest_id is None:
        kind: Kind = "stuck" if run.status in ("failed", "paused") else "making"
        return Scene(kind, run, step, parent=_parent(session, media, step))
    standing = standings(session, step.contest_id)
    if len(standing.members) < 2:
        return Scene("single", run, step, standings=standing, pictures=_files(media, standing))
    showing = _kept(seat, standing)
    if showing is None:
        showing = next_showing(session, step.contest_id, seat.count, sitting=seat.sitting)
    far = progress(session, step.contest_id, seat.sitting)
    return _with_files(media, Scene(kind_of(showing), run, step, showing, standing, far))


def _parents_scene(session: Session, media: MediaStore, run: RunDetail, seat: Seat) -> Scene | None:
    """The rejected picture's parent beside another picture of its step; None where that can't be asked."""
    from persona_tui.services.generation.tree import get_candidate
    from persona_tui.services.voting.contest import next_showing, progress, standings

    if seat.asks is None:
        return None
    parent = get_candidate(session, seat.asks.parent)
    step = next((step for step in run.steps if step.id == parent.run_step_id), None)
    if parent.status != "active" or step is None or step.contest_id is None or step.id == run.current.id:
        return None
    standing = standings(session, step.contest_id)
    showing = _kept(seat, standing)
    if showing is None:
        showing = next_showing(session, step.contest_id, DUEL, sitting=seat.sitting, beside=parent.id)
    if showing is None:
        return None
    far = progress(session, step.contest_id, seat.sitting)
    return _with_files(media, Scene(kind_of(showing), run, step, showing, standing, far, asks=seat.asks))


def kind_of(showing: Showing | None) -> Kind:
    """How so many pictures are shown."""
    if showing is None:
        return "single"
    return "duel" if len(showing.members) == DUEL else "grid"


def _kept(seat: Seat, standing: Standings) -> Showing | None:
    """What is on the screen, if all of it still takes part."""
    ids = {member.id for member in standing.members}
    showing = seat.showing
    if showing is None or showing.contest_id != standing.contest_id:
        return None
    return showing if {member.id for member in showing.members} <= ids else None


def _parent(session: Session, media: MediaStore, step: RunStepView) -> Path | None:
    from persona_tui.services.generation.tree import list_candidates

    for picture in list_candidates(session, step.run_id) if step.position > 1 else ():
        if picture.position == step.position - 1 and picture.gate_rank == 1:
            return thumbnail(media, picture.media_key, picture.sha256)
    return None


def _with_files(media: MediaStore, scene: Scene) -> Scene:
    assert scene.standings is not None
    return replace(scene, pictures=_files(media, scene.standings), originals=originals(media, scene.shown))


def originals(media: MediaStore, members: Sequence[Member]) -> dict[int, Path | None]:
    """Member id → the original's file; None where it is not on this machine."""
    paths = {member.id: media.path(member.media_key) for member in members}
    return {member: path if path and path.is_file() else None for member, path in paths.items()}


def _files(media: MediaStore, standing: Standings) -> dict[int, Path | None]:
    likeliest = sorted(standing.members, key=lambda member: -member.p_best)
    return {member.id: thumbnail(media, member.media_key, member.sha256) for member in likeliest}
