"""Names for clusters, proposed by a language model, by what was seen, or by CLIP; never forced."""

from __future__ import annotations

from asyncio import to_thread
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow
from persona_tui.gpu.embedding import embed_words
from persona_tui.passed import Passed
from persona_tui.services import events
from persona_tui.services.jobs import Pool, SessionScope
from persona_tui.services.library.building import Vectors
from persona_tui.services.library.clusters import ClusterView, get_cluster, list_clusters, rename_cluster
from persona_tui.services.library.embeddings import EmbeddingModel
from persona_tui.services.library.space import read_centres
from persona_tui.services.safety import guard
from persona_tui.services.writers import Writer, ask
from persona_tui.text import clean

SURE = 0.7
"""Confidence from which an object counts."""
COMMON = 0.25
"""Share of a cluster's pictures on which an object must be, to stand for it."""
_GENERIC_WORDS = (
    "person, woman, man, human, people, girl, boy, clothing, clothes, top, floor, room, wall, "
    "background, sky, image"
)
GENERIC = frozenset(_GENERIC_WORDS.split(", "))
"""What is on too many pictures to tell clusters apart."""
_LABEL_WORDS = (
    "beach, sea, lake, river, waterfall, mountains, forest, meadow, desert, snow, garden, flowers, "
    "park, street, city skyline, market, cafe, restaurant, kitchen, bedroom, living room, bathroom, "
    "office, library, studio, workshop, gym, pool, stage, concert, museum, church, train, car, "
    "motorcycle, bicycle, boat, aeroplane, rocket, space, moon, cat, dog, horse, birds, fish, insects, "
    "food, breakfast, coffee, cake, fruit, wine, portrait, selfie, full body, hands, face close-up, "
    "group of friends, couple, wedding, party, sport, yoga, running, dancing, swimming, hiking, "
    "reading, cooking, painting, pottery, music, computer, books, jewellery, shoes, dress, swimwear, "
    "suit, winter coat, hat, sunglasses, sunset, night, rain, fog, autumn leaves, spring blossom, "
    "Christmas, black and white, texture, brick wall, grass, stones, microscope, drawing, text on a "
    "page, logo"
)
LABELS = tuple(_LABEL_WORDS.split(", "))
"""What CLIP is asked about."""
_TEMPLATE = "a photo of {}"
_SHOWN = 12  # captions of a cluster that a language model is told
_SYSTEM = "You name albums of a photo library: 2 to 4 plain words, no person's name, no quotation marks."


class _Name(BaseModel):
    name: str = Field(description="2 to 4 words that say what the album shows")


@dataclass(frozen=True)
class Proposal:
    """A name for a cluster.

    Attributes:
        by: the language model that found it, `objects` or `labels`.
    """

    cluster_id: int
    name: str
    by: str


_SEEN = """
SELECT a.caption, a.objects FROM cluster_candidates m
JOIN picture_analyses a ON a.photo_id = m.photo_id OR a.image_candidate_id = m.image_candidate_id
WHERE m.cluster_id = :cluster AND (a.caption IS NOT NULL OR a.objects IS NOT NULL)
ORDER BY m.display_order, m.id
"""


async def propose_names(
    scope: SessionScope,
    pool: Pool,
    persona_id: int,
    model: EmbeddingModel,
    writers: Sequence[Writer] = (),
    *,
    cluster_ids: Sequence[int] | None = None,
) -> tuple[Proposal, ...]:
    """Find names for clusters; each waits beside the cluster until the operator takes or dismisses it.

    A language model is told captions where pictures have some; otherwise the objects on them name the
    cluster, and where nothing was seen CLIP's nearest words do, if it is there. A name that was dismissed, or
    that another cluster has, is not proposed.

    Args:
        pool: the child that holds the embedding model.
        writers: language models in the order in which they are asked.
        cluster_ids: those that are to be named; by default the built ones without a proposal.

    Raises:
        GuardRefused: what the language model would be told is refused.
    """

    def read() -> list[tuple[ClusterView, list[Any], Passed[str] | None, Passed[str] | None]]:
        with scope() as session:
            return [_told(session, one, bool(writers)) for one in _unnamed(session, persona_id, cluster_ids)]

    told = await to_thread(read)
    labels = await _labels(scope, pool, persona_id, model) if told and model.speaks else {}
    found: list[tuple[int, str, list[str]]] = []
    for cluster, seen, system, prompt in told:
        answer = await ask(writers, system, prompt, schema=_Name) if system and prompt else None
        if answer is not None:
            found.append((cluster.id, answer[1], [clean(answer[0].name, keep_lines=False)[:80]]))
        elif names := name_of_objects([row[1] for row in seen]):
            found.append((cluster.id, "objects", names))
        elif cluster.id in labels:
            found.append((cluster.id, "labels", labels[cluster.id]))

    def store() -> tuple[Proposal, ...]:
        with scope() as session:
            return _store(session, persona_id, found)

    return await to_thread(store)


def take_name(session: Session, cluster_id: int) -> ClusterView:
    """Give the cluster the name that was proposed.

    Raises:
        NotAllowedNow: none was.
        DuplicateName: another cluster got it meanwhile.
    """
    proposed = _proposed(session, cluster_id)
    rename_cluster(session, cluster_id, proposed)
    _forget(session, cluster_id, dismissed=None)
    return get_cluster(session, cluster_id)


