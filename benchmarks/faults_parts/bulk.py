"""Many due posts at once, laid down by a few statements."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from tests.support.publishing import World
from tests.support.publishing_rows import picture

_PHOTOS = text(
    "INSERT INTO photos (persona_id, sha256, media_key, format, width, height, byte_count)"
    " SELECT :persona, md5(:persona || '.' || n) || md5('x' || n), :key, 'PNG', 320, 400, 1"
    " FROM generate_series(1, :count) AS n"
)
_POSTS = text(
    "INSERT INTO scheduling_posts (persona_id, account_id, environment, caption, alt_text, is_ai_generated,"
    "  scheduled_at, zone, grace_minutes, state)"
    " SELECT :persona, :account, 'sandbox', 'Morning ' || :persona || '.' || n,"
    "  'Cup ' || :persona || '.' || n, true,"
    "  :first + (n - 1) * make_interval(secs => :apart), 'UTC', :grace, 'scheduled'"
    " FROM generate_series(1, :count) AS n"
)
_ITEMS = text(
    "INSERT INTO post_items (post_id, persona_id, photo_id, sha256)"
    " SELECT p.id, p.persona_id, f.id, f.sha256 FROM"
    " (SELECT *, row_number() OVER (ORDER BY id) AS n FROM scheduling_posts WHERE persona_id = :persona) AS p"
    " JOIN (SELECT *, row_number() OVER (ORDER BY id) AS n FROM photos WHERE persona_id = :persona) AS f"
    " ON f.n = p.n"
)


def lay(
    world: World, count: int, first: datetime, *, apart: float = 0.0, grace_minutes: int = 7 * 24 * 60
) -> None:
    """So many posts of the world's account, from `first` on, `apart` seconds from each other."""
    values = {
        "persona": world.persona_id,
        "account": world.account_id,
        "key": world.media.put(picture(world.persona_id)).key,
        "count": count,
        "first": first,
        "apart": apart,
        "grace": grace_minutes,
    }
    with world.db.session_scope() as session:
        for statement in (_PHOTOS, _POSTS, _ITEMS):
            session.execute(statement, values)
