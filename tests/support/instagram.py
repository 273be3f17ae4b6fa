"""A sandbox with Instagram accounts of its own for each test, and pictures that are really hosted."""

from __future__ import annotations

import functools
import io
import itertools
import traceback
from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from PIL import Image
from pydantic import SecretStr
from skimage import data

from persona_tui.clients.instagram import InstagramClient, NewContainer
from persona_tui.clients.instagram_login import INSTAGRAM, Login
from persona_tui.clients.media_host import HostedPicture, MediaHost
from persona_tui.passed import Passed
from persona_tui.services.publishing.prepare import prepare_feed_picture
from persona_tui.services.safety import guard
from persona_tui.services.safety.disclosure import Provenance
from tests.support.sandbox import SandboxProcess

T = TypeVar("T", str, bytes, Mapping[str, Any])

_numbers = itertools.count(17841400000001000)


def passed(value: T) -> Passed[T]:
    """A value as if the guard had let it through."""
    return Passed(value, seal=guard._SEAL)


@functools.cache
def feed_jpeg() -> bytes:
    """A real photograph, prepared for the feed."""
    file = io.BytesIO()
    Image.fromarray(data.astronaut()).resize((320, 320)).save(file, "PNG")
    return prepare_feed_picture(file.getvalue(), provenance=Provenance.GENERATED).jpeg


def plain_transport() -> httpx.AsyncHTTPTransport:
    """A real transport that loads no certificates, which costs more than the calls themselves."""
    return httpx.AsyncHTTPTransport(verify=False)


class InstagramWorld:
    """One sandbox as a publisher sees it.

    Attributes:
        process: the child.
        host: the media host that the sandbox's Instagram fetches from.
    """

    def __init__(self, process: SandboxProcess) -> None:
        self.process = process
        self.host = MediaHost(process.media_dir.as_uri(), process.media, transport=plain_transport())
        headers = {"Authorization": f"Bearer {process.token}"}
        self._http = httpx.Client(headers=headers, timeout=20, trust_env=False, verify=False)

    def account(self) -> str:
        """A new account's id."""
        ig_user_id = str(next(_numbers))
        self.steer("accounts", {"ig_user_id": ig_user_id, "username": f"user_{ig_user_id[-4:]}"})
        return ig_user_id

    def client(
        self, ig_user_id: str | None = None, *, login: Login = INSTAGRAM, timeout: float = 10.0
    ) -> InstagramClient:
        """A client for that account, or for a new one."""
        return InstagramClient(
            SecretStr(self.process.token),
            ig_user_id=ig_user_id or self.account(),
            login=login,
            base_url=self.process.instagram,
            environment="sandbox",
            timeout=timeout,
            transport=plain_transport(),
        )

    def steer(self, what: str, changes: Mapping[str, Any]) -> Any:
        """Set accounts, behaviour or foreign posts of the stand-in."""
        answer = self.raw("POST", f"/sandbox/{what}", json=dict(changes))
        answer.raise_for_status()
        return answer.json()

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A plain request to the Graph stand-in under the right bearer."""
        return self._http.request(method, self.process.instagram + path, **options)

    def _control(self, service: str, method: str, what: str, **options: Any) -> Any:
        answer = self._http.request(method, f"{self.process.addresses[service]}/_sandbox/{what}", **options)
        answer.raise_for_status()
        return answer.json()

    def plan(self, call: str, kind: str, *, service: str = "instagram", **more: Any) -> None:
        """Plan a fault of a stand-in."""
        self._control(service, "POST", "faults", json={"call": call, "kind": kind, **more})

    def clear_faults(self, service: str = "instagram") -> None:
        """Forget the faults that have not struck."""
        self._control(service, "DELETE", "faults")

    def ledger(self, event: str, service: str = "instagram") -> list[dict[str, Any]]:
        """What really happened, oldest first."""
        entries: list[dict[str, Any]] = self._control(service, "GET", "ledger", params={"event": event})
        return entries

    def published(self, ig_user_id: str) -> list[dict[str, Any]]:
        """The ground truth: what the account really published through the API."""
        return [entry for entry in self.ledger("published") if entry["ig_user_id"] == ig_user_id]

    def calm(self) -> None:
        """No faults, and the behaviour of a healthy service; containers are ready at once."""
        for service in ("instagram", "media"):
            self.clear_faults(service)
        defaults = {
            "container_seconds": 0.0,
            "refuse_late": False,
            "fetch_seconds": 5.0,
            "listing_delay": [0, 0],
            "comment_delay": [0, 0],
            "second_publish": "same_id",
            "stale_status": 0.0,
            "unreadable_alt_text": 0.0,
            "foreign_posts": 0.0,
            "caption_readable": False,
            "quota_total": 50,
            "container_limit": 400,
            "usage_percent": 1,
            "regain_minutes": 0,
        }
        self.steer("behaviour", defaults)

    async def hosted(self, jpeg: bytes | None = None) -> HostedPicture:
        """A picture at a public address."""
        return await self.host.put(passed(jpeg if jpeg is not None else feed_jpeg()))

    async def container(self, client: InstagramClient, **changes: Any) -> str:
        """A container of a good picture."""
        facts = {
            "image_url": (await self.hosted()).url,
            "caption": passed("A morning at the sea #sea"),
            "alt_text": passed("A woman on a beach"),
            "is_ai_generated": True,
        }
        return await client.create_container(NewContainer(**{**facts, **changes}))


def assert_without(secret: str, error: BaseException) -> None:
    """The secret is nowhere in what could be shown, logged or stored of the error."""
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error) + repr(vars(error))
    assert secret not in shown
