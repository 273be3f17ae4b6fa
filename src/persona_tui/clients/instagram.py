"""The Instagram Graph API: containers, publishing, and reading back.

Instagram Login (graph.instagram.com) and Facebook Login (graph.facebook.com) share these calls. A live
token leaves this machine for those two hosts alone, over TLS; a sandbox token goes to loopback alone
(R20). The token travels in the Authorization header, redirects are not followed, and paging uses
cursors, because the `next` links of Graph carry the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx
from pydantic import SecretStr

from persona_tui.clients.graph import Environment, GraphClient, WrongEnvironment, allowed_origin
from persona_tui.clients.http import LastLook
from persona_tui.clients.instagram_errors import InstagramError, InstagramTokenRejected
from persona_tui.clients.instagram_facts import (
    AccountFacts,
    CommentFacts,
    ContainerState,
    ContainerStatus,
    MediaFacts,
    PublishingLimit,
    Usage,
    comment_in,
    container_status_in,
    id_in,
    is_id,
    list_in,
    media_in,
    next_cursor,
    publishing_limit_in,
)
from persona_tui.clients.instagram_login import INSTAGRAM, Login, secret_proof
from persona_tui.clients.instagram_media import ContainerKind, NewContainer
from persona_tui.errors import InvalidRequest
from persona_tui.passed import Passed, require_passed

_PAGE, _COMMENTS_PAGE = 100, 50
_MOST_LISTED = 10_000


class InstagramClient(GraphClient):
    """One account at one Graph API host.

    Raises from every call: `InstagramError` (and its `InstagramTokenRejected`), `ServiceUnreachable`,
    `ServiceTimeout`, `ServiceGarbled`, `ClientError`; `instagram_errors.classify` says what they mean.
    """

    def __init__(
        self,
        token: SecretStr,
        *,
        ig_user_id: str,
        login: Login = INSTAGRAM,
        base_url: str | None = None,
        api_version: str = "v26.0",
        environment: Environment = "live",
        app_secret: SecretStr | None = None,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Args:
        token: the account's access token.
        ig_user_id: the professional account's id.
        login: how the token was come by.
        base_url: default: the login's host.
        environment: what the token is for.
        app_secret: proves to graph.facebook.com that the caller is the app.
        timeout: seconds for one call, from its start to the last byte of its answer.

        Raises:
            WrongEnvironment: the token must not go to that host.
            InvalidRequest: the id or the token is malformed.
        """
        super().__init__(
            token,
            base_url=login.host if base_url is None else base_url,
            api_version=api_version,
            environment=environment,
            timeout=timeout,
            transport=transport,
        )
        self.ig_user_id = _checked_id(ig_user_id)
        self.login = login
        if login.proves and app_secret is not None:
            self._proof = secret_proof(app_secret, token)

    async def me(self) -> AccountFacts:
        """The account that the token belongs to; under Facebook Login this account, if the token sees it."""
        if self.login.name == "facebook":
            answer = await self._call("GET", self.ig_user_id, params={"fields": "id,username"})
            return AccountFacts(id_in(answer, "id"), self._outside_text(answer.get("username")))
        answer = await self._call("GET", "me", params={"fields": "user_id,username"})
        listed = answer.get("data")
        if isinstance(listed, list) and listed and isinstance(listed[0], dict):
            answer = listed[0]  # Meta's documentation shows a list, the service a plain object
        return AccountFacts(
            id_in(answer, "user_id" if "user_id" in answer else "id"),
            self._outside_text(answer.get("username")),
        )

    async def create_container(self, new: NewContainer) -> str:
        """Make a media container; Instagram fetches its picture or film from the address in it.

        Returns:
            The container's id, to be published within 24 hours.
        """
        answer = await self._call("POST", f"{self.ig_user_id}/media", data=new.form())
        return id_in(answer, "id")

    async def container_status(self, container_id: str) -> ContainerStatus:
        """The state of a container."""
        answer = await self._call(
            "GET", _checked_id(container_id), params={"fields": "status_code,status,id"}
        )
        status = self._outside_text(answer.get("status"))
        return container_status_in(answer, status)

    async def publish(self, container_id: str, *, last_look: LastLook | None = None) -> str:
        """Publish a container. Whatever this raises after sending leaves the outcome unknown.

        Args:
            last_look: called immediately before the request's first byte (R14); what it raises ends the
                call with nothing sent.

        Returns:
            The id of the published media.
        """
        form = {"creation_id": _checked_id(container_id)}
        answer = await self._call("POST", f"{self.ig_user_id}/media_publish", data=form, last_look=last_look)
        return id_in(answer, "id")

    async def list_media(
        self, since: datetime | None = None, until: datetime | None = None, limit: int = 50
    ) -> tuple[MediaFacts, ...]:
        """The account's published items, newest first, stories left out.

        Args:
            since: only items from this moment on.
            until: only items up to this moment.
            limit: the most that are returned, over as many pages as that takes; 1 to 10,000.
        """
        window = {
            name: str(int(moment.timestamp()))
            for name, moment in (("since", since), ("until", until))
            if moment is not None
        }
        path, params = f"{self.ig_user_id}/media", {"fields": self._media_fields(), **window}
        return tuple([media_in(item) for item in await self._pages(path, params, limit, _PAGE)])

    async def list_stories(self, limit: int = 50) -> tuple[MediaFacts, ...]:
        """The account's stories of the last 24 hours, newest first.

        Args:
            limit: as in `list_media`.
        """
        path, params = f"{self.ig_user_id}/stories", {"fields": self._media_fields()}
        return tuple([media_in(item) for item in await self._pages(path, params, limit, _PAGE)])

    async def create_comment(
        self, media_id: str, message: Passed[str], *, last_look: LastLook | None = None
    ) -> str:
        """Write a comment below an item of the account; its id.

        The request names no `fields`: Meta then writes the comment and answers 20/1772107 all the same.

        Args:
            last_look: as in `publish`.
        """
        require_passed(message)
        path, form = f"{_checked_id(media_id)}/comments", {"message": message.value}
        return id_in(await self._call("POST", path, data=form, last_look=last_look), "id")

    async def comments(self, media_id: str, limit: int = 500) -> tuple[CommentFacts, ...]:
        """The comments below an item.

        Args:
            limit: as in `list_media`.
        """
        path, params = f"{_checked_id(media_id)}/comments", {"fields": "id,text,timestamp,username"}
        pages = await self._pages(path, params, limit, _COMMENTS_PAGE)
        return tuple([comment_in(item) for item in pages])

    async def _pages(
        self, path: str, params: dict[str, str], limit: int, page_size: int
    ) -> list[Mapping[str, Any]]:
        if not 1 <= limit <= _MOST_LISTED:
            raise InvalidRequest(f"A listing holds 1 to {_MOST_LISTED} items.")
        items: list[Mapping[str, Any]] = []
        after: str | None = None
        while len(items) < limit:
            asked = {**params, "limit": str(min(limit - len(items), page_size))}
            if after is not None:
                asked["after"] = after
            answer = await self._call("GET", path, params=asked)
            page = list_in(answer, "data")
            items += page
            following = next_cursor(answer)
            if not page or following is None or following == after:
                break
            after = following
        return items[:limit]

    async def media(self, media_id: str) -> MediaFacts:
        """One published item."""
        answer = await self._call("GET", _checked_id(media_id), params={"fields": self._media_fields()})
        return media_in(answer)

    async def publishing_limit(self) -> PublishingLimit:
        """How many posts the account has used of those allowed."""
        answer = await self._call(
            "GET", f"{self.ig_user_id}/content_publishing_limit", params={"fields": "quota_usage,config"}
        )
        return publishing_limit_in(answer)

    def _media_fields(self) -> str:
        fields = "id,permalink,timestamp,media_type,media_product_type,alt_text,is_ai_generated,children"
        return f"{fields},caption" if self.login.reads_caption else fields


def _checked_id(value: str) -> str:
    """An id fit to stand in a path: a slash or a whole URL there would carry the token elsewhere."""
    if not is_id(value):
        raise InvalidRequest("An Instagram id consists of digits.")
    return value


__all__ = [
    "AccountFacts",
    "CommentFacts",
    "ContainerKind",
    "ContainerState",
    "ContainerStatus",
    "InstagramClient",
    "InstagramError",
    "InstagramTokenRejected",
    "MediaFacts",
    "NewContainer",
    "PublishingLimit",
    "Usage",
    "WrongEnvironment",
    "allowed_origin",
]
