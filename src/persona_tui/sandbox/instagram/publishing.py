"""Publishing containers, and the listing, limits and facts that are read afterwards."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from persona_tui.sandbox.control import SandboxContext
from persona_tui.sandbox.instagram.behaviour import Behaviour, SecondPublish
from persona_tui.sandbox.instagram.containers import Containers
from persona_tui.sandbox.instagram.errors import refused
from persona_tui.sandbox.instagram.fields import behind, cursor, media_fields, pick
from persona_tui.sandbox.instagram.store import Account, Container, Media, Store
from persona_tui.sandbox.instagram.tokens import caller

WINDOW_SECONDS = 24 * 3600
_PAGE, _LARGEST_PAGE = 25, 100
_STORY_SECONDS = 24 * 3600
_PRODUCTS = {"REELS": "REELS", "STORIES": "STORY"}
_UNPUBLISHABLE = {"IN_PROGRESS": (9007, 2207027), "ERROR": (9007, 2207027), "EXPIRED": (24, 2207008)}


@dataclass(frozen=True)
class Publishing:
    """The calls about published media."""

    context: SandboxContext
    store: Store
    containers: Containers

    def publish(self, ig_user_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`POST /{ig_user_id}/media_publish`. What is published is on disk and in the ledger on return.

        Raises:
            Refused: as Meta would.
        """
        behaviour = self.store.behaviour()
        creation_id = str(asked.get("creation_id", ""))
        self.context.ledger.append("publish_called", ig_user_id=ig_user_id, container_id=creation_id)
        if self.context.rng.random() < behaviour.foreign_posts:
            self.post_by_phone(ig_user_id, caption="From the phone")
        container = self.store.container(creation_id)
        if container is None or container.ig_user_id != ig_user_id:
            raise refused(24, 2207006)
        if container.kind == "CHILD":
            raise refused(100, None, "(#100) A carousel item can't be published alone")
        state = self.containers.state(container)
        if state in _UNPUBLISHABLE:
            raise refused(*_UNPUBLISHABLE[state])
        answer = self._second_answer(behaviour) if state == "PUBLISHED" else "publish_again"
        if answer != "publish_again":
            return self._second_publish(container, answer)
        if self._used(ig_user_id) >= behaviour.quota_total:
            raise refused(9, 2207042)
        return {"id": self._publish(container, behaviour)}

    def _second_answer(self, behaviour: Behaviour) -> SecondPublish:
        if behaviour.second_publish != "any":
            return behaviour.second_publish
        return self.context.rng.choice(("same_id", "not_found", "not_ready", "publish_again"))

    def _second_publish(self, container: Container, answer: SecondPublish) -> dict[str, Any]:
        if answer == "not_found":
            raise refused(24, 2207008)
        if answer == "not_ready":
            raise refused(9007, 2207027)
        return {"id": self.store.media_of_container(container.id)[0].id}

    def _publish(self, container: Container, behaviour: Behaviour) -> str:
        now, rng = self._now(), self.context.rng
        children = [one for one in map(self.store.container, container.children) if one is not None]
        own_id, *child_ids = self.store.next_media_ids(1 + len(children))
        visible_at = now + rng.uniform(*behaviour.listing_delay)
        items = [
            _item(own_id, None, container, now=now, visible_at=visible_at, behaviour=behaviour, rng=rng),
            *(
                _item(child_id, own_id, child, now=now, visible_at=visible_at, behaviour=behaviour, rng=rng)
                for child_id, child in zip(child_ids, children, strict=True)
            ),
        ]
        self.store.add_media(items)
        self.note_published(items[0])
        return own_id

    def note_published(self, item: Media) -> None:
        """Write the ground truth: one entry for each item that went out through the API or by phone."""
        children = self.store.children_of(item.id)
        self.context.ledger.append(
            "published" if item.container_id is not None else "foreign_post",
            media_id=item.id,
            ig_user_id=item.ig_user_id,
            container_id=item.container_id,
            media_type=item.media_type,
            caption=item.caption,
            alt_text=item.alt_text,
            is_ai_generated=item.is_ai_generated,
            picture_sha256=item.picture_sha256,
            children=[child.picture_sha256 for child in children],
            child_alt_texts=[child.alt_text for child in children],
            child_tags=[child.extras.get("user_tags", []) for child in children],
            **{name: value for name, value in item.extras.items() if name != "shape"},
        )

    def note_missed(self) -> None:
        """Complete the ledger after a kill between the commit and the ledger's line."""
        entries = [*self.context.ledger.of("published"), *self.context.ledger.of("foreign_post")]
        noted = {entry["media_id"] for entry in entries}
        for item in self.store.all_published():
            if item.id not in noted:
                self.note_published(item)

    def post_by_phone(
        self,
        ig_user_id: str,
        *,
        caption: str | None = None,
        alt_text: str | None = None,
        product: str = "FEED",
        is_ai_generated: bool = False,
    ) -> str:
        """The account's owner posts with the app: an item that no container made, free of the API's quota."""
        (media_id,) = self.store.next_media_ids(1)
        now = self._now()
        delay = self.context.rng.uniform(*self.store.behaviour().listing_delay)
        item = Media(
            id=media_id,
            ig_user_id=ig_user_id,
            container_id=None,
            parent_id=None,
            media_type="VIDEO" if product == "REELS" else "IMAGE",
            caption=caption,
            alt_text=alt_text,
            alt_text_readable=True,
            is_ai_generated=is_ai_generated,
            picture_sha256=None,
            published_at=now,
            visible_at=now + delay,
            extras={"product": product},
        )
        self.store.add_media([item])
        self.note_published(item)
        return media_id

    def node(self, item: Media, account: Account, fields: str | None) -> dict[str, Any]:
        """`GET /{media_id}`, and one row of a listing."""
        known = media_fields(
            item,
            username=account.username,
            site=self.context.addresses.get("instagram", "https://www.instagram.com"),
            children=lambda: self.store.children_of(item.id),
            caption_readable=self._caption_readable(),
        )
        return pick(fields, known, "ShadowIGMedia")

    def stories(self, account: Account, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`GET /{ig_user_id}/stories`: those of the last 24 hours, newest first."""
        now = self._now()
        items = self.store.listed(
            account.ig_user_id, now=now, since=now - _STORY_SECONDS, until=1e12, stories=True
        )
        return self._page(account, items, asked, "stories")

    def _caption_readable(self) -> bool:
        token = caller()
        return self.store.behaviour().caption_readable or (token is not None and token.login == "facebook")

    def listing(self, account: Account, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`GET /{ig_user_id}/media`, newest first, stories left out; `next` holds the token."""
        items = self.store.listed(
            account.ig_user_id,
            now=self._now(),
            since=_unix(asked, "since", 0.0),
            until=_unix(asked, "until", 1e12),
        )
        return self._page(account, items, asked, "media")

    def _page(
        self, account: Account, items: list[Media], asked: Mapping[str, Any], edge: str
    ) -> dict[str, Any]:
        if "after" in asked:
            items = behind(str(asked["after"]), items)
        size = min(max(int(_unix(asked, "limit", _PAGE)), 1), _LARGEST_PAGE)
        page = items[:size]
        answer: dict[str, Any] = {"data": [self.node(item, account, asked.get("fields")) for item in page]}
        if page:
            paging: dict[str, Any] = {"cursors": {"before": cursor(page[0].id), "after": cursor(page[-1].id)}}
            if len(items) > size:
                site = self.context.addresses.get("instagram", "")
                paging["next"] = (
                    f"{site}/v26.0/{account.ig_user_id}/{edge}?access_token={self.context.token}"
                    f"&after={cursor(page[-1].id)}"
                )
            answer["paging"] = paging
        return answer

    def limit(self, account: Account, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`GET /{ig_user_id}/content_publishing_limit`."""
        earliest = self._now() - WINDOW_SECONDS
        since = _unix(asked, "since", earliest)
        if since < earliest:
            raise refused(100, None, "(#100) since must be within the last 24 hours")
        config = {"quota_total": self.store.behaviour().quota_total, "quota_duration": WINDOW_SECONDS}
        known = {
            "id": lambda: None,
            "quota_usage": lambda: self.store.published_since(account.ig_user_id, since),
            "config": lambda: config,
        }
        return {"data": [pick(asked.get("fields") or "quota_usage", known, "IGContentPublishingLimit")]}

    def _used(self, ig_user_id: str) -> int:
        return self.store.published_since(ig_user_id, self._now() - WINDOW_SECONDS)

    def _now(self) -> float:
        return self.context.clock.now().timestamp()


def _item(
    media_id: str,
    parent_id: str | None,
    container: Container,
    *,
    now: float,
    visible_at: float,
    behaviour: Behaviour,
    rng: random.Random,
) -> Media:
    return Media(
        id=media_id,
        ig_user_id=container.ig_user_id,
        container_id=container.id,
        parent_id=parent_id,
        media_type=_media_type(container),
        caption=container.caption,
        alt_text=container.alt_text,
        alt_text_readable=rng.random() >= behaviour.unreadable_alt_text,
        is_ai_generated=container.is_ai_generated,
        picture_sha256=container.picture_sha256,
        published_at=now,
        visible_at=visible_at,
        extras={**container.extras, "product": _PRODUCTS.get(container.kind, "FEED")},
    )


def _media_type(container: Container) -> str:
    if container.kind == "CAROUSEL":
        return "CAROUSEL_ALBUM"
    return "VIDEO" if container.extras.get("film") else "IMAGE"


def _unix(asked: Mapping[str, Any], name: str, default: float) -> float:
    try:
        value = float(asked.get(name, default))
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise refused(100, None, f"(#100) {name} must be a number")
    return value
