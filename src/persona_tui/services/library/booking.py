"""What an import writes to the database: one short transaction for a group of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from psycopg.types.json import Jsonb
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import NotAllowedNow, UnknownName
from persona_tui.services import events
from persona_tui.services.library import analyses
from persona_tui.services.library.files import Found, shown
from persona_tui.services.library.near import Hashes, known_hashes
from persona_tui.services.library.taking import Ready, Refused
from persona_tui.services.safety import audit

if TYPE_CHECKING:
    from persona_tui.services.library.imports import ImportPlan

Outcome = Literal["imported", "already there", "failed"]


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file.

    Attributes:
        name: the file's name for people.
        near_id: the photo that it looks like, if there is one.
    """

    path: Path
    outcome: Outcome
    photo_id: int | None
    sentence: str
    near_id: int | None = None

    @property
    def name(self) -> str:
        """The file's name for people."""
        return shown(Path(self.path.name))


@dataclass(frozen=True)
class Known:
    """A file that is as it was when it was imported, or watched."""

    found: Found
    outcome: Outcome
    photo_id: int | None
    sentence: str


class Booking:
    """The rows of one import."""

    def __init__(self, import_id: int, plan: ImportPlan, hashes: Hashes) -> None:
        self.import_id = import_id
        self._plan = plan
        self._hashes = hashes

    @classmethod
    def begin(cls, session: Session, plan: ImportPlan) -> Booking:
        """Take up the folder's import, or begin one.

        Raises:
            UnknownName: the cluster belongs to another persona or is gone, or the folder is not watched.
        """
        if plan.cluster_id is not None and not rows_of(session, _CLUSTER, _cluster_of(plan)):
            raise UnknownName(
                "The cluster belongs to another persona or is gone.", hint="Choose another one."
            )
        values = _cluster_of(plan) | {
            "root": folder_name(plan.folder),
            "accept": plan.accept,
            "kept": plan.kept,
            "watch": plan.watch,
        }
        rows = rows_of(session, _TAKE_UP, values)
        if plan.watch and not rows:
            raise UnknownName(f"{shown(plan.root)} is not watched any more.", hint="Watch it again.")
        (row,) = rows or rows_of(session, _BEGIN, values)
        return cls(row.id, plan, known_hashes(session, plan.persona_id))

    def known(self, session: Session, found: Sequence[Found]) -> dict[bytes, Known]:
        """Of these files those that are as they were."""
        rows = rows_of(
            session,
            _KNOWN,
            {
                "persona": self._plan.persona_id,
                "root": folder_name(self._plan.folder),
                "paths": [one.below for one in found],
                "sizes": [one.size for one in found],
                "times": [one.modified_ns for one in found],
                "watch": self._plan.watch,
            },
        )
        files = {one.below: one for one in found}
        return {
            row.path_bytes: Known(files[row.path_bytes], _told(row.outcome), row.photo_id, row.sentence)
            for row in rows
        }

    def book(self, session: Session, group: Sequence[Ready | Known | Refused]) -> list[FileOutcome]:
        """Write a group of files, and return what became of each.

        Raises:
            NotAllowedNow: the import's cluster or persona was deleted meanwhile.
        """
        ready = [one for one in group if isinstance(one, Ready)]
        made = self._insert(session, ready)
        there = self._there(session, group)
        if made:
            self._tell(session, made)
        outcomes = [self._outcome(one, made, there) for one in group]
        self._settle(session, [one.photo_id for one in outcomes if one.photo_id is not None])
        self._note(session, group, outcomes)
        return outcomes

    def end(self, session: Session, state: Literal["done", "stopped"]) -> None:
        """Say how it ended."""
        rows_of(session, _END, {"id": self.import_id, "state": state})

    def _insert(self, session: Session, ready: Sequence[Ready]) -> dict[str, int]:
        """Insert what is not there, also when two imports run at once; ids of new photos by hash.

        By hash, in one order for everybody, so that two imports of the same folder can't lock each other out.
        """
        if not ready:
            return {}
        stage = "accepted" if self._plan.accept else "staged"
        common = {"kept": self._plan.kept, "stage": stage}
        rows = {one.values["sha256"]: _row(one) | common for one in ready}
        ordered = [rows[sha256] for sha256 in sorted(rows)]
        made = rows_of(session, _INSERT, {"persona": self._plan.persona_id, "photos": Jsonb(ordered)})
        return {row.sha256: row.id for row in made}

    def _there(self, session: Session, group: Sequence[Ready | Known | Refused]) -> dict[str | int, Any]:
        hashes = [one.values["sha256"] for one in group if isinstance(one, Ready)]
        ids = [one.photo_id for one in group if isinstance(one, Known) and one.photo_id is not None]
        values = {"persona": self._plan.persona_id, "hashes": hashes, "ids": ids}
        found: dict[str | int, Any] = {}
        for row in rows_of(session, _THERE, values):
            found[row.sha256] = found[row.id] = row
        return found

    def _tell(self, session: Session, made: Mapping[str, int]) -> None:
        persona_id = self._plan.persona_id
        audit.append_all(
            session,
            [
                audit.Happened("operator", "photo.import", persona_id, f"photos:{photo_id}", sha256)
                for sha256, photo_id in made.items()
            ],
        )
        events.emit_all(session, [("photo", photo_id) for photo_id in made.values()])

    def _settle(self, session: Session, photos: list[int]) -> None:
        """What holds for all of them, new or not: they count, and they are in the cluster."""
        values = {"photos": photos, **_cluster_of(self._plan)}
        if photos and self._plan.accept:
            rows_of(session, _ACCEPT, values)
            analyses.queue_persona(session, self._plan.persona_id)
        if photos and self._plan.cluster_id is not None and rows_of(session, _JOIN, values):
            events.emit(session, "cluster", self._plan.cluster_id)

    def _outcome(
        self, one: Ready | Known | Refused, made: dict[str, int], there: Mapping[str | int, Any]
    ) -> FileOutcome:
        path = one.found.path
        if isinstance(one, Refused):
            return FileOutcome(path, "failed", None, one.sentence)
        if isinstance(one, Known):
            row = there.get(one.photo_id or 0)
            return FileOutcome(path, one.outcome, one.photo_id, _standing(row) if row else one.sentence)
        values = one.values
        row = there[values["sha256"]]
        if made.pop(values["sha256"], None) is None:  # also the second of two equal files
            return FileOutcome(path, "already there", row.id, _standing(row))
        like = self._hashes.nearest(values["perceptual_hash"])
        self._hashes.add(row.id, values["perceptual_hash"])
        sentence = f"{values['width']}×{values['height']}"
        if like is not None:
            sentence += f", looks like photo {like}"
        return FileOutcome(path, "imported", row.id, sentence, like)

    def _note(
        self,
        session: Session,
        group: Sequence[Ready | Known | Refused],
        outcomes: Sequence[FileOutcome],
    ) -> None:
        noted = {
            one.found.below: (one, outcome)
            for one, outcome in zip(group, outcomes, strict=True)
            if not isinstance(one, Known)
        }
        if not noted:
            return
        places = sorted(noted)
        files = [noted[place][0] for place in places]
        told = [noted[place][1] for place in places]
        rows = rows_of(
            session,
            _NOTE,
            {
                "import": self.import_id,
                "paths": places,
                "sizes": [file.size if isinstance(file, Ready) else file.found.size for file in files],
                "times": [
                    file.modified_ns if isinstance(file, Ready) else file.found.modified_ns for file in files
                ],
                "outcomes": [one.outcome for one in told],
                "sentences": [one.sentence for one in told],
                "photos": [one.photo_id for one in told],
            },
        )
        if not rows:
            raise NotAllowedNow(
                "The persona or the cluster of this import was deleted meanwhile.",
                hint="Import into another cluster.",
            )


