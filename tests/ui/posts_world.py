"""Posts in the states that the screen's tests begin with, and the screen over them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pydantic import BaseModel
from sqlalchemy import text
from sqlmodel import Session
from textual.pilot import Pilot

from persona_tui.passed import Passed
from persona_tui.screens.posts import PostsScreen
from persona_tui.services import events
from persona_tui.services.publishing import posts
from persona_tui.setting_sections import MediaSettings
from tests.support.publishing import World
from tests.ui.quiet_core import QuietCore, app_over
from tests.ui.support import settle

SMALL, LARGE = (80, 24), (200, 50)
MEDIA = MediaSettings(publish_url="file:///public", public_base_url="http://127.0.0.1:9")


class Model:
    """A language model that answers when it is let: a slow one."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()

    async def generate(
        self,
        system: Passed[str],
        prompt: Passed[str],
        *,
        pictures: Sequence[Passed[bytes]] = (),
        schema: type[BaseModel],
    ) -> Any:
        self.asked.set()
        await self.may_answer.wait()
        words = {"caption": "Steam over a cup.", "hashtags": ["tea"], "alt_text": "A cup on a sill"}
        return schema(**words)


def draft(world: World) -> int:
    """A post with a picture and without words."""
    with world.db.session_scope() as session:
        return posts.draft_for_winner(session, world.candidate(session)).id


def ready(world: World, caption: str = "Morning light") -> int:
    """A post with the operator's words and without a time."""
    post_id = draft(world)
    with world.db.session_scope() as session:
        posts.write_caption(session, post_id, caption, ["tea"], "A cup")
    return post_id


def state(world: World, post_id: int) -> str:
    """The state that the database holds."""
    return world.view(post_id).state


def publish(session: Session, post_id: int) -> None:
    """What the publisher writes when Instagram has answered."""
    values = {"id": post_id}
    session.execute(
        text("SELECT set_config('persona.fence', fence::text, true) FROM scheduling_posts WHERE id = :id"),
        values,
    )
    session.execute(
        text(
            "UPDATE scheduling_posts SET state = 'published', media_id = '1', lease_until = NULL,"
            " permalink = 'https://instagram.example/p/1', published_at = persona_now() WHERE id = :id"
        ),
        values,
    )
    session.execute(
        text("UPDATE publish_attempts SET open = false, outcome = 'published' WHERE post_id = :id"), values
    )
    events.emit(session, "post", post_id)


@asynccontextmanager
async def opened(
    world: World, size: tuple[int, int] = SMALL, *, core: QuietCore | None = None, **values: Any
) -> AsyncIterator[Pilot[None]]:
    """The screen of posts over this world; `writers` and settings may be given."""
    core = core or QuietCore(world.db, world.folder, values.pop("writers", ()), **{"media": MEDIA, **values})
    app = app_over(core)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f8")
        await settle(pilot)
        yield pilot


def posts_screen(pilot: Pilot[Any]) -> PostsScreen:
    """The screen of posts, in front or below a dialog."""
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, PostsScreen))