def dismiss_name(session: Session, cluster_id: int) -> ClusterView:
    """Drop the name that was proposed; it is not proposed for this cluster again.

    Raises:
        NotAllowedNow: none was.
    """
    _forget(session, cluster_id, dismissed=_proposed(session, cluster_id))
    return get_cluster(session, cluster_id)


def name_of_objects(seen: Sequence[Sequence[dict[str, Any]] | None]) -> list[str]:
    """Names by what is on many of a cluster's pictures, the best first; empty where that is nothing telling.

    Args:
        seen: for each picture its objects, each with label and confidence.
    """
    counts = Counter(
        label
        for objects in seen
        for label in {_plain(one) for one in objects or () if one.get("confidence", 0) >= SURE}
        if label and label not in GENERIC
    )
    common = [
        label.title()
        for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if count >= COMMON * len(seen)
    ][:3]
    pairs = [f"{common[0]} & {other}" for other in common[1:]]
    return [*pairs[:1], *common[:1], *pairs[1:]]


def nearest_labels(centres: Vectors, words: Vectors) -> list[list[int]]:
    """For each centre the labels that fit it better than they fit the other centres, the best first.

    All pictures of a persona lie in one region and are near the same few words, so what all centres share
    is taken off first.
    """
    fit = centres @ words.T
    if len(centres) > 1:
        fit = fit - fit.mean(axis=0)
    return [np.argsort(-row, kind="stable")[:3].tolist() for row in fit]


async def _labels(
    scope: SessionScope, pool: Pool, persona_id: int, model: EmbeddingModel
) -> dict[int, list[str]]:
    def read() -> Any:
        with scope() as session:
            return read_centres(session, persona_id, model.hash)

    known = await to_thread(read)
    if not known.ids:
        return {}
    words = await pool.run(embed_words, model.weights, [_TEMPLATE.format(label) for label in LABELS])
    centres = known.centres / np.linalg.norm(known.centres, axis=1, keepdims=True)
    chosen = nearest_labels(centres, words)
    return {
        cluster: [LABELS[place].capitalize() for place in places]
        for cluster, places in zip(known.ids, chosen, strict=True)
    }


def _unnamed(session: Session, persona_id: int, cluster_ids: Sequence[int] | None) -> list[ClusterView]:
    clusters = list_clusters(session, persona_id)
    if cluster_ids is not None:
        return [one for one in clusters if one.id in set(cluster_ids)]
    return [one for one in clusters if one.origin == "built" and not one.proposed_name and one.pictures]


def _told(
    session: Session, cluster: ClusterView, asks: bool
) -> tuple[ClusterView, list[Any], Passed[str] | None, Passed[str] | None]:
    """What was seen on a cluster's pictures, and what a language model is told of it."""
    seen = list(session.execute(text(_SEEN), {"cluster": cluster.id}).all())
    captions = [row[0] for row in seen if row[0]][:_SHOWN]
    if not captions or not asks:
        return cluster, seen, None, None
    prompt = "Name the album of these pictures:\n" + "\n".join(f"- {caption}" for caption in captions)
    system, passed = (
        guard.pass_text(session, words, purpose="language_model", persona_id=cluster.persona_id)
        for words in (_SYSTEM, prompt)
    )
    return cluster, seen, system, passed


def _store(
    session: Session, persona_id: int, found: Iterable[tuple[int, str, list[str]]]
) -> tuple[Proposal, ...]:
    rows = session.execute(
        text(
            "SELECT id, lower(name), lower(proposed_name), details -> 'dismissed_names' FROM clusters"
            " WHERE persona_id = :persona FOR UPDATE"
        ),
        {"persona": persona_id},
    ).all()
    taken = {row[1] for row in rows} | {row[2] for row in rows if row[2]}
    dismissed = {row[0]: {name.lower() for name in row[3] or ()} for row in rows}
    proposals = []
    for cluster_id, by, names in found:
        refused = taken | dismissed.get(cluster_id, set())
        name = next((one for one in names if one.strip() and one.lower() not in refused), None)
        if name is None or cluster_id not in dismissed:
            continue
        taken.add(name.lower())
        session.execute(
            text("UPDATE clusters SET proposed_name = :name WHERE id = :id"), {"name": name, "id": cluster_id}
        )
        events.emit(session, "cluster", cluster_id)
        proposals.append(Proposal(cluster_id, name, by))
    session.expire_all()
    return tuple(proposals)


def _proposed(session: Session, cluster_id: int) -> str:
    cluster = get_cluster(session, cluster_id)
    if not cluster.proposed_name:
        raise NotAllowedNow(f"No name is proposed for {cluster.name}.", hint="`cluster names` finds some.")
    return cluster.proposed_name


def _forget(session: Session, cluster_id: int, *, dismissed: str | None) -> None:
    session.execute(
        text(
            "UPDATE clusters SET proposed_name = '', details = CASE WHEN CAST(:name AS text) IS NULL"
            " THEN details ELSE jsonb_set(details, '{dismissed_names}',"
            "  coalesce(details -> 'dismissed_names', '[]') || to_jsonb(CAST(:name AS text))) END"
            " WHERE id = :id"
        ),
        {"name": dismissed, "id": cluster_id},
    )
    session.expire_all()
    events.emit(session, "cluster", cluster_id)


def _plain(seen: dict[str, Any]) -> str:
    return clean(str(seen.get("label", "")), keep_lines=False).strip().lower()[:40]
