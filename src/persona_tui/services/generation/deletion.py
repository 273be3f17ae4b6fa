"""Deleting a run with its pictures: the rows in one transaction, the files after its commit."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow, UnknownName
from persona_tui.services import events, removals
from persona_tui.services.generation import progress
from persona_tui.services.generation.run_acts import ENDED
from persona_tui.services.removals import remove_files
from persona_tui.services.safety import audit


@dataclass(frozen=True)
class DeletionPreview:
    """What deleting a run would take.

    Attributes:
        pictures: candidates, rejected ones too.
        clusters: names of clusters that hold some of them.
        loose_posts: drafts, failed and cancelled posts that use them or wait for the run; they stay without.
        live_posts: posts that are planned, on their way or published with them; they forbid the deletion.
    """

    run_id: int
    name: str
    status: str
    pictures: int
    clusters: tuple[str, ...]
    loose_posts: tuple[int, ...]
    live_posts: tuple[int, ...]

    @property
    def is_used(self) -> bool:
        """Whether something would miss its pictures."""
        return bool(self.clusters or self.loose_posts)

    @property
    def uses(self) -> tuple[str, ...]:
        """Who would miss them, in sentences."""
        found = []
        if self.clusters:
            found.append(f"Pictures of it are in {', '.join(self.clusters)}.")
        if self.loose_posts:
            numbers = ", ".join(map(str, self.loose_posts))
            found.append(f"Posts {numbers} (drafts, failed or cancelled) use them or wait for them.")
        return tuple(found)


@dataclass(frozen=True)
class DeletedRun:
    """A run that is gone; its files are removed by `remove_files`."""

    run_id: int
    name: str
    pictures: int


_USES = """
SELECT r.name, r.status,
  (SELECT count(*) FROM image_candidates i WHERE i.run_id = r.id) AS pictures,
  array(SELECT DISTINCT c.name FROM cluster_candidates m JOIN clusters c ON c.id = m.cluster_id
        JOIN image_candidates i ON i.id = m.image_candidate_id
        WHERE i.run_id = r.id ORDER BY c.name) AS clusters,
  array(SELECT p.id FROM scheduling_posts p WHERE {posts} AND {loose} ORDER BY p.id) AS loose_posts,
  array(SELECT p.id FROM scheduling_posts p WHERE {posts} AND NOT {loose} ORDER BY p.id) AS live_posts
FROM pipeline_runs r WHERE r.id = :run
""".format(
    posts="(p.run_id = r.id OR EXISTS (SELECT FROM post_items t"
    " JOIN image_candidates i ON i.id = t.image_candidate_id WHERE t.post_id = p.id AND i.run_id = r.id))",
    loose="p.state IN ('draft', 'awaiting_image', 'failed', 'cancelled')",
)


def deletion_preview(session: Session, run_id: int) -> DeletionPreview:
    """What deleting a run would take, and who would miss it.

    Raises:
        UnknownName: there is no such run.
    """
    row = session.execute(text(_USES), {"run": run_id}).one_or_none()
    if row is None:
        raise UnknownName(f"There is no run {run_id}.", hint="`persona-tui run list` shows what there is.")
    return DeletionPreview(
        run_id,
        row.name,
        row.status,
        row.pictures,
        tuple(row.clusters),
        tuple(row.loose_posts),
        tuple(row.live_posts),
    )


def delete_run(session: Session, run_id: int, *, actor: str, even_used: bool = False) -> DeletedRun:
    """Delete a run with its tree, its votes and its jobs; call `remove_files` after the commit.

    Args:
        even_used: also where clusters hold its pictures, or drafts, failed and cancelled posts use them; the
            pictures leave them.

    Raises:
        UnknownName: there is no such run.
        NotAllowedNow: it has not ended, a live or published post uses it, or something else does and
            `even_used` was not said.
    """
    run = progress.lock_run(session, run_id)
    found = deletion_preview(session, run_id)
    require_deletable(found, even_used)
    persona_id, values = run.persona_id, {"run": run_id}
    session.expunge(run)
    removals.note_run(session, run_id)
    for statement in _DELETION:
        session.execute(text(statement), values)
    session.expire_all()
    for post_id in found.loose_posts:
        events.emit(session, "post", post_id)
    events.emit(session, "run", run_id)
    audit.append(
        session,
        actor=actor,
        action="run.delete",
        persona_id=persona_id,
        subject=f"pipeline_runs:{run_id}",
        details={"name": found.name, "pictures": found.pictures},
    )
    return DeletedRun(run_id, found.name, found.pictures)


def require_deletable(found: DeletionPreview, even_used: bool) -> None:
    """Refuse what `delete_run` would refuse, before anybody is asked.

    Raises:
        NotAllowedNow: as `delete_run`.
    """
    if found.status not in ENDED:
        raise NotAllowedNow(
            f"Run {found.run_id} is {found.status}.",
            hint=f"Cancel it first: `persona-tui run cancel {found.run_id}`.",
        )
    if found.live_posts:
        numbers = ", ".join(map(str, found.live_posts))
        raise NotAllowedNow(
            f"Run {found.run_id} is used by live or published posts: {numbers}.",
            hint="Cancel those that are not out; what was published keeps its run.",
        )
    if found.is_used and not even_used:
        raise NotAllowedNow(
            f"Run {found.run_id} is still used. {' '.join(found.uses)}",
            hint="`persona-tui run delete --even-used` deletes it all the same.",
        )


_DELETION = (
    "DELETE FROM post_items WHERE image_candidate_id IN"
    " (SELECT id FROM image_candidates WHERE run_id = :run)",
    "UPDATE scheduling_posts SET run_id = NULL,"
    " state = CASE WHEN state = 'awaiting_image' THEN 'draft' ELSE state END WHERE run_id = :run",
    "DELETE FROM cluster_candidates WHERE image_candidate_id IN"
    " (SELECT id FROM image_candidates WHERE run_id = :run)",
    "DELETE FROM image_candidates WHERE run_id = :run",
    "DELETE FROM comfyui_jobs WHERE run_id = :run",
    "DELETE FROM pipeline_runs WHERE id = :run",
)
"""In this order: what points to a row goes before it."""


__all__ = ["DeletedRun", "DeletionPreview", "delete_run", "deletion_preview", "remove_files"]
