"""The wire to a ComfyUI server: its refusals, credentials, the opening of its websocket."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from persona_tui.clients.comfyui_refusals import is_web_page, refusal_of
from persona_tui.clients.http import HttpService
from persona_tui.errors import (
    KeyRejected,
    ServiceGarbled,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)

LARGEST_FRAME = 64 * 1024 * 1024
PING_SECONDS = 20.0
OPEN_SECONDS = 10.0

# The library's own logger writes headers, and with them the key, at debug level.
_silent = logging.getLogger("persona_tui.comfyui.websocket")
_silent.setLevel(logging.CRITICAL)


class ComfyService(HttpService):
    """HTTP with ComfyUI's words for its refusals."""

    def refusal(self, response: httpx.Response) -> ServiceRefused:
        return refusal_of(response)

    def decoded(self, response: httpx.Response) -> Any:
        if is_web_page(response):
            raise ServiceGarbled(
                "The address of ComfyUI answers with a web page.",
                status=response.status_code,
                hint="Check the address: another program or a proxy's login page answers there.",
            )
        return super().decoded(response)


async def open_events(
    base_url: str, headers: Mapping[str, str], client_id: str, *, timeout: float
) -> ClientConnection:
    """Open the websocket of a client id.

    Raises:
        ServiceUnreachable, ServiceTimeout, KeyRejected, ServiceRefused, ServiceGarbled: it does not open.
    """
    address = f"ws{base_url.removeprefix('http')}/ws?clientId={quote(client_id, safe='')}"
    try:
        return await connect(
            address,
            additional_headers=headers,
            user_agent_header="persona-tui",
            proxy=None,
            compression=None,
            logger=_silent,
            max_size=LARGEST_FRAME,
            open_timeout=min(timeout, OPEN_SECONDS),
            close_timeout=1.0,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
        )
    except InvalidStatus as problem:
        status = problem.response.status_code
        kind = KeyRejected if status in {401, 403} else ServiceRefused
        raise kind(f"ComfyUI refused the event stream ({status}).", status=status) from None
    except TimeoutError:
        raise ServiceTimeout("ComfyUI did not open the event stream in time.", sent=False) from None
    except OSError:
        raise ServiceUnreachable(f"ComfyUI can't be reached at {base_url}.", sent=False) from None
    except WebSocketException:
        raise ServiceGarbled("What answers at ComfyUI's address speaks no websocket.") from None


def without_credentials(base_url: str) -> tuple[str, dict[str, str]]:
    """The address without `user:password@`, and the header that says the same."""
    parts = urlsplit(base_url)
    if parts.username is None:
        return base_url, {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(bare), {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
