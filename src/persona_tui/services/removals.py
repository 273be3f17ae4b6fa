"""Files of pictures that are to go: noted in the transaction that ends their use, removed after its commit.

Who noted them removes them next; after a crash in between the leading process does. A file goes only when no
row names its picture any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.media import MediaStore, StoredPicture

SessionScope = Callable[[], AbstractContextManager[Session]]

PICTURE_TABLES = ("image_candidates", "photos", "lora_comparison_pictures")
"""Tables whose rows name pictures in the media store, by `media_key` and `sha256`."""
_AT_ONCE = 200
"""So many files are looked at in one transaction."""
_AGAIN = "ON CONFLICT (media_key) DO UPDATE SET created_at = persona_now()"


def note_run(session: Session, run_id: int) -> None:
    """Note all files of a run's pictures."""
    session.execute(
        text(
            "INSERT INTO media_removals (media_key, sha256)"
            " SELECT DISTINCT ON (media_key) media_key, sha256 FROM image_candidates WHERE run_id = :run"
            f" {_AGAIN}"
        ),
        {"run": run_id},
    )


def note_comparisons(session: Session, lora_id: int) -> None:
    """Note all files of the comparisons that a LoRA takes part in."""
    session.execute(
        text(
            "INSERT INTO media_removals (media_key, sha256)"
            " SELECT DISTINCT ON (p.media_key) p.media_key, p.sha256 FROM lora_comparison_pictures p"
            " JOIN lora_comparisons c ON c.id = p.comparison_id"
            f" WHERE :lora IN (c.lora_model_id, c.beside_id) {_AGAIN}"
        ),
        {"lora": lora_id},
    )


def note_pictures(session: Session, pictures: Iterable[StoredPicture]) -> None:
    """Note the files of pictures that were stored and are not wanted after all."""
    for picture in pictures:
        session.execute(
            text(f"INSERT INTO media_removals (media_key, sha256) VALUES (:key, :sha256) {_AGAIN}"),
            {"key": picture.key, "sha256": picture.sha256},
        )


def remove_files(scope: SessionScope, media: MediaStore, *, rest: float = 0.0) -> int:
    """Remove the files of deleted pictures that nothing names any more. Blocks; safe to call at any time.

    One that was stored again since it was noted stays: whoever stored it is about to name it.

    Args:
        rest: seconds that a note must be old; who stored the same picture just before has named it by then.

    Returns:
        How many pictures' files were removed.

    Raises:
        StorageError: a file can't be removed; it is tried again by the next call.
    """
    removed = 0
    while True:
        with scope() as session:
            rows = session.execute(text(_NOTED), {"limit": _AT_ONCE, "rest": rest}).all()
            for row in rows:
                if not row.named:
                    removed += media.remove(row.media_key, row.sha256, unless_since=time.time() - row.age)
                session.execute(text("DELETE FROM media_removals WHERE id = :id"), {"id": row.id})
        if len(rows) < _AT_ONCE:
            return removed


_NOTED = """
SELECT m.id, m.media_key, m.sha256,
       CAST(extract(epoch FROM persona_now() - m.created_at) AS double precision) AS age,
       {named} AS named
FROM media_removals m WHERE m.created_at <= persona_now() - make_interval(secs => :rest)
ORDER BY m.id LIMIT :limit FOR UPDATE SKIP LOCKED
""".format(
    named=" OR ".join(
        f"EXISTS (SELECT FROM {table} WHERE {key} = m.media_key OR {sha256} = m.sha256)"
        for table, (key, sha256) in [
            *((table, ("media_key", "sha256")) for table in PICTURE_TABLES),
            ("photos", ("poster_key", "poster_sha256")),
        ]
    )
)
