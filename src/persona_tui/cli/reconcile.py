"""What Instagram shows for a post whose outcome is unknown, in lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.publishing.reconcile import AccountListing


async def look(opened: Resources, post_id: int) -> AccountListing:
    """Look at the account's listing; the look is kept, and a person may decide by it for 15 minutes."""
    from persona_tui.services.leadership import this_process
    from persona_tui.services.publishing.reconcile import Reconciler

    reconciler = Reconciler(
        opened.database.session_scope,
        make_client=opened.instagram_client,
        keyring=opened.keyring,
        settings=opened.settings,
        owner=this_process().id,
    )
    try:
        return await reconciler.look(post_id)
    finally:
        await reconciler.aclose()


def lines(seen: AccountListing) -> Iterator[str]:
    """The listing for people, with what to do next."""
    container = seen.container.value if seen.container else "not readable"
    yield f"container: {container}"
    if not seen.items:
        yield "The account lists nothing new since the post was sent."
    for item in seen.items:
        mark = "  ← may be this post" if item.likeness is not None else ""
        yield f"  {item.facts.id}  {item.facts.timestamp}  {item.facts.permalink or ''}{mark}"
    yield f"next: persona-tui post adopt {seen.post_id} MEDIA_ID, or post mark-not-published {seen.post_id}"
