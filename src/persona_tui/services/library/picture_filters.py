"""Which of a persona's pictures are meant, as conditions on photos and on candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from persona_tui.errors import InvalidRequest

Stage = Literal["accepted", "staged", "rejected", "deleted"]
Kind = Literal["still", "video", "generated"]


@dataclass(frozen=True)
class PictureFilters:
    """What a picture must be to be found; None asks for nothing.

    Attributes:
        pillar_id: it lies in a cluster that serves this pillar.
        cluster_id: it lies in this cluster.
        unclustered: it lies in no cluster (True) or in one (False).
        posted: a live post holds it.
        rating_min: of a candidate's contest, 1000 being the middle; photos have none.
        faces_min, faces_max: faces on it; pictures on which nobody looked for any are left out.
        since, until: when it was taken, or made; `until` itself is left out.
        flagged: marked for a second look.
        stage: pictures that count (`accepted`: accepted photos and active candidates) unless others are
            asked for; candidates are never `staged` or `deleted`.
        lora_model_id: its run used this LoRA.
        pipeline_id: its run used this pipeline, in any version.
        kind: a photo, a film, or made by a run.
        text_in_name: is part of a photo's name or caption, of a run's name or prompt, or of what the
            vision model said; case does not matter.
    """

    pillar_id: int | None = None
    cluster_id: int | None = None
    unclustered: bool | None = None
    posted: bool | None = None
    rating_min: int | None = None
    faces_min: int | None = None
    faces_max: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    flagged: bool | None = None
    stage: Stage | None = None
    lora_model_id: int | None = None
    pipeline_id: int | None = None
    kind: Kind | None = None
    text_in_name: str | None = None


@dataclass(frozen=True)
class Conditions:
    """The filters in SQL.

    Attributes:
        photo: a condition on a row `p` of photos.
        candidate: a condition on a row `c` of image_candidates.
        values: what the conditions' `:names` stand for.
    """

    photo: str
    candidate: str
    values: Mapping[str, Any]


_STAGES: Mapping[str, tuple[str, str]] = {
    "accepted": ("p.stage = 'accepted' AND p.deleted_at IS NULL", "c.status = 'active'"),
    "staged": ("p.stage = 'staged' AND p.deleted_at IS NULL", "FALSE"),
    "rejected": ("p.stage = 'rejected' AND p.deleted_at IS NULL", "c.status = 'rejected'"),
    "deleted": ("p.deleted_at IS NOT NULL", "FALSE"),
}
_FACES = "EXISTS (SELECT FROM picture_analyses a WHERE {link} AND a.faces {op} :{name})"
_NAMED: Mapping[str, tuple[str, str]] = {
    "pillar_id": (
        "EXISTS (SELECT FROM cluster_candidates m JOIN pillar_cluster_assignments s"
        " ON s.cluster_id = m.cluster_id WHERE m.photo_id = p.id AND s.pillar_id = :pillar_id)",
        "EXISTS (SELECT FROM cluster_candidates m JOIN pillar_cluster_assignments s"
        " ON s.cluster_id = m.cluster_id WHERE m.image_candidate_id = c.id AND s.pillar_id = :pillar_id)",
    ),
    "cluster_id": (
        "EXISTS (SELECT FROM cluster_candidates m WHERE m.photo_id = p.id AND m.cluster_id = :cluster_id)",
        "EXISTS (SELECT FROM cluster_candidates m"
        " WHERE m.image_candidate_id = c.id AND m.cluster_id = :cluster_id)",
    ),
    "rating_min": ("FALSE", "c.elo_score >= :rating_min"),
    "faces_min": (
        _FACES.format(link="a.photo_id = p.id", op=">=", name="faces_min"),
        _FACES.format(link="a.image_candidate_id = c.id", op=">=", name="faces_min"),
    ),
    "faces_max": (
        _FACES.format(link="a.photo_id = p.id", op="<=", name="faces_max"),
        _FACES.format(link="a.image_candidate_id = c.id", op="<=", name="faces_max"),
    ),
    "since": ("coalesce(p.taken_at, p.created_at) >= :since", "c.created_at >= :since"),
    "until": ("coalesce(p.taken_at, p.created_at) < :until", "c.created_at < :until"),
    "flagged": ("p.flagged = :flagged", "c.flagged = :flagged"),
    "lora_model_id": (
        "FALSE",
        "EXISTS (SELECT FROM run_loras l WHERE l.run_id = c.run_id AND l.lora_model_id = :lora_model_id)",
    ),
    "pipeline_id": (
        "FALSE",
        "EXISTS (SELECT FROM pipeline_runs r JOIN pipeline_versions v ON v.id = r.pipeline_version_id"
        " WHERE r.id = c.run_id AND v.pipeline_id = :pipeline_id)",
    ),
    "text_in_name": (
        "(p.original_name ILIKE :text_in_name OR p.caption ILIKE :text_in_name OR EXISTS (SELECT"
        " FROM picture_analyses a WHERE a.photo_id = p.id AND a.caption ILIKE :text_in_name))",
        "EXISTS (SELECT FROM pipeline_runs r WHERE r.id = c.run_id"
        " AND (r.name ILIKE :text_in_name OR r.prompt ILIKE :text_in_name))",
    ),
}
"""Filters with a value of their own: the condition on a photo, and that on a candidate."""
_IN_CLUSTER = (
    "EXISTS (SELECT FROM cluster_candidates m WHERE m.photo_id = p.id)",
    "EXISTS (SELECT FROM cluster_candidates m WHERE m.image_candidate_id = c.id)",
)
_POSTED = (
    "EXISTS (SELECT FROM post_items h WHERE h.holds AND h.photo_id = p.id)",
    "EXISTS (SELECT FROM post_items h WHERE h.holds AND h.image_candidate_id = c.id)",
)
_KINDS: Mapping[str, tuple[str, str]] = {
    "still": ("p.kind = 'still'", "FALSE"),
    "video": ("p.kind = 'video'", "FALSE"),
    "generated": ("FALSE", "TRUE"),
}


def conditions_of(filters: PictureFilters) -> Conditions:
    """The filters as two conditions with their values.

    Raises:
        InvalidRequest: a stage or kind that there is not.
    """
    pairs = [_chosen(_STAGES, "stage", filters.stage or "accepted")]
    if filters.kind is not None:
        pairs.append(_chosen(_KINDS, "kind", filters.kind))
    pairs += _said(_IN_CLUSTER, None if filters.unclustered is None else not filters.unclustered)
    pairs += _said(_POSTED, filters.posted)
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(filters) if field.name in _NAMED):
        value = getattr(filters, name)
        if value is not None:
            values[name] = _contained(value) if name == "text_in_name" else value
            pairs.append(_NAMED[name])
    return Conditions(
        " AND ".join(pair[0] for pair in pairs), " AND ".join(pair[1] for pair in pairs), values
    )


def _chosen(known: Mapping[str, tuple[str, str]], name: str, word: str) -> tuple[str, str]:
    if word not in known:
        raise InvalidRequest(f"There is no {name} {word!r}.", hint=f"Use one of {', '.join(known)}.")
    return known[word]


def _said(pair: tuple[str, str], wanted: bool | None) -> list[tuple[str, str]]:
    if wanted is None:
        return []
    return [pair] if wanted else [(f"NOT {pair[0]}", f"NOT {pair[1]}")]


def _contained(words: str) -> str:
    """A pattern for ILIKE that is met where these words stand."""
    plain = words.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{plain}%"
