"""The Instagram Graph API: containers, publishing, and reading back.

Instagram Login (graph.instagram.com) and Facebook Login (graph.facebook.com) share these calls. A live
token leaves this machine for those two hosts alone, over TLS; a sandbox token goes to loopback alone
(R20). The token travels in the Authorization header, redirects are not followed, and paging uses
cursors, because the `next` links of Graph carry the token.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import httpx
from pydantic import SecretStr

from persona_tui.clients.http import HttpService, LastLook
from persona_tui.clients.instagram_errors import InstagramError, InstagramTokenRejected, sentence_for
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
    usage_in,
    whole_number,
)
from persona_tui.clients.instagram_media import ContainerKind, NewContainer
from persona_tui.errors import InvalidRequest, ServiceGarbled, ServiceTimeout
from persona_tui.passed import Passed, require_passed
from persona_tui.text import clean

Environment = Literal["live", "sandbox"]

LIVE_HOSTS = frozenset({"graph.instagram.com", "graph.facebook.com"})
_PAGE, _COMMENTS_PAGE = 100, 50
_MOST_LISTED = 10_000
_TRACE = re.compile(r"[A-Za-z0-9_/+=-]{1,64}")
_QUERY = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*")
_TOKEN_LIKE = re.compile(r"\b(?:IG|EAA)[A-Za-z0-9_.-]{20,}")
_TOKEN_CODES = frozenset({102, 190})


class WrongEnvironment(InvalidRequest):
    """A token was about to be used where it must not go."""

    title = "Live and sandbox don't mix"
    hint = "A live account uses https://graph.instagram.com; a sandbox account uses the sandbox's address."


class InstagramClient:
    """One account at one Graph API host.

    Raises from every call: `InstagramError` (and its `InstagramTokenRejected`), `ServiceUnreachable`,
    `ServiceTimeout`, `ServiceGarbled`, `ClientError`; `instagram_errors.classify` says what they mean.
    """

    def __init__(
        self,
        token: SecretStr,
        *,
        ig_user_id: str,
        base_url: str = "https://graph.instagram.com",
        api_version: str = "v26.0",
        environment: Environment = "live",
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Args:
        token: the account's access token.
        ig_user_id: the professional account's id.
        environment: what the token is for.
        timeout: seconds for one call, from its start to the last byte of its answer.

        Raises:
            WrongEnvironment: the token must not go to that host.
            InvalidRequest: the id or the token is malformed.
        """
        origin = allowed_origin(base_url, environment)
        self._token = token.get_secret_value()
        if not re.fullmatch(r"[\x21-\x7e]+", self._token):
            raise InvalidRequest("The Instagram token holds characters that no token has.")
        if not re.fullmatch(r"v[0-9]{1,3}\.[0-9]", api_version):
            raise InvalidRequest("The Graph API version must look like v26.0.")
        self.ig_user_id = _checked_id(ig_user_id)
        self._version = api_version
        self._timeout = timeout
        # On graph.instagram.com the caption can't be read back (Meta: "Facebook Login only").
        self._reads_caption = origin != "https://graph.instagram.com"
        self._last_usage: Usage | None = None
        self._http = HttpService(
            "Instagram",
            origin,
            headers={"Authorization": f"Bearer {self._token}", "Accept": "application/json"},
            timeout=timeout,
            transport=transport,
        )

    @property
    def last_usage(self) -> Usage | None:
        """What the latest answer said of the call budget; None before any said something."""
        return self._last_usage

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def me(self) -> AccountFacts:
        """The account that the token belongs to."""
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

    async def _call(
        self, method: str, path: str, *, last_look: LastLook | None = None, **options: Any
    ) -> dict[str, Any]:
        response = await self._send(method, f"/{self._version}/{path}", last_look, options)
        usage = usage_in(response.headers)
        self._last_usage = usage or self._last_usage
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError):
            answer = None
        if not response.is_success or (isinstance(answer, dict) and "error" in answer):
            raise self._refusal(response.status_code, answer, usage)
        if not isinstance(answer, dict):
            raise ServiceGarbled(
                "Instagram answered with something that is not its protocol.", status=response.status_code
            )
        return answer

    async def _send(
        self, method: str, path: str, last_look: LastLook | None, options: dict[str, Any]
    ) -> httpx.Response:
        """One exchange within the timeout: httpx limits each read alone, so a dripping answer never ends."""
        sending = False

        def about_to_send() -> None:
            nonlocal sending
            if last_look is not None:
                last_look()
            sending = True

        try:
            async with asyncio.timeout(self._timeout):
                return await self._http.send(method, path, last_look=about_to_send, **options)
        except TimeoutError:
            raise ServiceTimeout("Instagram did not answer in time.", sent=sending) from None

    def _refusal(self, status: int, answer: object, usage: Usage | None) -> InstagramError:
        error = answer.get("error") if isinstance(answer, dict) else None
        told = error if isinstance(error, dict) else {}
        code, subcode = whole_number(told.get("code")), whole_number(told.get("error_subcode"))
        trace = str(told.get("fbtrace_id") or "")
        kind = InstagramTokenRejected if code in _TOKEN_CODES else InstagramError
        if code is None:
            message = f"Instagram answered {status} without a reason that can be read."
        else:
            numbers = f"{code}" if subcode is None else f"{code}/{subcode}"
            message = f"{sentence_for(code, subcode)} (Instagram error {numbers})"
        return kind(
            message,
            status=status,
            code=code,
            subcode=subcode,
            fbtrace_id=trace if _TRACE.fullmatch(trace) and self._token not in trace else None,
            is_transient=told.get("is_transient") is True,
            user_message=self._outside_text(told.get("error_user_msg") or told.get("message")),
            regain_after=usage.regain_after if usage else None,
        )

    def _outside_text(self, value: object) -> str:
        """A text of Meta's for display: cleaned, without the tokens and signed addresses that Meta echoes."""
        text = clean(value, keep_lines=False) if isinstance(value, str) else ""
        text = text.replace(self._token, "•••")[:2000]
        return _TOKEN_LIKE.sub("•••", _QUERY.sub(r"\1?•••", text))[:500]

    def _media_fields(self) -> str:
        fields = "id,permalink,timestamp,media_type,media_product_type,alt_text,is_ai_generated,children"
        return f"{fields},caption" if self._reads_caption else fields


def allowed_origin(base_url: str, environment: Environment) -> str:
    """The origin that a token of this environment may be sent to (R20).

    Read with httpx's own parser, the one that later connects: two parsers can differ over one address.

    Raises:
        WrongEnvironment: the address is none that this environment may use.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise WrongEnvironment("The Instagram address can't be read.") from None
    if url.userinfo or url.query or url.fragment or url.path not in {"", "/"}:
        raise WrongEnvironment("The Instagram address must be a scheme, a host and a port, nothing more.")
    if environment == "live":
        if url.scheme == "https" and url.host in LIVE_HOSTS and url.port in {None, 443}:
            return f"https://{url.host}"
        raise WrongEnvironment("A live token goes to https://graph.instagram.com or graph.facebook.com only.")
    if url.scheme in {"http", "https"} and _is_loopback(url.host):
        return str(url).rstrip("/")
    raise WrongEnvironment("A sandbox token goes to a sandbox on this machine only.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
