"""What is known about each picture, kind by kind: what is missing, queueing it, and how it went.

Photos that were accepted count, and candidates of runs with a persona. All candidates are measured and
embedded; faces and descriptions are for those that won. A kind whose outcome carries another version
than `abilities` says now is missing like one that was never tried: that is how a change of model, or an extra
that was installed, reaches all pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest
from persona_tui.gpu import faces
from persona_tui.services import jobs
from persona_tui.services.library import analysis, embeddings, vision
from persona_tui.services.library.pictures import PictureRef
from persona_tui.settings import Settings

Kind = Literal["measures", "embedding", "faces", "vision"]
State = Literal["done", "failed", "unknown"]

KINDS: tuple[Kind, ...] = ("measures", "embedding", "faces", "vision")
NAMES: Mapping[Kind, str] = {
    "measures": "sharpness and colours",
    "embedding": "likeness",
    "faces": "faces",
    "vision": "description",
}
_OF_ALL_CANDIDATES = ("measures", "embedding")
_NONE = "none"
_NO_FACES = "Faces can't be counted without the extra: pip install 'persona-tui[faces]'."


@dataclass(frozen=True)
class Ability:
    """Whether a kind can be done here, and by what.

    Attributes:
        version: kept with each outcome.
        lack: why it can't be done; empty when it can.
    """

    version: str
    lack: str = ""


@dataclass(frozen=True)
class KindState:
    """A kind's standing over all pictures of a persona.

    Attributes:
        waiting: not tried yet, or done by another version.
        problem: the commonest sentence of those that failed or are unknown.
    """

    kind: Kind
    done: int
    failed: int
    unknown: int
    waiting: int
    problem: str


@dataclass(frozen=True)
class Overview:
    """What is missing.

    Attributes:
        line: one sentence, empty when nothing is missing.
        lacks: why what is unknown can't be found out here, each reason once.
    """

    kinds: tuple[KindState, ...]
    line: str
    lacks: tuple[str, ...] = ()


def abilities(settings: Settings) -> dict[Kind, Ability]:
    """What this installation can do. Reads the model's weights the first time; use a thread."""
    found = faces.is_installed()
    described = vision.lack_of(settings)
    return {
        "measures": Ability(analysis.VERSION),
        "embedding": Ability(embeddings.current_model(settings).hash),
        "faces": Ability(f"{faces.MODEL}, {settings.faces.detector}") if found else Ability(_NONE, _NO_FACES),
        "vision": Ability(_NONE, described) if described else Ability(vision.version_of(settings)),
    }


def kind_of(word: str) -> Kind:
    """A kind by its name.

    Raises:
        InvalidRequest: there is no such kind.
    """
    found = next((kind for kind in KINDS if kind == word), None)
    if found is None:
        raise InvalidRequest(f"There is no kind {word!r} of analysis.", hint=f"Use {', '.join(KINDS)}.")
    return found


def queue(session: Session, ref: PictureRef) -> None:
    """Have a picture that has begun to count analysed; costs one question where its persona waits already."""
    persona_id = session.execute(
        text(
            "SELECT persona_id FROM photos WHERE id = :photo_id"
            " UNION ALL SELECT persona_id FROM image_candidates WHERE id = :image_candidate_id"
        ),
        ref.columns,
    ).scalar_one_or_none()
    if persona_id is not None:
        queue_persona(session, persona_id)


def queue_persona(session: Session, persona_id: int) -> None:
    """Have all that is missing for a persona's pictures done in the background."""
    word = f"analyse persona {persona_id}"
    waits = session.execute(text(_WAITS), {"word": word}).scalar_one()
    if not waits:
        jobs.defer(session, "library:analyse_persona", once=word, persona_id=persona_id)


def queue_kind(session: Session, persona_id: int, kind: Kind, *, wait: int = 0) -> None:
    """Have one kind done in the background; two jobs of it never run at once."""
    word = f"analyse {kind} of persona {persona_id}"
    jobs.defer(session, "library:analyse", once=word, alone=word, wait=wait, persona_id=persona_id, kind=kind)


def queue_missing(session: Session, able: Mapping[Kind, Ability]) -> int:
    """Have done what is missing for anyone: new candidates, and all pictures after a change of model.

    Returns:
        How many personas and kinds miss something.
    """
    personas = session.execute(text("SELECT id FROM personas ORDER BY id")).scalars().all()
    wanted = [
        (persona_id, kind)
        for persona_id in personas
        for kind in KINDS
        if missing(session, persona_id, kind, able[kind], limit=1)
    ]
    for persona_id, kind in wanted:
        queue_kind(session, persona_id, kind)
    return len(wanted)