def folder_name(folder: Path) -> str:
    """A folder as the rows name it: bytes that are no UTF-8 as \\xNN."""
    return str(folder).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _cluster_of(plan: ImportPlan) -> dict[str, Any]:
    return {"persona": plan.persona_id, "cluster": plan.cluster_id}


def _row(ready: Ready) -> dict[str, Any]:
    path = ready.found.path
    return ready.values | {
        "original_name": shown(Path(path.name)),
        "source_path": folder_name(path.absolute()),
    }


def _told(outcome: str) -> Outcome:
    return "failed" if outcome == "failed" else "already there"


def _standing(row: Any) -> str:
    """What a photo that is there counts as."""
    if row.deleted_at is not None:
        return f"photo {row.id}, deleted: `persona-tui photos restore` brings it back"
    if row.stage == "rejected":
        return f"photo {row.id}, rejected: {row.reject_reason or 'no reason given'}"
    return f"photo {row.id}" + (", waits for a look" if row.stage == "staged" else "")


_CLUSTER = "SELECT id FROM clusters WHERE id = :cluster AND persona_id = :persona"
_TAKE_UP = """
UPDATE photo_imports SET state = 'running', accept = :accept, kept = :kept, cluster_id = :cluster,
  looked_at = persona_now()
WHERE id = (SELECT id FROM photo_imports WHERE persona_id = :persona AND root = :root AND watch = :watch
            ORDER BY id LIMIT 1)
RETURNING id
"""
_BEGIN = """
INSERT INTO photo_imports (persona_id, root, accept, kept, watch, cluster_id, looked_at)
VALUES (:persona, :root, :accept, :kept, :watch, :cluster, persona_now()) RETURNING id
"""
_END = "UPDATE photo_imports SET state = :state WHERE id = :id"
_KNOWN = """
SELECT DISTINCT ON (f.path_bytes) f.path_bytes, f.outcome, f.photo_id, f.sentence
FROM photo_imports i JOIN photo_import_files f ON f.import_id = i.id
JOIN unnest(CAST(:paths AS bytea[]), CAST(:sizes AS bigint[]), CAST(:times AS bigint[]))
  AS w (path, size, time)
  ON f.path_bytes = w.path AND f.byte_count = w.size AND f.modified_ns = w.time
WHERE i.persona_id = :persona AND i.root = :root
  AND (f.outcome <> 'failed' AND f.photo_id IS NOT NULL OR :watch AND i.watch)
ORDER BY f.path_bytes, f.photo_id NULLS LAST
"""
_INSERT = """
INSERT INTO photos (persona_id, kind, stage, sha256, media_key, kept, source_path, poster_key, poster_sha256,
  original_name, format, width, height, byte_count, perceptual_hash, taken_at, duration_seconds, details)
SELECT :persona, kind, stage, sha256, media_key, kept, source_path, poster_key, poster_sha256,
  original_name, format, width, height, byte_count, perceptual_hash, taken_at, duration_seconds, details
FROM jsonb_to_recordset(:photos) AS p (kind text, stage text, sha256 text, media_key text, kept text,
  source_path text, poster_key text, poster_sha256 text, original_name text, format text,
  width int, height int, byte_count bigint, perceptual_hash bigint, taken_at timestamptz,
  duration_seconds float8, details jsonb)
ORDER BY sha256
ON CONFLICT (persona_id, sha256) DO NOTHING RETURNING id, sha256
"""
_THERE = """
SELECT id, sha256, stage, reject_reason, deleted_at FROM photos
WHERE persona_id = :persona AND (sha256 = ANY (CAST(:hashes AS text[])) OR id = ANY (CAST(:ids AS bigint[])))
"""
_ACCEPT = """
UPDATE photos SET stage = 'accepted' WHERE id = ANY (CAST(:photos AS bigint[])) AND stage = 'staged'
"""
_JOIN = """
INSERT INTO cluster_candidates (persona_id, cluster_id, photo_id, display_order)
SELECT c.persona_id, c.id, w.photo, w.rank + (
  SELECT coalesce(max(m.display_order), 0) FROM cluster_candidates m WHERE m.cluster_id = c.id)
FROM clusters c, unnest(CAST(:photos AS bigint[])) WITH ORDINALITY AS w (photo, rank)
WHERE c.id = :cluster AND c.persona_id = :persona
ORDER BY w.rank
ON CONFLICT (cluster_id, photo_id) DO NOTHING RETURNING id
"""
_NOTE = """
INSERT INTO photo_import_files
  (import_id, path_bytes, byte_count, modified_ns, outcome, sentence, photo_id)
SELECT i.id, w.path, w.size, w.time, w.outcome, w.sentence, w.photo
FROM photo_imports i, unnest(CAST(:paths AS bytea[]), CAST(:sizes AS bigint[]), CAST(:times AS bigint[]),
  CAST(:outcomes AS text[]), CAST(:sentences AS text[]), CAST(:photos AS bigint[]))
  AS w (path, size, time, outcome, sentence, photo)
WHERE i.id = :import
ON CONFLICT (import_id, path_bytes) DO UPDATE SET byte_count = excluded.byte_count,
  modified_ns = excluded.modified_ns, outcome = excluded.outcome, sentence = excluded.sentence,
  photo_id = excluded.photo_id, created_at = persona_now()
RETURNING id
"""
