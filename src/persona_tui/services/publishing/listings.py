"""What an account shows, as it is needed to find a post of one kind among it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_facts import MediaFacts
from persona_tui.errors import ClientError
from persona_tui.services.publishing.signals import Expected
from persona_tui.services.publishing.wording import full_caption

_ALBUM = "CAROUSEL_ALBUM"


def expected_of(
    kind: str, caption: str, hashtags: Sequence[str], alt_text: str, *, labelled: bool, pictures: int
) -> Expected:
    """What Instagram was sent of a post: a reel takes no alternative text, a story no words at all."""
    return Expected(
        "" if kind == "story" else full_caption(caption, hashtags),
        alt_text if kind in {"single", "carousel"} else "",
        labelled,
        kind,
        pictures,
    )


async def listed(
    client: InstagramClient, kind: str, *, since: datetime | None = None, limit: int
) -> tuple[MediaFacts, ...]:
    """The account's newest items among which a post of this kind shows up; stories have a list of their own.

    Raises:
        ClientError: it can't be read.
    """
    if kind != "story":
        return await client.list_media(since=since, limit=limit)
    stories = await client.list_stories(limit)
    return tuple(
        story for story in stories if since is None or story.timestamp is None or story.timestamp >= since
    )


async def with_items_words(
    client: InstagramClient, items: Sequence[MediaFacts], expected: Expected, *, known: Collection[str]
) -> tuple[MediaFacts, ...]:
    """The items, each carousel with the alternative text of its first picture: it has none itself.

    Only where the post is a carousel with such a text; what can't be read stays without.
    """
    if expected.kind != "carousel" or not expected.alt_text:
        return tuple(items)
    return tuple([item if item.id in known else await with_first_words(client, item) for item in items])


async def with_first_words(client: InstagramClient, item: MediaFacts) -> MediaFacts:
    """The item, if it is a carousel without words then with the alternative text of its first picture."""
    if item.media_type != _ALBUM or not item.children or item.alt_text or item.caption:
        return item
    try:
        first = await client.media(item.children[0])
    except ClientError:
        return item
    return replace(item, alt_text=first.alt_text)


__all__ = ["expected_of", "listed", "with_first_words", "with_items_words"]