def missing(
    session: Session, persona_id: int, kind: Kind, ability: Ability, *, limit: int
) -> tuple[PictureRef, ...]:
    """Pictures that lack this kind in this version, photos first, in the order in which they came.

    Where it can't be done here, what an earlier version found is not missing.
    """
    values = {"persona": persona_id, "kind": kind, "version": ability.version, "limit": limit}
    values |= {"all": kind in _OF_ALL_CANDIDATES, "able": not ability.lack}
    return tuple(PictureRef(*row) for row in session.execute(text(_MISSING), values))


def retry(session: Session, persona_id: int, kinds: Sequence[Kind] = KINDS) -> int:
    """Forget what failed or was unknown, and queue it again.

    Returns:
        How many analyses are tried again.
    """
    forgotten = session.execute(text(_FORGET), {"persona": persona_id, "kinds": list(kinds)}).rowcount  # type: ignore[attr-defined]
    for kind in kinds:
        queue_kind(session, persona_id, kind)
    return int(forgotten)


def record(
    session: Session, ref: PictureRef, kind: Kind, state: State, version: str, problem: str = ""
) -> bool:
    """Write how a kind went for a picture.

    Returns:
        Whether the picture is still there.
    """
    statement = _RECORD_PHOTO if ref.photo_id is not None else _RECORD_CANDIDATE
    values = {"kind": kind, "state": state, "version": version, "problem": problem}
    written = session.execute(text(statement), {**values, "id": ref.photo_id or ref.candidate_id})
    return written.first() is not None


def record_lack(session: Session, persona_id: int, kind: Kind, ability: Ability) -> None:
    """Write for all pictures that miss a kind that it can't be done here."""
    values = {"persona": persona_id, "kind": kind, "version": ability.version, "problem": ability.lack}
    for statement in (_LACK_PHOTOS, _LACK_CANDIDATES):
        session.execute(text(statement), {**values, "all": kind in _OF_ALL_CANDIDATES})


def record_embedded(session: Session, persona_id: int, ability: Ability) -> None:
    """Take vectors that the current model made before as done: a model that comes back costs nothing."""
    values = {"persona": persona_id, "version": ability.version}
    for statement in (_EMBEDDED_PHOTOS, _EMBEDDED_CANDIDATES):
        session.execute(text(statement), values)


def overview(session: Session, persona_id: int, able: Mapping[Kind, Ability] | None = None) -> Overview:
    """What is missing for a persona's pictures; under a second for 100,000.

    Args:
        able: from `abilities`; without it outcomes of an older version count as done.
    """
    values = {"persona": persona_id, "all": [*_OF_ALL_CANDIDATES]}
    photos, candidates, winners = session.execute(text(_TOTALS), values).one()
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    problems: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for kind, state, version, problem, count in session.execute(text(_STANDING), values):
        ability = able[kind] if able else None
        if ability is None or ability.lack or ability.version == version:
            counts[kind][state] += count
            problems[kind][problem] += count
    states = []
    for kind in KINDS:
        all_pictures = photos + (candidates if kind in _OF_ALL_CANDIDATES else winners)
        del problems[kind][""]
        states.append(_kind_state(kind, counts[kind], all_pictures, problems[kind]))
    lacks = {state.problem: None for state in states if state.unknown and state.problem}
    return Overview(tuple(states), _line(states), tuple(lacks))


def newest(session: Session) -> tuple[object, ...]:
    """Changes when a picture came or won: only then `queue_missing` has something to look for."""
    return tuple(session.execute(text(_NEWEST)).one())


def _kind_state(kind: Kind, counts: Counter[str], pictures: int, problems: Counter[str]) -> KindState:
    commonest = problems.most_common(1)
    return KindState(
        kind,
        counts["done"],
        counts["failed"],
        counts["unknown"],
        pictures - counts.total(),
        commonest[0][0] if commonest else "",
    )


def _line(states: Sequence[KindState]) -> str:
    parts = (
        ("To do", [(state.kind, state.waiting) for state in states]),
        ("Failed", [(state.kind, state.failed) for state in states]),
        ("Unknown", [(state.kind, state.unknown) for state in states]),
    )
    return " ".join(
        f"{word}: {', '.join(f'{NAMES[kind]} {count:,}' for kind, count in found if count)}."
        for word, found in parts
        if any(count for _, count in found)
    )


