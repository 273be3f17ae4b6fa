"""All that is known of one picture, for a panel beside it: file, measures, clusters, and how it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import UnknownName
from persona_tui.services.generation.run_loras import loras_of
from persona_tui.services.library.pictures import PictureRef


@dataclass(frozen=True)
class Origin:
    """How a generated picture was made.

    Attributes:
        pipeline: `name, version n`.
        loras: that its run used, as `name@version (weight)`.
        way: the candidates that led to it, the first step's first, itself last.
        votes: that showed it and count.
        margin: half the width of its rating's 90 % interval; None where it takes part in no contest.
    """

    run_id: int
    run: str
    pipeline: str
    step: str
    seed: int
    prompt: str
    loras: tuple[str, ...]
    way: tuple[int, ...]
    votes: int
    margin: int | None


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a picture; None and empty: not known.

    Attributes:
        format, byte_count, source_path: of a photo's original.
        duration_seconds: of a film.
        sharpness: variance of the Laplacian at 512 px.
        exposure: mean grey level, 0 black to 1 white.
        faces: None says that nobody looked, 0 that there is none.
        aesthetic: 1 to 10.
        clusters: names of those in which it lies.
        problems: (kind, sentence) of analyses that failed or can't be done here.
        origin: of a generated picture.
    """

    ref: PictureRef
    format: str = ""
    byte_count: int | None = None
    source_path: str = ""
    reject_reason: str = ""
    duration_seconds: float | None = None
    sharpness: float | None = None
    exposure: float | None = None
    faces: int | None = None
    aesthetic: float | None = None
    objects: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    origin: Origin | None = None


_OF = "(photo_id = :photo_id OR image_candidate_id = :image_candidate_id)"
_FACTS = f"""
SELECT coalesce(p.format, '') AS format, p.byte_count, coalesce(p.source_path, '') AS source_path,
       coalesce(p.reject_reason, '') AS reject_reason, p.duration_seconds,
       a.sharpness, a.exposure, a.faces, a.aesthetic, a.objects,
       ARRAY(SELECT g.name FROM cluster_candidates m JOIN clusters g ON g.id = m.cluster_id
             WHERE {_OF} ORDER BY m.id) AS clusters,
       (SELECT jsonb_agg(jsonb_build_array(o.kind, o.problem) ORDER BY o.kind) FROM analysis_outcomes o
        WHERE {_OF} AND o.state <> 'done') AS problems
FROM (SELECT 1) one
LEFT JOIN photos p ON p.id = :photo_id
LEFT JOIN picture_analyses a ON a.photo_id = :photo_id OR a.image_candidate_id = :image_candidate_id
"""
_ORIGIN = """
SELECT i.run_id, r.name AS run, p.name || ', version ' || v.number AS pipeline, ps.name AS step, i.seed,
       r.prompt, m.contest_id,
       (SELECT count(*) FROM vote_items t JOIN votes v ON v.id = t.vote_id
        WHERE t.contest_member_id = m.id AND v.undoes_vote_id IS NULL
          AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)) AS votes
FROM image_candidates i
JOIN pipeline_run_steps st ON st.id = i.run_step_id
JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id
JOIN pipeline_runs r ON r.id = i.run_id
JOIN pipeline_versions v ON v.id = r.pipeline_version_id
JOIN pipelines p ON p.id = v.pipeline_id
LEFT JOIN contests c ON c.run_step_id = i.run_step_id
LEFT JOIN contest_members m ON m.contest_id = c.id AND m.image_candidate_id = i.id
WHERE i.id = :candidate
"""
_WAY = """
WITH RECURSIVE way AS (
  SELECT id, parent_id, 0 AS back FROM image_candidates WHERE id = :candidate
  UNION ALL
  SELECT i.id, i.parent_id, w.back + 1 FROM image_candidates i JOIN way w ON i.id = w.parent_id
)
SELECT id FROM way ORDER BY back DESC
"""


def facts_of(session: Session, ref: PictureRef) -> PictureFacts:
    """Everything about one picture.

    Raises:
        UnknownName: there is no such candidate.
    """
    row = dict(session.execute(text(_FACTS), ref.columns).one()._mapping)
    objects = tuple(str(one.get("label", "")) for one in row.pop("objects") or ())
    problems = tuple((str(kind), str(problem)) for kind, problem in row.pop("problems") or ())
    clusters = tuple(row.pop("clusters"))
    origin = _origin(session, ref.candidate_id) if ref.candidate_id is not None else None
    return PictureFacts(ref, objects=objects, problems=problems, clusters=clusters, origin=origin, **row)


def _origin(session: Session, candidate_id: int) -> Origin:
    found = session.execute(text(_ORIGIN), {"candidate": candidate_id}).one_or_none()
    if found is None:
        raise UnknownName(f"There is no candidate {candidate_id}.")
    row: dict[str, Any] = dict(found._mapping)
    contest_id = row.pop("contest_id")
    return Origin(
        loras=tuple(lora.words for lora in loras_of(session, row["run_id"])),
        way=tuple(session.execute(text(_WAY), {"candidate": candidate_id}).scalars()),
        margin=_margin(session, contest_id, candidate_id) if contest_id is not None else None,
        **row,
    )


def _margin(session: Session, contest_id: int, candidate_id: int) -> int | None:
    from persona_tui.services.voting.state import load

    state = load(session, contest_id)
    for place, row in enumerate(state.rows):
        if row.candidate_id == candidate_id:
            low, high = state.member(place).interval
            return round((high - low) / 2)
    return None
