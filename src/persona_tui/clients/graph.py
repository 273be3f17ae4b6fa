"""One way to talk to Meta's Graph API: where a token may go, and answers and refusals without secrets.

A live token leaves this machine for Meta's hosts alone, over TLS; a sandbox token goes to loopback alone
(R20). Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Collection
from typing import Any, Literal

import httpx
from pydantic import SecretStr

from persona_tui.clients.http import HttpService, LastLook
from persona_tui.clients.instagram_errors import InstagramError, InstagramTokenRejected, sentence_for
from persona_tui.clients.instagram_facts import Usage, usage_in, whole_number
from persona_tui.errors import InvalidRequest, ServiceGarbled, ServiceTimeout
from persona_tui.text import clean

Environment = Literal["live", "sandbox"]

LIVE_HOSTS = frozenset({"graph.instagram.com", "graph.facebook.com"})
_TRACE = re.compile(r"[A-Za-z0-9_/+=-]{1,64}")
_QUERY = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*")
_TOKEN_LIKE = re.compile(r"\b(?:IG|EAA)[A-Za-z0-9_.-]{20,}")
_TOKEN_CODES = frozenset({102, 190})


class WrongEnvironment(InvalidRequest):
    """A token was about to be used where it must not go."""

    title = "Live and sandbox don't mix"
    hint = "A live account uses https://graph.instagram.com; a sandbox account uses the sandbox's address."


class GraphClient:
    """Calls to one host of the Graph API, and what must not get out of them.

    Raises from every call: `InstagramError` (and its `InstagramTokenRejected`), `ServiceUnreachable`,
    `ServiceTimeout`, `ServiceGarbled`, `ClientError`.
    """

    def __init__(
        self,
        token: SecretStr | None,
        *,
        base_url: str,
        api_version: str,
        environment: Environment,
        hosts: Collection[str] = LIVE_HOSTS,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Args:
        token: sent with every call; None: each call carries its own.
        environment: what the token is for.
        hosts: where live calls may go.
        timeout: seconds for one call, from its start to the last byte of its answer.

        Raises:
            WrongEnvironment: the token must not go to that host.
            InvalidRequest: the token or the version is malformed.
        """
        self.origin = allowed_origin(base_url, environment, hosts)
        if not re.fullmatch(r"v[0-9]{1,3}\.[0-9]", api_version):
            raise InvalidRequest("The Graph API version must look like v26.0.")
        self._version = api_version
        self._timeout = timeout
        self._proof: str | None = None
        self._secrets: set[str] = set()
        self._last_usage: Usage | None = None
        headers = {"Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {self._kept_out(token)}"
        self._http = HttpService(
            "Instagram", self.origin, headers=headers, timeout=timeout, transport=transport
        )

    @property
    def last_usage(self) -> Usage | None:
        """What the latest answer said of the call budget; None before any said something."""
        return self._last_usage

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def _kept_out(self, secret: SecretStr) -> str:
        """The secret in clear, for a call; it is masked in whatever Meta echoes of it.

        Raises:
            InvalidRequest: it holds what no token holds, and could break a header.
        """
        plain = secret.get_secret_value()
        if not re.fullmatch(r"[\x21-\x7e]+", plain):
            raise InvalidRequest("The Instagram token holds characters that no token has.")
        self._secrets.add(plain)
        return plain

    async def _call(
        self,
        method: str,
        path: str,
        *,
        last_look: LastLook | None = None,
        versioned: bool = True,
        **options: Any,
    ) -> dict[str, Any]:
        if self._proof is not None:
            options["params"] = {**options.get("params", {}), "appsecret_proof": self._proof}
        place = f"/{self._version}/{path}" if versioned else f"/{path}"
        response = await self._send(method, place, last_look, options)
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
            fbtrace_id=trace if _TRACE.fullmatch(trace) and not self._holds_secret(trace) else None,
            is_transient=told.get("is_transient") is True,
            user_message=self._outside_text(told.get("error_user_msg") or told.get("message")),
            regain_after=usage.regain_after if usage else None,
        )

    def _outside_text(self, value: object) -> str:
        """A text of Meta's for display: cleaned, without the tokens and signed addresses that Meta echoes."""
        text = clean(value, keep_lines=False) if isinstance(value, str) else ""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "•••")
        text = text[:2000]
        return _TOKEN_LIKE.sub("•••", _QUERY.sub(r"\1?•••", text))[:500]

    def _holds_secret(self, text: str) -> bool:
        return any(secret in text for secret in self._secrets)


def allowed_origin(base_url: str, environment: Environment, hosts: Collection[str] = LIVE_HOSTS) -> str:
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
        if url.scheme == "https" and url.host in hosts and url.port in {None, 443}:
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


__all__ = ["LIVE_HOSTS", "Environment", "GraphClient", "WrongEnvironment", "allowed_origin"]