_WAITS = "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = :word)"
_PHOTOS = "p.persona_id = :persona AND p.stage = 'accepted' AND p.deleted_at IS NULL"
_CANDIDATES = "c.persona_id = :persona AND c.status = 'active'"
_OUTDATED = "o.version IS DISTINCT FROM :version AND (:able OR o.state IS DISTINCT FROM 'done')"
_MISSING = f"""
(SELECT p.id, NULL::bigint FROM photos p
 LEFT JOIN analysis_outcomes o ON o.photo_id = p.id AND o.kind = :kind
 WHERE {_PHOTOS} AND {_OUTDATED} ORDER BY p.id LIMIT :limit)
UNION ALL
(SELECT NULL, c.id FROM image_candidates c
 LEFT JOIN analysis_outcomes o ON o.image_candidate_id = c.id AND o.kind = :kind
 WHERE {_CANDIDATES} AND (c.winner OR :all) AND {_OUTDATED} ORDER BY c.id LIMIT :limit)
LIMIT :limit
"""
_FORGET = """
DELETE FROM analysis_outcomes o WHERE o.kind = ANY (:kinds) AND o.state <> 'done' AND (
  o.photo_id IN (SELECT p.id FROM photos p WHERE p.persona_id = :persona)
  OR o.image_candidate_id IN (SELECT c.id FROM image_candidates c WHERE c.persona_id = :persona))
"""
_RECORD = """
INSERT INTO analysis_outcomes ({column}, kind, state, version, problem)
SELECT t.id, :kind, :state, :version, :problem FROM {table} t WHERE t.id = :id FOR KEY SHARE
ON CONFLICT ({column}, kind) DO UPDATE SET state = excluded.state, version = excluded.version,
  problem = excluded.problem, changed_at = persona_now()
RETURNING id
"""
_RECORD_PHOTO = _RECORD.format(column="photo_id", table="photos")
_RECORD_CANDIDATE = _RECORD.format(column="image_candidate_id", table="image_candidates")
_EMBEDDED = """
INSERT INTO analysis_outcomes ({column}, kind, state, version)
SELECT e.{column}, 'embedding', 'done', CAST(:version AS varchar) FROM embeddings e
LEFT JOIN analysis_outcomes o ON o.{column} = e.{column} AND o.kind = 'embedding'
WHERE e.persona_id = :persona AND e.model_hash = :version AND e.{column} IS NOT NULL
  AND o.version IS DISTINCT FROM :version
ON CONFLICT ({column}, kind) DO UPDATE SET state = 'done', version = excluded.version, problem = '',
  changed_at = persona_now()
"""
_EMBEDDED_PHOTOS = _EMBEDDED.format(column="photo_id")
_EMBEDDED_CANDIDATES = _EMBEDDED.format(column="image_candidate_id")
_LACK = """
INSERT INTO analysis_outcomes ({column}, kind, state, version, problem)
SELECT {row}.id, CAST(:kind AS varchar), 'unknown', CAST(:version AS varchar), :problem FROM {table} {row}
LEFT JOIN analysis_outcomes o ON o.{column} = {row}.id AND o.kind = :kind
WHERE {where} AND o.version IS DISTINCT FROM :version
ON CONFLICT ({column}, kind) DO UPDATE SET state = excluded.state, version = excluded.version,
  problem = excluded.problem, changed_at = persona_now()
WHERE analysis_outcomes.state <> 'done'
"""
_LACK_PHOTOS = _LACK.format(column="photo_id", row="p", table="photos", where=_PHOTOS)
_LACK_CANDIDATES = _LACK.format(
    column="image_candidate_id",
    row="c",
    table="image_candidates",
    where=f"{_CANDIDATES} AND (c.winner OR :all)",
)
_TOTALS = f"""
SELECT (SELECT count(*) FROM photos p WHERE {_PHOTOS}), count(*), count(*) FILTER (WHERE c.winner)
FROM image_candidates c WHERE {_CANDIDATES}
"""
_STANDING = f"""
SELECT o.kind, o.state, o.version, o.problem, count(*)
FROM analysis_outcomes o JOIN photos p ON p.id = o.photo_id WHERE {_PHOTOS} GROUP BY 1, 2, 3, 4
UNION ALL
SELECT o.kind, o.state, o.version, o.problem, count(*)
FROM analysis_outcomes o JOIN image_candidates c ON c.id = o.image_candidate_id
WHERE {_CANDIDATES} AND (c.winner OR o.kind = ANY (CAST(:all AS text[]))) GROUP BY 1, 2, 3, 4
"""
_NEWEST = """
SELECT (SELECT max(id) FROM photos), (SELECT max(id) FROM image_candidates),
       (SELECT max(winner_at) FROM image_candidates WHERE winner)
"""
